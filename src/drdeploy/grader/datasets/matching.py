"""Find the photographs that a table names, even if the names of the files differ a little."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.grader.photograph_files import SUFFIXES, search_folder_for_photographs

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class AmbiguousPhotograph(Exception):
    """A name in a table fits several photographs equally well.

    Attributes:
        candidates: The photographs.
    """

    def __init__(self, candidates: Sequence[Path]) -> None:
        super().__init__(f"{len(candidates)} photographs")
        self.candidates = candidates


def list_photograph_files_below(folder: Path) -> list[Path]:
    """List the photographs of a folder and of its subfolders; empty if there is no folder."""
    return list(search_folder_for_photographs(folder).photographs)


@dataclass(frozen=True)
class _Match:
    """A photograph whose name differs from the name in the table.

    Attributes:
        file: The photograph.
        differences: How the two names differ, in words.
    """

    file: Path
    differences: tuple[str, ...]


class PhotographIndex:
    """Finds the photographs of a folder by the names in a table.

    If a name in the table is the path of an existing file, this file is taken. Otherwise, the name
    matches a photograph with the same file name anywhere in the folder. Suffix and capital letters
    may differ. If the name in the table contains folders, they are compared too: the folders of the
    shorter path must be the last folders of the longer path. For example, ``train/7.jpg`` matches
    ``images/train/7.jpg``, but not ``images/test/7.jpg``.

    Attributes:
        folder: The folder that the names are relative to.
        split: The split of the table. If ``train/`` and ``test/`` have photographs with the same
            name, the photograph in the folder of this split is taken.
    """

    def __init__(self, folder: Path, *, split: str = "", has_suffixes: bool = True) -> None:
        self.folder = folder
        self.split = split
        self._has_suffixes = has_suffixes
        self._differences: Counter[str] = Counter()

    def find_files_of_names(self, names: Iterable[str]) -> list[Path]:
        """Return the path of the photograph that each name means.

        If there is no such photograph, the path at which it should be is returned.

        Raises:
            AmbiguousPhotograph: A name fits several photographs.
        """
        names = list(names)
        exact = {
            name: path
            for name in names
            if (path := self._find_file_at_exact_path(name)) is not None
        }
        near = {
            name: self._find_file_with_similar_name(name)
            for name in dict.fromkeys(names)
            if name not in exact
        }
        # Names that match the same file may differ in capital letters and in missing folders. If
        # they differ in anything else, a file is missing, and only the name that matches exactly
        # gets this file.
        claims: dict[Path, set[tuple[str, ...]]] = {}
        for name, file in (*exact.items(), *((n, one.file) for n, one in near.items() if one)):
            parts = tuple(_normalise_for_comparison(part) for part in re.split(r"[\\/]+", name))
            claims.setdefault(file, set()).add(parts)
        found = dict(exact)
        for name, match in near.items():
            if match is None or not _name_only_matching_file(claims[match.file]):
                found[name] = self.folder / name
            else:
                found[name] = match.file
                self._differences.update(match.differences)
        return [found[name] for name in names]

    @property
    def notes_on_differing_names(self) -> tuple[str, ...]:
        """A sentence on how names in the table and names on disk differ, if they differ."""
        if not self._differences:
            return ()
        listed = ", ".join(f"{what} {count:,}" for what, count in self._differences.items())
        return (f"Photographs were found although their names in the table differ: {listed}.",)

    def _find_file_at_exact_path(self, name: str) -> Path | None:
        path = self.folder / name
        try:
            # A folder may have the name of a photograph without its suffix.
            return path if name and path.exists() and not path.is_dir() else None
        except (OSError, ValueError):  # too long a name, or a NUL in it
            return None

    def _find_file_with_similar_name(self, name: str) -> _Match | None:
        parts = [part for part in name.replace("\\", "/").split("/") if part not in {"", "."}]
        if parts and len(parts[0]) == 2 and parts[0].endswith(":"):
            del parts[0]  # a drive of Windows
        if not parts or ".." in parts:
            return None
        wanted = _PhotographName.from_path_parts(parts)
        fitting = [
            one
            for one in self._names_by_stem.get(wanted.stem, ())
            if wanted.has_compatible_folders(one)
        ]
        if not fitting:
            return None
        nearest = min(map(wanted.compute_distance_to, fitting))
        best = [one for one in fitting if wanted.compute_distance_to(one) == nearest]
        if len(best) > 1 and self.split:
            of_split = [one for one in best if _is_in_folder_of_split(one, self.split)]
            best = of_split or best
        if len(best) > 1:
            raise AmbiguousPhotograph([self._make_path_of_name(one) for one in best])
        different = self._list_differences_of_names(wanted, best[0])
        if "\\" in name:
            different = ("backslashes", *different)
        return _Match(self._make_path_of_name(best[0]), different)

    def _list_differences_of_names(
        self, wanted: _PhotographName, found: _PhotographName
    ) -> tuple[str, ...]:
        checks = {
            "no suffix": not wanted.suffix and self._has_suffixes,
            "another suffix": bool(wanted.suffix) and wanted.suffix.lower() != found.suffix.lower(),
            "capital letters": not found.name.startswith(wanted.name[: len(wanted.stem)])
            or (wanted.suffix != found.suffix and wanted.suffix.lower() == found.suffix.lower()),
            "another folder": wanted.folders != found.folders and self._has_suffixes,
        }
        return tuple(what for what, is_so in checks.items() if is_so)

    def _make_path_of_name(self, name: _PhotographName) -> Path:
        return self.folder.joinpath(*name.path)

    @cached_property
    def _names_by_stem(self) -> dict[str, list[_PhotographName]]:
        index: dict[str, list[_PhotographName]] = {}
        for file in list_photograph_files_below(self.folder):
            name = _PhotographName.from_path_parts(file.relative_to(self.folder).parts)
            index.setdefault(name.stem, []).append(name)
        return index


@dataclass(frozen=True)
class _PhotographName:
    """The name of a photograph in a table or on disk, split into parts for comparison.

    Attributes:
        path: The folders and the file name, as they are written.
        name: The file name, as it is written.
        stem: The file name without its suffix, in lower case.
        suffix: The suffix, as it is written. Empty if the suffix is not that of an image.
        folders: The folders, in lower case.
    """

    path: tuple[str, ...]
    name: str
    stem: str
    suffix: str
    folders: tuple[str, ...]

    @classmethod
    def from_path_parts(cls, parts: Sequence[str]) -> _PhotographName:
        *folders, name = parts
        suffix = Path(name).suffix
        suffix = suffix if suffix.lower() in SUFFIXES else ""
        stem = _normalise_for_comparison(name.removesuffix(suffix))
        return cls(tuple(parts), name, stem, suffix, tuple(map(_normalise_for_comparison, folders)))

    def has_compatible_folders(self, other: _PhotographName) -> bool:
        """Whether the folders of one name are the last folders of the other name."""
        shared = min(len(self.folders), len(other.folders))
        return not shared or self.folders[-shared:] == other.folders[-shared:]

    def compute_distance_to(self, other: _PhotographName) -> tuple[int, int]:
        """Return two numbers: the more alike the two names are, the smaller the numbers are.

        The first number is 0 if the file names are the same. It is 1 if they differ only in capital
        letters and the Unicode form of letters, or only in their suffixes. Otherwise, it is 2. The
        second number is minus the number of folders that both names contain.
        """
        if self.name == other.name:
            in_name = 0
        else:
            is_same_name = _normalise_for_comparison(self.name) == _normalise_for_comparison(
                other.name
            )
            is_same_stem = self.name.removesuffix(self.suffix) == other.name.removesuffix(
                other.suffix
            )
            in_name = 1 if is_same_name or is_same_stem else 2
        return in_name, -min(len(self.folders), len(other.folders))


def _name_only_matching_file(names: set[tuple[str, ...]]) -> bool:
    """Return whether several names in a table can all mean one file.

    The names can mean one file if every name is the end of the longest name, compared folder by
    folder: ``a/b/7.jpg``, ``b/7.jpg`` and ``7.jpg`` can mean one file.
    """
    longest = max(names, key=len)
    return all(longest[len(longest) - len(name) :] == name for name in names)


def _normalise_for_comparison(text: str) -> str:
    # macOS decomposes an umlaut into two characters, Windows does not.
    return unicodedata.normalize("NFC", text).casefold()


def _is_in_folder_of_split(name: _PhotographName, split: str) -> bool:
    return any(folder.startswith(split[:3]) for folder in name.folders)
