"""What an image weighs: on disk, and as a registry stores it.

A registry keeps each layer as a gzip-compressed tar file (OCI image specification, media type
``application/vnd.oci.image.layer.v1.tar+gzip``); engines compress with zlib's default level.
That sum is what a host without the image pulls.
"""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any

from drdeploy.errors import EngineError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.engine import Engine

GZIP_LEVEL = 6
GZIP_FORMAT = 31
"""zlib's ``wbits`` for a gzip header with the largest window."""
GZIP_MAGIC = b"\x1f\x8b"
CHUNK_BYTES = 1 << 20
MEGABYTE = 1_000_000
"""Registries and disks count in powers of ten."""


@dataclass(frozen=True)
class LayerSize:
    """One layer.

    Attributes:
        created_by: The Dockerfile's instruction, as the engine recorded it.
        size_bytes: Of the tar file.
        compressed_bytes: Of the tar file compressed with gzip.
    """

    created_by: str
    size_bytes: int
    compressed_bytes: int


@dataclass(frozen=True)
class ImageSize:
    """An image and its layers, the lowest first."""

    image: str
    id: str
    layers: tuple[LayerSize, ...]

    @property
    def size_bytes(self) -> int:
        """All layers unpacked: what the image takes on disk."""
        return sum(layer.size_bytes for layer in self.layers)

    @property
    def compressed_bytes(self) -> int:
        """All layers compressed: what a registry stores and a cold host pulls."""
        return sum(layer.compressed_bytes for layer in self.layers)


@dataclass(frozen=True)
class _Blob:
    size_bytes: int
    compressed_bytes: int
    document: Any = None


def measure_size(engine: Engine, image: str) -> ImageSize:
    """Read an image from the engine and compress its layers (about 1 s per 20 MB).

    Raises:
        EngineError: There is no such image, or its archive is of an unknown kind.
    """
    blobs = dict(_blobs(engine, image))
    try:
        manifest = blobs["manifest.json"].document[0]
        layers = [blobs[name] for name in manifest["Layers"]]
        history = blobs[manifest["Config"]].document["history"]
    except (KeyError, IndexError, TypeError) as err:
        raise EngineError(
            "The engine saves images in a form that is not understood", where=image
        ) from err
    created_by = [step.get("created_by", "") for step in history if not step.get("empty_layer")]
    names = created_by if len(created_by) == len(layers) else [""] * len(layers)
    return ImageSize(
        image,
        engine.image_id(image),
        tuple(
            LayerSize(name, layer.size_bytes, layer.compressed_bytes)
            for name, layer in zip(names, layers, strict=True)
        ),
    )


def _blobs(engine: Engine, image: str) -> Iterator[tuple[str, _Blob]]:
    """Every file of ``docker image save``, read once and never kept whole."""
    stream = io.BufferedReader(_Chunks(engine.save(image)), CHUNK_BYTES)
    with tarfile.open(fileobj=stream, mode="r|") as archive:
        for member in archive:
            content = archive.extractfile(member) if member.isfile() else None
            if content is not None:
                yield member.name, _weigh(content)


def _weigh(content: IO[bytes]) -> _Blob:
    head = content.read(CHUNK_BYTES)
    if len(head) < CHUNK_BYTES and (document := _as_json(head)) is not None:
        return _Blob(len(head), len(head), document)
    if head.startswith(GZIP_MAGIC):
        return _weigh_compressed(head, content)
    press = zlib.compressobj(GZIP_LEVEL, zlib.DEFLATED, GZIP_FORMAT)
    size = compressed = 0
    chunk = head
    while chunk:
        size += len(chunk)
        compressed += len(press.compress(chunk))
        chunk = content.read(CHUNK_BYTES)
    return _Blob(size, compressed + len(press.flush()))


def _weigh_compressed(head: bytes, content: IO[bytes]) -> _Blob:
    """A layer that the engine keeps compressed already."""
    expand = zlib.decompressobj(GZIP_FORMAT)
    size = compressed = 0
    chunk = head
    while chunk:
        compressed += len(chunk)
        size += len(expand.decompress(chunk))
        chunk = content.read(CHUNK_BYTES)
    return _Blob(size + len(expand.flush()), compressed)


def _as_json(head: bytes) -> Any:
    try:
        return json.loads(head)
    except ValueError:
        return None


class _Chunks(io.RawIOBase):
    """Chunks as a file that can only be read forward."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` from the next chunk; 0 at the end."""
        chunk = self._left or next(self._chunks, b"")
        count = min(len(chunk), len(buffer))
        buffer[:count] = chunk[:count]
        self._left = chunk[count:]
        return count
