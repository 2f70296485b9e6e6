"""Reads an image as ``docker image save`` writes it: a tar file of documents and layers."""

from __future__ import annotations

import io
import json
import tarfile
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drdeploy.errors import EngineError, UnsafeArchive
from drdeploy.files import CHUNK_BYTES
from drdeploy.grader.artifacts.archive import BoundedTarInfo, UntilEnd, members_of
from drdeploy.hosting.images.layers import Layer, read_layer

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FILES_MAX = 10_000
"""Files of a saved image: three for each layer, and a few documents."""


@dataclass
class SavedImage:
    """The parts of a saved image.

    Attributes:
        documents: JSON by file name: ``manifest.json``, and the configuration that it names.
        layers: By file name, without those that were skipped.
    """

    documents: dict[str, Any] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)

    @property
    def layer_names(self) -> list[str]:
        """The file names of the layers, the lowest first."""
        return list(self.documents["manifest.json"][0]["Layers"])

    @property
    def instructions(self) -> tuple[str, ...]:
        """The Dockerfile's instruction for each layer; empty if the engine recorded none."""
        history = self.documents[self.documents["manifest.json"][0]["Config"]].get("history", [])
        made = tuple(step.get("created_by", "") for step in history if not step.get("empty_layer"))
        return made if len(made) == len(self.layer_names) else ()


def read_archive(chunks: Iterator[bytes], *, skips: Callable[[str], bool]) -> SavedImage:
    """Read a saved image once, forward, without keeping the whole of it.

    Args:
        chunks: The tar file.
        skips: Returns whether a file, by its name, is a layer that need not be read.

    Raises:
        EngineError: A file in it is neither a document nor a layer, or is built to cost its
            reader much more than its size.
    """
    image = SavedImage()
    stream = io.BufferedReader(_Chunks(chunks), CHUNK_BYTES)
    try:
        with tarfile.open(fileobj=UntilEnd(stream), mode="r|", tarinfo=BoundedTarInfo) as files:
            for member in members_of(files, max_members=FILES_MAX):
                content = files.extractfile(member) if member.isfile() else None
                if content is None or skips(member.name):
                    continue
                # Formats name files in different ways, so the content decides: a small file that
                # is JSON is a document, everything else a layer.
                head = content.read(CHUNK_BYTES) if member.size < CHUNK_BYTES else b""
                if head and (document := _as_json(head)) is not None:
                    image.documents[member.name] = document
                elif member.size:
                    image.layers[member.name] = read_layer(io.BytesIO(head) if head else content)
    except UnsafeArchive as err:
        raise EngineError(f"The image cannot be read: {err.what}") from err
    except (tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError) as err:
        raise EngineError("The engine saves layers in an unknown format") from err
    return image


def _as_json(data: bytes) -> Any:
    try:
        return json.loads(data)
    except (ValueError, RecursionError):
        return None


class _Chunks(io.RawIOBase):
    """Presents an iterator of chunks as a file that can only be read forward."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` from the next chunk; return 0 at the end."""
        chunk = self._left or next(self._chunks, b"")
        count = min(len(chunk), len(buffer))
        buffer[:count] = chunk[:count]
        self._left = chunk[count:]
        return count
