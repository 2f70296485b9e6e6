"""Find the model among the files of an artifact, in an archive or in a folder.

People also make archives by hand. In a hand-made archive, all files may lie inside an extra folder.
The operating system may have added files of its own, for example ``._model.onnx`` on a Mac. Files
that the operating system added are ignored, and a note to the user names them.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import takewhile
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from drdeploy.errors import ManifestError
from drdeploy.grader.artifacts.file_kinds import find_file_kind
from drdeploy.grader.artifacts.manifest import MANIFEST_NAME

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

SAVED_MODEL_NAME = "saved_model.pb"
CODE_FOLDER = "code"
"""The folder in which SageMaker's own containers look for ``inference.py``. drdeploy never runs a
model's code."""

_DEBRIS_FOLDERS = frozenset({"__macosx", "__pycache__", ".ipynb_checkpoints", ".git"})
_DEBRIS_FILES = frozenset(
    {".ds_store", "thumbs.db", "desktop.ini", ".gitattributes", ".gitignore", ".gitkeep"}
)
_TEXTS = frozenset({"readme", "license", "licence", "notice", "copying", "changelog"})
_TEXT_SUFFIXES = frozenset({"", ".md", ".txt", ".rst"})


@dataclass(frozen=True)
class ArtifactContents:
    """The files of an artifact, sorted by their purpose.

    Attributes:
        root: The folder that contains the manifest, with a slash at the end. Empty if this is the
            top folder, or if there is no manifest.
        has_manifest: Whether there is a manifest.
        files: Paths of the model's files except the manifest, relative to ``root``.
        debris: Paths of the files that are ignored, such as files of the operating system and
            readmes, relative to the top folder.
        code: Paths of the files in the folder ``code``, relative to the top folder.
    """

    root: str
    has_manifest: bool
    files: tuple[str, ...]
    debris: tuple[str, ...]
    code: tuple[str, ...]

    def check_manifest_files_and_list_unused(self, listed: Collection[str]) -> tuple[str, ...]:
        """Check that the manifest lists all files of the model; return the paths of ignored files.

        Raises:
            ManifestError: A listed file is missing, or a file of the model is not listed.
        """
        for path in sorted(listed):
            full = self.root + path
            if path not in self.files and full not in self.debris and full not in self.code:
                raise make_missing_file_error(path)
        self.refuse_code_files(listed)
        for path in sorted(set(self.files).difference(listed)):
            raise ManifestError(
                f"The manifest does not list the file '{path}'",
                where=f"{MANIFEST_NAME}: files",
                remedy="Remove the file, or pack the model again",
            )
        return tuple(path for path in self.debris if path.removeprefix(self.root) not in listed)

    def refuse_code_files(self, listed: Collection[str] = ()) -> None:
        """Refuse an artifact with code of its own.

        drdeploy does not run the code, and without the code the model may answer differently.

        Raises:
            ManifestError: The folder ``code`` contains Python code that the manifest does not list.
        """
        for path in sorted(self.code, key=lambda path: not path.endswith(".py")):
            if path.removeprefix(self.root) not in listed:
                raise ManifestError(
                    f"The artifact contains code ('{path}'), which drdeploy does not run",
                    remedy=(
                        f"Remove the folder {CODE_FOLDER}, and describe the model's input with "
                        "the options of `drdeploy artifact pack`"
                    ),
                )


def sort_artifact_files(paths: Iterable[str]) -> ArtifactContents:
    """Sort the files of an artifact by their purpose; the paths have forward slashes."""
    everything = sorted(paths)
    debris = tuple(path for path in everything if is_debris_file_in_archive(path))
    kept = [path for path in everything if not is_debris_file_in_archive(path)]
    # The folder ``code`` may be beside the folder of the other files, or inside it.
    kept, code = _split_off_code_files(kept, "")
    kept, inner_code = _split_off_code_files(kept, _find_common_folder(kept))
    code += inner_code
    root = _find_folder_of_manifest(kept)
    if root is None:
        return ArtifactContents("", False, tuple(kept), debris, tuple(code))
    inside = tuple(path.removeprefix(root) for path in kept if path != root + MANIFEST_NAME)
    return ArtifactContents(root, True, inside, debris, tuple(code))


def find_path_of_manifest(paths: Iterable[str]) -> str | None:
    """Return the path of the manifest, or None.

    A SavedModel may contain another file with the name ``manifest.json`` in a deeper folder. If
    there are several files with this name, the one nearest to the top is taken as the manifest.
    """
    found = (path for path in paths if PurePosixPath(path).name == MANIFEST_NAME)
    return min(found, key=lambda path: (path.count("/"), path), default=None)


def _find_folder_of_manifest(paths: Sequence[str]) -> str | None:
    """Return the manifest's folder; None without a manifest, or if a file is outside the folder."""
    found = find_path_of_manifest(paths)
    root = "" if found is None else found.removesuffix(MANIFEST_NAME)
    return root if found is not None and all(path.startswith(root) for path in paths) else None


def _find_common_folder(paths: Sequence[str]) -> str:
    parts = [path.split("/")[:-1] for path in (min(paths), max(paths))] if paths else [[], []]
    shared = takewhile(lambda pair: pair[0] == pair[1], zip(*parts, strict=False))
    return "".join(f"{name}/" for name, _ in shared)


def _split_off_code_files(paths: list[str], folder: str) -> tuple[list[str], list[str]]:
    """Return the paths outside a folder's subfolder ``code``, and then the paths inside ``code``.

    If there is no Python file in the subfolder, all paths count as outside.
    """
    inside = [path for path in paths if path.startswith(f"{folder}{CODE_FOLDER}/")]
    if not any(path.endswith(".py") for path in inside):
        return paths, []
    return [path for path in paths if path not in inside], inside


def is_debris_file_in_archive(path: str) -> bool:
    """Whether the file is a readme, or was added by an operating system or a tool."""
    *folders, name = path.lower().split("/")
    if any(part in _DEBRIS_FOLDERS or part.startswith("paxheader") for part in folders):
        return True
    stem = PurePosixPath(name)
    is_text = stem.stem in _TEXTS and stem.suffix in _TEXT_SUFFIXES
    return name.startswith("._") or name in _DEBRIS_FILES or is_text or stem.suffix == ".md"


def find_path_of_saved_model(names: Collection[str]) -> str:
    """Return the path of ``saved_model.pb`` among an artifact's files.

    A model folder for TensorFlow Serving may hold several numbered versions (``1/``, ``2/``). This
    function then takes the newest version, as TensorFlow Serving does.

    Raises:
        ManifestError: There is no SavedModel, or there are several without version numbers.
    """
    found = [PurePosixPath(name) for name in names if PurePosixPath(name).name == SAVED_MODEL_NAME]
    are_versions = len({path.parent.parent for path in found}) == 1
    if found and are_versions and all(path.parent.name.isdecimal() for path in found):
        return str(max(found, key=lambda path: int(path.parent.name)))
    if len(found) > 1:
        raise ManifestError(
            f"The artifact holds {len(found)} SavedModels instead of one: "
            f"{_quote_first_file_names(map(str, found))}",
            remedy="Keep only one SavedModel, or pack one with `drdeploy artifact pack`",
        )
    if not found:
        raise _make_no_model_error(names)
    return str(found[0])


def _make_no_model_error(names: Collection[str]) -> ManifestError:
    what = f"The artifact holds neither {MANIFEST_NAME} nor a SavedModel"
    for name in sorted(names):
        kind = find_file_kind(name, b"")
        if kind is not None:
            return ManifestError(f"{what}, but {kind.noun}, '{name}'", remedy=kind.remedy)
    content = _quote_first_file_names(sorted(names)) if names else "it is empty"
    return ManifestError(
        f"{what}: {content}", remedy="Pack the model with `drdeploy artifact pack`"
    )


def _quote_first_file_names(names: Iterable[str], most: int = 3) -> str:
    quoted = [f"'{name}'" for name in names]
    more = f" and {len(quoted) - most} more" if len(quoted) > most else ""
    return ", ".join(quoted[:most]) + more


def make_missing_file_error(path: str) -> ManifestError:
    """Make the error for a file that the manifest lists but the artifact lacks."""
    return ManifestError(
        f"The manifest names '{path}', which is missing",
        where=f"{MANIFEST_NAME}: files",
        remedy="Copy or pack the artifact again",
    )
