"""Container images: built, measured by size, and timed at a cold start.

``build`` makes the five images of ``containers/`` (the ladder): ``drdeploy:baseline``,
``two-step`` and ``reduced`` hold TensorFlow and the classic profile, as the three images of the
2023 study; ``lean`` and ``minimal`` hold ONNX Runtime and the lean profile.

``sizes`` measures any image, on disk and compressed, and says what takes the space: ``archive``
reads what the engine saves, ``layers`` reads one layer, ``contents`` combines them and finds the
owner of each file.  ``cold_start`` times a start stage by stage; ``imports`` says which imports it
spends its time on.
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
