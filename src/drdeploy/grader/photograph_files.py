"""Find the photographs in a folder; all commands use the same rule.

A file counts as a photograph if its content is a JPEG, PNG or TIFF, or if its name has the suffix
of one of these formats. Hidden files, files of the operating system and raw files of cameras do not
count, whatever they contain. Files that do not count are left out, and those left out for the same
reason are counted together. Subfolders and linked folders are searched too, unless the caller wants
only the files of one folder. No folder is searched twice.
"""

from __future__ import annotations

import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from drdeploy.errors import PayloadTooLarge
from drdeploy.files import open_regular_file
from drdeploy.grader.fundus.formats import jpeg, png, tiff
from drdeploy.grader.fundus.formats.foreign import (
    ARCHIVE_SUFFIXES,
    FOREIGN_SUFFIXES,
    HEAD_BYTES,
    find_name_of_foreign_format,
    is_dicom,
)
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping

SUFFIXES = frozenset({".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".tif", ".tiff"})
"""A file with one of these suffixes counts as a photograph, even if its content is not one."""

SYSTEM_NAMES = frozenset(
    name.casefold()
    for name in (
        *("__MACOSX", "Icon\r", "Thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini"),
        *("$RECYCLE.BIN", "RECYCLER", "System Volume Information", "lost+found"),
        *("@eaDir", "@tmp", "#recycle", "#snapshot"),
        "DICOMDIR",  # the index on a medium with DICOM files
    )
)
"""The names of files and folders that macOS, Windows, Linux, network storage and DICOM media
create."""

SHOWN_PATHS = 3
"""The largest number of paths in one sentence about the files that were left out."""

_CONTENT_TYPES = {
    jpeg.SIGNATURE: "image/jpeg",
    png.SIGNATURE: "image/png",
    **dict.fromkeys(tiff.SIGNATURES, "image/tiff"),
}
_SIGNATURES = tuple(_CONTENT_TYPES)
_NO_PICTURES = frozenset({"PDF", "icon (ICO)"})
_ICLOUD_SUFFIX = ".icloud"
"""If a photograph is stored only in iCloud, macOS keeps a file ``.NAME.icloud`` in its place."""
_SHORT_SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")

LeftOutCause = Literal[
    "hidden", "system", "picture", "archive", "other", "closed", "linked", "special", "broken"
]
"""Why a file or folder is left out.

- ``hidden``: The name begins with a full stop.
- ``system``: The operating system created it.
- ``picture``: a picture in a format other than JPEG, PNG and TIFF.
- ``archive``: an archive, such as a ZIP file, which may hold photographs.
- ``other``: a file that is not a picture.
- ``closed``: a file that cannot be opened, or is not on this machine.
- ``linked``: a link to a folder that is searched anyway.
- ``special``: a pipe, a socket or a device.
- ``broken``: a link whose target does not exist.
"""


_MAY_BE_MISSED: frozenset[LeftOutCause] = frozenset({"picture", "closed"})


@dataclass(frozen=True)
class LeftOut:
    """A file or folder that was found but does not count as a photograph.

    Attributes:
        path: Path of the file or folder.
        cause: Why the file is left out.
        detail: More about the cause: the file's format, suffix or name, or the error message of the
            operating system. Which of these it is depends on ``cause``.
    """

    path: Path
    cause: LeftOutCause
    detail: str = ""

    @property
    def may_be_missed_photograph(self) -> bool:
        """Whether the path may be a photograph of an eye, or a folder that contains some."""
        return self.cause in _MAY_BE_MISSED


@dataclass(frozen=True)
class FoundFiles:
    """The result of searching a folder.

    Attributes:
        photographs: The photographs, sorted by path.
        left_out: All other files and folders.
    """

    photographs: tuple[Path, ...]
    left_out: tuple[LeftOut, ...] = ()


def search_folder_for_photographs(
    folder: Path, *, is_deep: bool = True, with_dicom: bool = False
) -> FoundFiles:
    """Search a folder for photographs.

    The folder is searched even if its own name begins with a full stop.

    Args:
        folder: The folder to search. A missing folder is listed as a folder that cannot be opened.
        is_deep: Whether to search the subfolders, too.
        with_dicom: Whether DICOM files count as photographs.
    """
    search = _PhotographSearch(folder, is_deep, with_dicom)
    for _ in search.search_folder_by_folder():
        pass
    return FoundFiles(tuple(sorted(search.photographs)), tuple(search.left_out))


def iterate_photographs_in_folder(
    folder: Path, record_left_out: Callable[[LeftOut], None], *, with_dicom: bool = False
) -> Iterator[Path]:
    """Yield the photographs in a folder and its subfolders while the folder is being searched.

    A file counts as a photograph by the same rule as in :func:`search_folder_for_photographs`. Only
    the file names of one folder are in memory at a time. The photographs of each folder come
    sorted, but the folders come in any order.

    Args:
        folder: The folder to search. A missing folder is recorded as a folder that cannot be
            opened.
        record_left_out: Called with each file that is not a photograph, and with each folder that
            cannot be opened.
        with_dicom: Whether DICOM files count as photographs.
    """
    search = _PhotographSearch(folder, is_deep=True, with_dicom=with_dicom)
    for _ in search.search_folder_by_folder():
        yield from search.photographs
        search.photographs.clear()
        for one in search.left_out:
            record_left_out(one)
        search.left_out.clear()


def read_photograph_bytes(file: Path) -> bytes:
    """Read a photograph from the user's own disk.

    Raises:
        OSError: The file cannot be read, or is a pipe, a socket or a device.
        PayloadTooLarge: The file is larger than a photograph may be.
    """
    with open_regular_file(file) as stream:
        data = stream.read(LOCAL_FILE_LIMITS.max_bytes + 1)
    if len(data) > LOCAL_FILE_LIMITS.max_bytes:
        raise PayloadTooLarge(f"The file has more than {LOCAL_FILE_LIMITS.max_bytes} bytes")
    return data


def is_dicom_file(file: Path) -> bool:
    """Tell whether a file is DICOM by its content, or by its suffix if the file cannot be read."""
    try:
        with open_regular_file(file) as stream:
            return is_dicom(stream.read(HEAD_BYTES))
    except OSError:
        return FOREIGN_SUFFIXES.get(file.suffix.lower()) == "DICOM"


def find_content_type_of_photograph(data: bytes) -> str:
    """Return the content type of a JPEG, PNG or TIFF; empty for any other content."""
    found = (kind for mark, kind in _CONTENT_TYPES.items() if data.startswith(mark))
    return next(found, "")


def write_sentences_on_left_out_files(
    left_out: Iterable[LeftOut], *, show_paths: bool = False
) -> list[str]:
    """Return sentences for the user, each with the number of files left out and the reason.

    Args:
        left_out: The files and folders that were left out.
        show_paths: Whether to show the paths of files that may be photographs. Hide the paths in
            everything that other people may see, because file names often contain the name of a
            patient.
    """
    summary = LeftOutSummary()
    for one in left_out:
        summary.add_left_out_file(one)
    return summary.write_sentences(show_paths=show_paths)


@dataclass
class _LeftOutGroup:
    """The files that were left out for one reason, as a count with a few examples."""

    count: int = 0
    first_paths: list[Path] = field(default_factory=list)
    details: set[str] = field(default_factory=set)


class LeftOutSummary:
    """Counts the files that were left out, without keeping a list of them in memory.

    Attributes:
        may_miss_photographs: Whether any file that was left out may be a photograph of an eye.
    """

    def __init__(self) -> None:
        self.may_miss_photographs = False
        self._groups: dict[tuple[LeftOutCause, str], _LeftOutGroup] = {}

    def add_left_out_file(self, one: LeftOut) -> None:
        """Count a file or folder that was left out."""
        self.may_miss_photographs |= one.may_be_missed_photograph
        key = (one.cause, one.detail if one.may_be_missed_photograph else "")
        group = self._groups.setdefault(key, _LeftOutGroup())
        group.count += 1
        if len(group.first_paths) < SHOWN_PATHS:
            group.first_paths.append(one.path)
        if one.detail:
            group.details.add(one.detail)

    def write_sentences(self, *, show_paths: bool = False) -> list[str]:
        """Return the sentences of :func:`write_sentences_on_left_out_files`."""
        sentences = []
        for (cause, detail), group in sorted(self._groups.items(), key=lambda item: item[0]):
            is_one = group.count == 1
            sentence = _SENTENCES[cause].format(
                n=f"{group.count:,} {_NOUNS[cause][not is_one]}",
                are="is" if is_one else "are",
                lead="leads" if is_one else "lead",
                them="it" if is_one else "them",
                they_hold="it holds" if is_one else "they hold",
                detail=detail,
                details=", ".join(sorted(group.details)) or "no suffix",
            )
            if show_paths and cause in _MAY_BE_MISSED:
                shown = ", ".join(map(str, group.first_paths))
                hidden = group.count - len(group.first_paths)
                more = f" and {hidden:,} more" if hidden else ""
                sentence = f"{sentence} ({shown}{more})"
            sentences.append(sentence)
        return sentences


_NOUNS: Mapping[LeftOutCause, tuple[str, str]] = {
    "hidden": (
        "hidden file or folder (its name begins with a full stop)",
        "hidden files and folders (their names begin with a full stop)",
    ),
    "system": (
        "file or folder of the operating system",
        "files and folders of the operating system",
    ),
    "picture": ("file", "files"),
    "archive": ("archive", "archives"),
    "other": ("file", "files"),
    "closed": ("file or folder", "files and folders"),
    "linked": ("linked folder", "linked folders"),
    "special": ("pipe, socket or device", "pipes, sockets and devices"),
    "broken": ("link", "links"),
}
_SENTENCES: Mapping[LeftOutCause, str] = {
    "hidden": "{n} {are} left out",
    "system": "{n} {are} left out: {details}",
    "picture": "{n} {are} left out, in the format {detail}: convert {them} to JPEG, PNG or TIFF",
    "archive": "{n} {are} left out: {details}; unpack {them} if {they_hold} photographs",
    "other": "{n} that {are} no picture {are} left out: {details}",
    "closed": "{n} cannot be opened: {detail}",
    "linked": "{n} that {lead} to a folder which is searched anyway {are} left out",
    "special": "{n} {are} left out",
    "broken": "{n} that {lead} nowhere {are} left out",
}


@dataclass
class _PhotographSearch:
    """The state of one search of a folder.

    Attributes:
        root: The folder in which the search begins.
        is_deep: Whether the subfolders are searched.
        with_dicom: Whether DICOM files count as photographs.
        linked_folders: Links to folders that have not been searched yet.
    """

    root: Path
    is_deep: bool
    with_dicom: bool
    photographs: list[Path] = field(default_factory=list)
    left_out: list[LeftOut] = field(default_factory=list)
    linked_folders: list[Path] = field(default_factory=list)
    _entered: set[tuple[int, int]] = field(default_factory=set)

    def search_folder_by_folder(self) -> Iterator[None]:
        """Search the root and all folders below it; yield None after each folder."""
        yield from self.search_real_folders(self.root)
        # Real folders come first, so that a photograph has the path of its real folder.
        while self.linked_folders:
            yield from self.search_linked_folder(self.linked_folders.pop(0))

    def search_real_folders(self, folder: Path) -> Iterator[None]:
        """Search a folder and its subfolders, but not the folders that are links."""
        folders = [folder]
        while folders:
            current = folders.pop()
            try:
                info = current.stat()
                entries = sorted(os.scandir(current), key=lambda entry: os.fsencode(entry.name))
            except OSError as err:
                self._record_left_out_file(current, "closed", err.strerror or "")
                yield
                continue
            if (info.st_dev, info.st_ino) in self._entered:  # another link leads to it, too
                self._record_left_out_file(current, "linked")
                yield
                continue
            self._entered.add((info.st_dev, info.st_ino))
            within = [
                Path(entry.path) for entry in entries if self._record_file_and_tell_if_folder(entry)
            ]
            folders += within if self.is_deep else []
            yield

    def search_linked_folder(self, link: Path) -> Iterator[None]:
        """Search a linked folder, unless it was searched before or contains the root."""
        info = link.stat()
        if (info.st_dev, info.st_ino) in self._entered or self.root.resolve().is_relative_to(
            link.resolve()
        ):
            self._record_left_out_file(link, "linked")
            yield
        else:
            yield from self.search_real_folders(link)

    def _record_file_and_tell_if_folder(self, entry: os.DirEntry[str]) -> bool:
        """Return True for a folder that is not a link; record any other entry, such as a file."""
        path = Path(entry.path)
        if entry.name.casefold() in SYSTEM_NAMES:
            self._record_left_out_file(path, "system", entry.name.strip())
        elif entry.name.startswith(".") and entry.name.endswith(_ICLOUD_SUFFIX):
            self._record_left_out_file(path, "closed", "it must first be downloaded from iCloud")
        elif entry.name.startswith("."):
            self._record_left_out_file(path, "hidden")
        else:
            try:
                mode = entry.stat().st_mode
            except OSError as err:
                self._record_unreadable_entry(path, err)
                return False
            if stat.S_ISDIR(mode):
                if not entry.is_symlink():
                    return True
                if self.is_deep:
                    self.linked_folders.append(path)
            elif stat.S_ISREG(mode):
                self._record_photograph_or_left_out_file(path)
            else:
                self._record_left_out_file(path, "special")
        return False

    def _record_unreadable_entry(self, path: Path, err: OSError) -> None:
        if path.suffix.lower() in SUFFIXES:
            self.photographs.append(path)  # reading it later fails, with a message that says why
        elif isinstance(err, FileNotFoundError):
            self._record_left_out_file(path, "broken")
        else:
            self._record_left_out_file(path, "closed", err.strerror or "")

    def _record_photograph_or_left_out_file(self, path: Path) -> None:
        suffix = path.suffix.lower()
        if suffix in SUFFIXES:
            self.photographs.append(path)
            return
        try:
            with path.open("rb") as file:
                head = file.read(HEAD_BYTES)
        except OSError as err:
            self._record_left_out_file(path, "closed", err.strerror or "")
            return
        foreign = FOREIGN_SUFFIXES.get(suffix) or find_name_of_foreign_format(head)
        is_photograph = head.startswith(_SIGNATURES) and foreign != "camera raw"
        if is_photograph or (foreign == "DICOM" and self.with_dicom):
            self.photographs.append(path)
        elif foreign and foreign not in _NO_PICTURES:
            self._record_left_out_file(path, "picture", foreign)
        elif suffix in ARCHIVE_SUFFIXES:
            self._record_left_out_file(path, "archive", suffix)
        else:
            self._record_left_out_file(
                path, "other", suffix if _SHORT_SUFFIX.fullmatch(suffix) else ""
            )

    def _record_left_out_file(self, path: Path, cause: LeftOutCause, detail: str = "") -> None:
        self.left_out.append(LeftOut(path, cause, detail))
