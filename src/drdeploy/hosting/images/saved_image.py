"""Read a container image as ``docker image save`` writes it: a tar of JSON documents and layers."""

from __future__ import annotations

import io
import tarfile
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from drdeploy.errors import EngineError, UnsafeArchive
from drdeploy.files import CHUNK_BYTES, parse_json
from drdeploy.grader.artifacts.tar_archive import (
    BoundedTarInfo,
    ReaderFailingFarPastEnd,
    iterate_members_without_keeping_them,
)
from drdeploy.hosting.images.layers import Layer, read_layer_tar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SAVED_FILES_MAX = 10_000
"""The largest number of files that a saved image may have: three for each layer, and a few
documents.
"""


@dataclass
class SavedImage:
    """The parts of a saved image.

    Attributes:
        documents: The parsed JSON documents by file name: ``manifest.json``, and the configuration
            that ``manifest.json`` names.
        layers: The layers that were read, by file name.
    """

    documents: dict[str, Any] = field(default_factory=dict)
    layers: dict[str, Layer] = field(default_factory=dict)

    @property
    def layer_file_names(self) -> list[str]:
        """The file names of the layers, the lowest layer first."""
        return list(self.documents["manifest.json"][0]["Layers"])

    @property
    def layer_instructions(self) -> tuple[str, ...]:
        """The Dockerfile instruction of each layer; an empty tuple if the engine recorded none."""
        history = self.documents[self.documents["manifest.json"][0]["Config"]].get("history", [])
        made = tuple(step.get("created_by", "") for step in history if not step.get("empty_layer"))
        return made if len(made) == len(self.layer_file_names) else ()


def read_saved_image(
    chunks: Iterator[bytes], *, is_known_layer: Callable[[str], bool]
) -> SavedImage:
    """Read a saved image once from beginning to end, without keeping all of it in memory.

    Args:
        chunks: The bytes of the tar file, chunk by chunk.
        is_known_layer: Takes a file name, and returns whether the file is a layer that is already
            known. Such a file is skipped.

    Raises:
        EngineError: A file of the saved image is neither a JSON document nor a layer. Or the tar
            file is built so that reading it would take far more time or memory than its size
            suggests.
    """
    image = SavedImage()
    try:
        for member, files in iterate_members_of_tar(chunks, max_members=SAVED_FILES_MAX):
            content = files.extractfile(member) if member.isfile() else None
            if content is None or is_known_layer(member.name):
                continue
            # The formats name their files in different ways, so the content decides. A small file
            # that is JSON is a document, and any other file is a layer.
            head = content.read(CHUNK_BYTES) if member.size < CHUNK_BYTES else b""
            if head and (document := _parse_json_or_none(head)) is not None:
                image.documents[member.name] = document
            elif member.size:
                image.layers[member.name] = read_layer_tar(io.BytesIO(head) if head else content)
    except UnsafeArchive as err:
        raise EngineError(f"The image cannot be read: {err.what}") from err
    except (tarfile.TarError, zlib.error, EOFError, ValueError, OverflowError) as err:
        raise EngineError("The engine saves layers in an unknown format") from err
    return image


def iterate_members_of_tar(
    chunks: Iterator[bytes], *, max_members: int
) -> Iterator[tuple[tarfile.TarInfo, tarfile.TarFile]]:
    """Yield each member of a tar file that comes in chunks, and the object to read it with.

    Raises:
        UnsafeArchive: Reading the tar file would take far more time or memory than its size
            suggests, or the tar file has more than ``max_members`` members.
        tarfile.TarError, EOFError, ValueError, OverflowError: The data is not a tar file.
    """
    stream = io.BufferedReader(ChunkReader(chunks), CHUNK_BYTES)
    with tarfile.open(
        fileobj=ReaderFailingFarPastEnd(stream), mode="r|", tarinfo=BoundedTarInfo
    ) as files:
        for member in iterate_members_without_keeping_them(files, max_members=max_members):
            yield member, files


def _parse_json_or_none(data: bytes) -> Any:
    try:
        return parse_json(data)
    except ValueError:
        return None


class ChunkReader(io.RawIOBase):
    """Presents an iterator of chunks as a file that can be read once."""

    def __init__(self, chunks: Iterator[bytes]) -> None:
        super().__init__()
        self._chunks = chunks
        self._left = b""

    def readable(self) -> bool:
        """Return True: the file can be read, but not written."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill ``buffer`` from the next chunk; return 0 at the end."""
        chunk = self._left or next(self._chunks, b"")
        count = min(len(chunk), len(buffer))
        buffer[:count] = chunk[:count]
        self._left = chunk[count:]
        return count
