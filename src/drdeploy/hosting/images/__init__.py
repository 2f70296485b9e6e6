"""Container images: build the ladder, weigh it, check any other one.

``build`` turns a Dockerfile of ``containers/`` into a rung: ``drdeploy:baseline``, ``two-step``
and ``reduced`` (TensorFlow, classic profile: the study's three), ``lean`` and ``minimal`` (ONNX
Runtime, lean profile); ``sizes`` weighs an image and
says what inside takes the space: ``archive`` reads what the engine saves, ``layers`` one layer,
``contents`` lays them over each other and finds whose each file is.
:mod:`~drdeploy.hosting.conformance` holds any image against the whole hosting contract.
"""

from drdeploy.hosting.images.build import (
    ARM64,
    IMAGE_NAMES,
    ImageName,
    ImageRef,
    OwnImage,
    Platform,
    build_image,
    image_tag,
    own_image,
    tag_of,
)
from drdeploy.hosting.images.size_rows import document_of, write_sizes
from drdeploy.hosting.images.sizes import ImageSize, measure_size

__all__ = [
    "ARM64",
    "IMAGE_NAMES",
    "ImageName",
    "ImageRef",
    "ImageSize",
    "OwnImage",
    "Platform",
    "build_image",
    "document_of",
    "image_tag",
    "measure_size",
    "own_image",
    "tag_of",
    "write_sizes",
]
