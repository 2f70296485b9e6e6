"""Measures an image: its size on disk, its size in a registry, and what takes the space."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from drdeploy.errors import EngineError
from drdeploy.hosting.images.archive import read_archive
from drdeploy.hosting.images.contents import Contents, contents_of
from drdeploy.hosting.images.layer_cache import LayerCache
from drdeploy.hosting.images.layers import Layer

if TYPE_CHECKING:
    from drdeploy.hosting.engine import Engine


@dataclass(frozen=True)
class ImageSize:
    """The size of an image, layer by layer.

    Attributes:
        image: Its name, as it was given.
        id: ``sha256:…`` of its configuration.
        layers: The lowest first.
        instructions: The Dockerfile's instruction for each layer, as the engine recorded it.
    """

    image: str
    id: str
    layers: tuple[Layer, ...]
    instructions: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """Size of all layers unpacked: what the image takes on disk."""
        return sum(layer.size_bytes for layer in self.layers)

    @property
    def compressed_bytes(self) -> int:
        """Size of all layers compressed: what a registry stores, and a new host pulls."""
        return sum(layer.compressed_bytes for layer in self.layers)

    @cached_property
    def contents(self) -> Contents:
        """What takes the space, by package and library."""
        return contents_of(self.layers)


class _Instructions(msgspec.Struct):
    made_by: tuple[str, ...]


def measure_size(engine: Engine, image: str, *, cache: LayerCache | None = None) -> ImageSize:
    """Measure an image: layers that are not cached are read from the engine (1 s per 30 MB).

    Raises:
        EngineError: There is no such image, or its archive has an unknown format.
    """
    cache = cache or LayerCache()
    config = engine.image_config(image)
    image_id = str(config["Id"])
    digests = [str(digest) for digest in config["RootFS"]["Layers"]]
    known = {digest: layer for digest in digests if (layer := cache.get(digest, Layer))}
    instructions = cache.get(image_id, _Instructions)
    if instructions is None or not set(digests) <= set(known):
        instructions = _read_missing(engine, image, digests, known)
        for digest, layer in known.items():
            cache.put(digest, layer)
        cache.put(image_id, instructions)
    made_by = instructions.made_by or ("",) * len(digests)
    return ImageSize(image, image_id, tuple(known[digest] for digest in digests), made_by)


def _read_missing(
    engine: Engine, image: str, digests: list[str], known: dict[str, Layer]
) -> _Instructions:
    """Read the layers that are missing in ``known`` and add them; return the instructions."""
    names = {digest.rpartition(":")[2] for digest in known}

    # Docker and Podman name a layer's file after its digest, each in a way of its own.
    def skips(file: str) -> bool:
        return any(name in file for name in names)

    archive = read_archive(engine.save(image), skips=skips)
    try:
        for digest, file in zip(digests, archive.layer_names, strict=True):
            if digest not in known:
                known[digest] = archive.layers[file]
        return _Instructions(archive.instructions)
    except (KeyError, IndexError, TypeError, ValueError) as err:
        raise EngineError("The engine saves images in an unknown format", where=image) from err
