"""Find the packages and shared libraries that take the most space in a container image.

If a higher layer replaces or removes a file of a lower layer, a container does not see the lower
file. But that file is still stored and pulled, so it is counted in a part called ``hidden``. A file
belongs to the Debian package or the Python distribution that lists the file. Compiled Python code
(``.pyc``) belongs to the owner of the source file. If no package lists a file below
``site-packages``, its top folder there decides: the file belongs to the package that owns the most
bytes in this folder. Any other file counts as part of its folder or, if the folder lies deep, of a
folder above it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drdeploy.hosting.images.layers import Layer, LayerFile

PartKind = Literal["debian", "python", "hidden", "other"]
Owner = tuple[PartKind, str]

HIDDEN: Owner = ("hidden", "replaced or removed by a higher layer")
USR_MERGED = ("bin/", "sbin/", "lib/", "lib32/", "lib64/", "libx32/")
"""Folders that are links into ``usr/`` since Debian 12. Packages still list their files below these
links.
"""

_SITE = re.compile(r"(?:^|.*/)(?:site|dist)-packages/([^/]+)(/?)")
_DIST_INFO = re.compile(r"([^/]+)-([^/-]+)\.(?:dist|egg)-info$")
_BYTE_CODE = re.compile(r"__pycache__/([^/]+)\.cpython-\d+(?:\.opt-\d)?\.pyc$")
_DPKG_INFO = re.compile(r"var/lib/dpkg/info/([^/:]+)(?::\w+)?\.\w+$")
_LIBRARY = re.compile(r"\.so(?:\.[\d.]+)?$")


@dataclass(frozen=True)
class ImagePart:
    """A part of an image: a package, a folder, or all hidden files.

    Attributes:
        kind: What the part is, for example a Debian package or a folder.
        name: The name of the package or folder; for a Python distribution, with its version.
        size_bytes: The bytes that the part's files take in the tar files of the image's layers.
        compressed_bytes: The bytes that the part's files take in the compressed tar files.
    """

    kind: PartKind
    name: str
    size_bytes: int
    compressed_bytes: int


@dataclass(frozen=True)
class SharedLibrary:
    """A shared library of an image.

    Attributes:
        path: The path of the library in the image.
        owner: The name of the package that owns the library.
        size_bytes: The size of the file.
        compressed_bytes: The bytes that the file takes in the compressed tar file.
    """

    path: str
    owner: str
    size_bytes: int
    compressed_bytes: int


@dataclass(frozen=True)
class Contents:
    """The parts and the shared libraries of an image, the largest first.

    The sizes of the parts add up to the size of the image.
    """

    parts: tuple[ImagePart, ...]
    libraries: tuple[SharedLibrary, ...]


def find_image_contents(layers: Sequence[Layer]) -> Contents:
    """Return the parts and shared libraries of an image, given its layers from the lowest up."""
    visible, hidden = _split_visible_and_hidden_files(layers)
    owners = _FileOwners(layers, visible)
    sums: dict[Owner, list[int]] = defaultdict(lambda: [0, 0])
    libraries = []
    for file, owner in (
        *((file, owners.find_owner_of_file(file.path)) for file in visible),
        *((file, HIDDEN) for file in hidden),
    ):
        sums[owner][0] += file.size_bytes
        sums[owner][1] += file.compressed_bytes
        if owner is not HIDDEN and _LIBRARY.search(file.path):
            libraries.append(
                SharedLibrary(file.path, owner[1], file.size_bytes, file.compressed_bytes)
            )
    parts = [ImagePart(kind, name, *sizes) for (kind, name), sizes in sums.items()]
    return Contents(
        tuple(sorted(parts, key=lambda part: (-part.size_bytes, part.name))),
        tuple(sorted(libraries, key=lambda library: (-library.size_bytes, library.path))),
    )


def _split_visible_and_hidden_files(
    layers: Iterable[Layer],
) -> tuple[list[LayerFile], list[LayerFile]]:
    """Return the files that a container sees, and the files that higher layers hide from it."""
    visible: dict[str, LayerFile] = {}
    hidden: list[LayerFile] = []
    for layer in layers:
        removed, emptied = set(layer.removed), set(layer.emptied)
        if removed or emptied:
            gone = [
                p for p in visible if p in removed or _is_inside_any_folder(p, removed | emptied)
            ]
            hidden.extend(visible.pop(path) for path in gone)
        # A layer removes only files of the layers below it.
        for file in layer.files:
            if (below := visible.get(file.path)) is not None:
                hidden.append(below)
            visible[file.path] = file
    return list(visible.values()), hidden


def _is_inside_any_folder(path: str, folders: set[str]) -> bool:
    while path:
        path = path.rpartition("/")[0]
        if path in folders:
            return True
    return False


class _FileOwners:
    """Finds the owner of a file by its path."""

    def __init__(self, layers: Iterable[Layer], visible: Iterable[LayerFile]) -> None:
        self._listed: dict[str, Owner] = {}
        for layer in layers:
            for package in layer.packages:
                # If both list a file, the Debian package is the owner, because it contains the
                # distribution.
                for path in package.paths:
                    if package.kind != "debian":
                        self._listed.setdefault(path, ("python", package.package))
                        continue
                    self._listed[path] = ("debian", package.package)
                    if path.startswith(USR_MERGED):
                        self._listed[f"usr/{path}"] = ("debian", package.package)
        self._by_top_folder = self._find_owners_of_top_folders(visible)

    def find_owner_of_file(self, path: str) -> Owner:
        if owner := self._listed.get(path) or self._listed.get(_BYTE_CODE.sub(r"\1.py", path)):
            return owner
        if package := _DPKG_INFO.match(path):
            return "debian", package[1]
        if site := _SITE.match(path):
            if owner := self._by_top_folder.get(site[0].rstrip("/")):
                return owner
            if found := _DIST_INFO.match(site[1]):
                return "python", f"{found[1].replace('_', '-').lower()} {found[2]}"
            return "python", site[1].partition(".")[0]
        depth = 3 if path.startswith(("usr/", "var/", "opt/")) else 2
        return "other", "/" + "/".join(path.split("/")[:-1][:depth])

    def _find_owners_of_top_folders(self, visible: Iterable[LayerFile]) -> dict[str, Owner]:
        """Find for each folder in ``site-packages`` the package that owns the most bytes in it."""
        counts: dict[str, Counter[Owner]] = defaultdict(Counter)
        for file in visible:
            site, owner = _SITE.match(file.path), self._listed.get(file.path)
            if site and owner and site[2]:
                counts[site[0].rstrip("/")][owner] += file.size_bytes
        return {folder: count.most_common(1)[0][0] for folder, count in counts.items()}
