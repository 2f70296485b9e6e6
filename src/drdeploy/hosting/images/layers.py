"""Read one layer of a container image: its size, its compressed size, and its files.

A registry stores each layer as a gzip-compressed tar file (OCI image specification). Engines
compress layers with zlib's default level. A host that does not have the image pulls all its
compressed layers.

The files of a layer are compressed together. A file's compressed size is the number of bytes that
the compressor writes while it reads this file. These sizes add up to the compressed size of the
layer. The compressor buffers its output, so the compressed size of a single file may be wrong by up
to 50 kB.
"""

from __future__ import annotations

import io
import re
import tarfile
import zlib
from abc import abstractmethod
from pathlib import PurePosixPath
from typing import IO, TYPE_CHECKING, Any

import msgspec

from drdeploy.grader.artifacts.tar_archive import (
    BoundedTarInfo,
    ReaderFailingFarPastEnd,
    iterate_members_without_keeping_them,
)
from drdeploy.units import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

GZIP_LEVEL = 6
GZIP_FORMAT = 31
"""The value of zlib's ``wbits`` for a gzip header and the largest window."""
GZIP_MAGIC = b"\x1f\x8b"
BLOCK_BYTES = 16 * KIB
"""Bytes that are compressed at once. With smaller blocks, the compressed size of a file is more
accurate."""
LIST_BYTES_MAX = 16 * MIB
"""The longest list of a package's files that is read, in bytes; TensorFlow's list is 2 MB long."""
FILES_MAX = 2_000_000
"""The largest number of files that a layer or an image may have; the largest machine-learning
images have a tenth of this number.
"""
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
"""The names with which a layer deletes files of lower layers (OCI image specification,
"Whiteouts"). ``WHITEOUT`` is the prefix of such a name: the file ``.wh.a`` deletes the file ``a``.
A file with the name ``OPAQUE`` deletes the whole content of its folder.
"""

_DEBIAN_LIST = re.compile(r"var/lib/dpkg/info/([^/:]+)(?::\w+)?\.list$")
_PYTHON_RECORD = re.compile(r"(?:^|.*/)([^/]+)-([^/-]+)\.dist-info/RECORD$")


class LayerFile(msgspec.Struct, frozen=True, array_like=True):
    """A file, link or folder of a layer.

    Attributes:
        path: The path from the root, without the leading slash.
        size_bytes: Bytes that the file takes in the tar file, with header and padding.
        compressed_bytes: Bytes that the file takes in the compressed tar file.
    """

    path: str
    size_bytes: int
    compressed_bytes: int


class PackageFiles(msgspec.Struct, frozen=True, array_like=True):
    """The list of files that an installed package has. Some of the files may be in other layers.

    Attributes:
        kind: The kind of package: ``debian`` or ``python``.
        package: The package's name; for a Python distribution, with its version.
        paths: The paths of the files from the root, without the leading slash.
    """

    kind: str
    package: str
    paths: tuple[str, ...]


class Layer(msgspec.Struct, frozen=True):
    """One layer of an image.

    Attributes:
        size_bytes: Size of the tar file.
        compressed_bytes: Size of the tar file compressed with gzip.
        files: The layer's files in the order of the tar file.
        removed: Paths that this layer removes from the layers below it.
        emptied: Folders whose content in the layers below is removed by this layer.
        packages: The lists of package files that are in this layer.
    """

    size_bytes: int
    compressed_bytes: int
    files: tuple[LayerFile, ...]
    removed: tuple[str, ...]
    emptied: tuple[str, ...]
    packages: tuple[PackageFiles, ...]


def read_layer_tar(content: IO[bytes]) -> Layer:
    """Read a layer's tar file, which may be gzip-compressed (about 1 s per 30 MB).

    Raises:
        tarfile.TarError: The content is not a tar file.
        zlib.error: The compressed content is damaged.
        UnsafeArchive: A header of the tar file is malformed, or the layer has more than
            ``FILES_MAX`` files.
    """
    head = content.read(BLOCK_BYTES)
    source = (_CompressedLayerTar if head.startswith(GZIP_MAGIC) else _PlainLayerTar)(head, content)
    files: list[LayerFile] = []
    packages: list[PackageFiles] = []
    with tarfile.open(
        fileobj=ReaderFailingFarPastEnd(source),
        mode="r|",
        bufsize=BLOCK_BYTES,
        tarinfo=BoundedTarInfo,
    ) as archive:
        start, compressed, name = 0, 0, ""
        for member in iterate_members_without_keeping_them(archive, max_members=FILES_MAX):
            if name:
                pressed = source.compressed_bytes - compressed
                files.append(LayerFile(name, member.offset - start, pressed))
                start, compressed = member.offset, source.compressed_bytes
            name = member.name.removeprefix("./")
            packages.extend(_read_package_file_list(name, archive, member))
    while source.read(BLOCK_BYTES):
        pass  # the padding after the last member is part of the layer too
    size, pressed = source.size_bytes, source.compressed_bytes
    if name:
        files.append(LayerFile(name, size - start, pressed - compressed))
    removed, emptied = _find_removed_and_emptied_paths(files)
    return Layer(size, pressed, tuple(files), removed, emptied, tuple(packages))


def _read_package_file_list(
    name: str, archive: tarfile.TarFile, member: tarfile.TarInfo
) -> Iterator[PackageFiles]:
    """Yield a package's list of its files if ``member`` is such a list; else yield nothing."""
    debian, python = _DEBIAN_LIST.match(name), _PYTHON_RECORD.match(name)
    is_list = member.isreg() and (debian or python) and member.size <= LIST_BYTES_MAX
    content = archive.extractfile(member) if is_list else None
    if content is None:
        return
    lines = content.read().decode("utf-8", "replace").splitlines()
    if debian:
        paths = (path for line in lines if (path := line.strip("/")) not in {"", "."})
        yield PackageFiles("debian", debian[1], tuple(paths))
    elif python:
        site = PurePosixPath(name).parent.parent
        recorded = (line.rsplit(",", 2)[0].strip('"') for line in lines)
        paths = (_join_and_normalize_paths(site, path) for path in recorded if path)
        package = f"{python[1].replace('_', '-').lower()} {python[2]}"
        yield PackageFiles("python", package, tuple(paths))


def _join_and_normalize_paths(folder: PurePosixPath, path: str) -> str:
    """Join a folder and a relative path such as ``../../bin/x``, and remove ``.`` and ``..``."""
    parts: list[str] = [] if path.startswith("/") else list(folder.parts)
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


def _find_removed_and_emptied_paths(
    files: list[LayerFile],
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    removed, emptied = [], []
    for file in files:
        folder, _, name = file.path.rpartition("/")
        if name == OPAQUE:
            emptied.append(folder)
        elif name.startswith(WHITEOUT):
            removed.append(f"{folder}/{name.removeprefix(WHITEOUT)}".lstrip("/"))
    return tuple(removed), tuple(emptied)


class _LayerTar(io.RawIOBase):
    """A layer's tar file, which can be read once. It counts its own bytes while it is read."""

    def __init__(self, head: bytes, content: IO[bytes]) -> None:
        super().__init__()
        self._head, self._content = head, content
        self.size_bytes = self.compressed_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._read_tar_bytes(len(buffer))
        self.size_bytes += len(data)
        buffer[: len(data)] = data
        return len(data)

    @abstractmethod
    def _read_tar_bytes(self, size: int) -> bytes:
        """Return up to ``size`` bytes of the tar file; no bytes at the end of the file."""

    def _read_stored_bytes(self, size: int) -> bytes:
        """Return the next bytes of the layer as the engine stores them."""
        if not self._head:
            return self._content.read(size)
        data, self._head = self._head[:size], self._head[size:]
        return data


class _PlainLayerTar(_LayerTar):
    """Reads a plain tar file, and compresses it to measure its compressed size."""

    def __init__(self, head: bytes, content: IO[bytes]) -> None:
        super().__init__(head, content)
        self._press = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_FORMAT)
        self._is_at_end = False

    def _read_tar_bytes(self, size: int) -> bytes:
        if self._is_at_end:
            return b""
        data = self._read_stored_bytes(size)
        self._is_at_end = not data
        self.compressed_bytes += len(self._press.compress(data) if data else self._press.flush())
        return data


class _CompressedLayerTar(_LayerTar):
    """Reads a tar file that the engine stores gzip-compressed."""

    def __init__(self, head: bytes, content: IO[bytes]) -> None:
        super().__init__(head, content)
        self._expand = zlib.decompressobj(GZIP_FORMAT)

    def _read_tar_bytes(self, size: int) -> bytes:
        data = b""
        while not data and not self._expand.eof:
            pressed = self._expand.unconsumed_tail
            if not pressed:
                pressed = self._read_stored_bytes(BLOCK_BYTES)
                self.compressed_bytes += len(pressed)
            if not pressed:
                break
            data = self._expand.decompress(pressed, size)
        return data
