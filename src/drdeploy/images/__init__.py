"""Container images: build the two that are measured, weigh them, check any other one.

``build`` turns a Dockerfile of ``containers/`` into ``drdeploy:lean`` (ONNX Runtime, lean
profile) or ``drdeploy:classic`` (TensorFlow, classic profile); ``sizes`` reads an image's layers
and compresses each, because what is pulled on a cold host is the compressed form.
:mod:`~drdeploy.images.conformance` holds any image against the whole hosting contract.
"""

from drdeploy.images.build import IMAGE_NAMES, ImageName, ImageRef, build_image, image_tag
from drdeploy.images.sizes import ImageSize, LayerSize, measure_size

__all__ = [
    "IMAGE_NAMES",
    "ImageName",
    "ImageRef",
    "ImageSize",
    "LayerSize",
    "build_image",
    "image_tag",
    "measure_size",
]
