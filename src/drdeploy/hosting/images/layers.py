"""One layer of an image, read once: its size, its size compressed, and the files in it.

A registry keeps each layer as a gzip-compressed tar file (OCI image specification, media type
``application/vnd.oci.image.layer.v1.tar+gzip``); engines compress with zlib's default level.
That sum is what a host without the image pulls.

The compressed size of a file is what the compressor gave out while the file went through it:
it adds up to the layer exactly, and is right to some 50 kB for any one file or run of files.
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

from drdeploy.units import KIB

if TYPE_CHECKING:
    from collections.abc import Iterator

GZIP_LEVEL = 6
GZIP_FORMAT = 31
"""zlib's ``wbits`` for a gzip header with the largest window."""
GZIP_MAGIC = b"\x1f\x8b"
BLOCK_BYTES = 16 * KIB
"""What is compressed at once: the finer, the closer a file's compressed size."""
WHITEOUT, OPAQUE = ".wh.", ".wh..wh..opq"
"""How a layer says that a file of a lower one is gone, or all of a folder (OCI layer format)."""

_DEBIAN_LIST = re.compile(r"var/lib/dpkg/info/([^/:]+)(?::\w+)?\.list$")
_PYTHON_RECORD = re.compile(r"(?:^|.*/)([^/]+)-([^/-]+)\.dist-info/RECORD$")


class LayerFile(msgspec.Struct, frozen=True, array_like=True):
    """A file, link or folder, with its header and padding in the tar file.

    Attributes:
        path: From the root, without the leading slash.
        size_bytes: In the tar file.
        compressed_bytes: In the compressed tar file.
    """

    path: str
    size_bytes: int
    compressed_bytes: int


class Claim(msgspec.Struct, frozen=True, array_like=True):
    """A package's own list of its files, which may lie in other layers too."""

    kind: str
    package: str
    paths: tuple[str, ...]


class Layer(msgspec.Struct, frozen=True):
    """What a layer holds.

    Attributes:
        size_bytes: Of the tar file.
        compressed_bytes: Of the tar file compressed with gzip.
        files: In the order of the tar file.
        removed: Paths of lower layers that are gone.
        emptied: Folders whose content in lower layers is gone.
        claims: Of the packages whose lists are in this layer.
    """

    size_bytes: int
    compressed_bytes: int
    files: tuple[LayerFile, ...]
    removed: tuple[str, ...]
    emptied: tuple[str, ...]
    claims: tuple[Claim, ...]


def read_layer(content: IO[bytes]) -> Layer:
    """Read a layer's tar file, gzip-compressed or not (about 1 s per 30 MB).

    Raises:
        tarfile.TarError: It is no tar file.
        zlib.error: Its compressed form is damaged.
    """
    head = content.read(BLOCK_BYTES)
    source = (_Expanding if head.startswith(GZIP_MAGIC) else _Compressing)(head, content)
    files: list[LayerFile] = []
    claims: list[Claim] = []
    with tarfile.open(fileobj=source, mode="r|", bufsize=BLOCK_BYTES) as archive:
        start, compressed, name = 0, 0, ""
        for member in archive:
            if name:
                pressed = source.compressed_bytes - compressed
                files.append(LayerFile(name, member.offset - start, pressed))
                start, compressed = member.offset, source.compressed_bytes
            name = member.name.removeprefix("./")
            claims.extend(_claims(name, archive, member))
    while source.read(BLOCK_BYTES):
        pass
    size, pressed = source.size_bytes, source.compressed_bytes
    if name:
        files.append(LayerFile(name, size - start, pressed - compressed))
    removed, emptied = _whiteouts(files)
    return Layer(size, pressed, tuple(files), removed, emptied, tuple(claims))


def _claims(name: str, archive: tarfile.TarFile, member: tarfile.TarInfo) -> Iterator[Claim]:
    debian, python = _DEBIAN_LIST.match(name), _PYTHON_RECORD.match(name)
    content = archive.extractfile(member) if member.isreg() and (debian or python) else None
    if content is None:
        return
    lines = content.read().decode("utf-8", "replace").splitlines()
    if debian:
        paths = (line.strip("/") for line in lines)
        yield Claim("debian", debian[1], tuple(path for path in paths if path not in {"", "."}))
    elif python:
        site = PurePosixPath(name).parent.parent
        recorded = (line.rsplit(",", 2)[0].strip('"') for line in lines)
        paths = (_joined(site, path) for path in recorded if path)
        yield Claim("python", f"{python[1].replace('_', '-').lower()} {python[2]}", tuple(paths))


def _joined(folder: PurePosixPath, path: str) -> str:
    """``site`` and ``../../bin/x`` as one path without dots."""
    parts: list[str] = [] if path.startswith("/") else list(folder.parts)
    for part in path.split("/"):
        if part == "..":
            del parts[-1:]
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


def _whiteouts(files: list[LayerFile]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    removed, emptied = [], []
    for file in files:
        folder, _, name = file.path.rpartition("/")
        if name == OPAQUE:
            emptied.append(folder)
        elif name.startswith(WHITEOUT):
            removed.append(f"{folder}/{name.removeprefix(WHITEOUT)}".lstrip("/"))
    return tuple(removed), tuple(emptied)


class _Source(io.RawIOBase):
    """A tar file to read forward, and what it has taken of the compressed one so far."""

    def __init__(self, head: bytes, content: IO[bytes]) -> None:
        super().__init__()
        self._head, self._content = head, content
        self.size_bytes = self.compressed_bytes = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = self._next(len(buffer))
        self.size_bytes += len(data)
        buffer[: len(data)] = data
        return len(data)

    @abstractmethod
    def _next(self, size: int) -> bytes:
        """At most so many bytes of what is read; none at its end."""

    def _stored(self, size: int) -> bytes:
        """The next bytes as the engine keeps them."""
        if not self._head:
            return self._content.read(size)
        data, self._head = self._head[:size], self._head[size:]
        return data


class _Compressing(_Source):
    """Compresses what is read through it."""

    def __init__(self, head: bytes, content: IO[bytes]) -> None:
        super().__init__(head, content)
        self._press = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_FORMAT)
        self._is_at_end = False

    def _next(self, size: int) -> bytes:
        data = self._stored(size)
        self.compressed_bytes += len(self._press.compress(data))
        if not data and not self._is_at_end:
            self._is_at_end = True
            self.compressed_bytes += len(self._press.flush())
        return data


class _Expanding(_Source):
    """Expands what the engine keeps compressed already."""

    def __init__(self, head: bytes, content: IO[bytes]) -> None:
        super().__init__(head, content)
        self._expand = zlib.decompressobj(GZIP_FORMAT)

    def _next(self, size: int) -> bytes:
        data = b""
        while not data and not self._expand.eof:
            pressed = self._expand.unconsumed_tail
            if not pressed:
                pressed = self._stored(BLOCK_BYTES)
                self.compressed_bytes += len(pressed)
            if not pressed:
                break
            data = self._expand.decompress(pressed, size)
        return data
