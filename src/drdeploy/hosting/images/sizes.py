"""Measure a container image: its size on disk and in a registry, and the sizes of its parts."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import msgspec

from drdeploy.errors import EngineError
from drdeploy.hosting.images.contents import Contents, find_image_contents
from drdeploy.hosting.images.layer_cache import LayerCache
from drdeploy.hosting.images.layers import Layer
from drdeploy.hosting.images.saved_image import read_saved_image

if TYPE_CHECKING:
    from drdeploy.hosting.container_engine import ContainerEngine


@dataclass(frozen=True)
class ImageSize:
    """The size of an image, layer by layer.

    Attributes:
        image: The image's name, as the caller gave it.
        id: The digest of the image's configuration, ``sha256:…``.
        layers: The image's layers, the lowest first.
        instructions: The Dockerfile's instruction for each layer, as the engine recorded it.
    """

    image: str
    id: str
    layers: tuple[Layer, ...]
    instructions: tuple[str, ...]

    @property
    def size_bytes(self) -> int:
        """The unpacked size of all layers, which is the space that the image takes on disk."""
        return sum(layer.size_bytes for layer in self.layers)

    @property
    def compressed_bytes(self) -> int:
        """The compressed size of all layers, which a registry stores and a host pulls."""
        return sum(layer.compressed_bytes for layer in self.layers)

    @cached_property
    def contents(self) -> Contents:
        """The parts and the shared libraries of the image."""
        return find_image_contents(self.layers)


class _Instructions(msgspec.Struct):
    made_by: tuple[str, ...]


def measure_image_size(
    engine: ContainerEngine, image: str, *, cache: LayerCache | None = None
) -> ImageSize:
    """Measure the size of an image and of its layers.

    Layers that are not in the cache are read from the engine, which takes about 1 s per 30 MB.

    Raises:
        EngineError: The image does not exist, or the engine saves it in an unknown format.
    """
    cache = cache or LayerCache()
    config = engine.image_config(image)
    image_id = str(config["Id"])
    digests = [str(digest) for digest in config["RootFS"]["Layers"]]
    known = {digest: layer for digest in digests if (layer := cache.read_value(digest, Layer))}
    instructions = cache.read_value(image_id, _Instructions)
    if instructions is None or not set(digests) <= set(known):
        instructions = _read_uncached_layers(engine, image, digests, known)
        for digest, layer in known.items():
            cache.write_value(digest, layer)
        cache.write_value(image_id, instructions)
    made_by = instructions.made_by or ("",) * len(digests)
    return ImageSize(image, image_id, tuple(known[digest] for digest in digests), made_by)


def _read_uncached_layers(
    engine: ContainerEngine, image: str, digests: list[str], known: dict[str, Layer]
) -> _Instructions:
    """Read missing layers into ``known``; return the Dockerfile instructions of all layers."""
    names = {digest.rpartition(":")[2] for digest in known}

    # Docker and Podman both name a layer's file after its digest, but in different ways.
    def is_known_layer(file: str) -> bool:
        return any(name in file for name in names)

    archive = read_saved_image(engine.save_image(image), is_known_layer=is_known_layer)
    try:
        for digest, file in zip(digests, archive.layer_file_names, strict=True):
            if digest not in known:
                known[digest] = archive.layers[file]
        return _Instructions(archive.layer_instructions)
    except (KeyError, IndexError, TypeError, ValueError) as err:
        raise EngineError("The engine saves images in an unknown format", where=image) from err
