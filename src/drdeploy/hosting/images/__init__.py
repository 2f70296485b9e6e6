"""Build container images, measure their size, and time their cold starts.

``build`` makes the project's images from the Dockerfiles in ``containers/``. ``drdeploy:baseline``,
``drdeploy:two-step`` and ``drdeploy:reduced`` hold TensorFlow and the classic server profile. They
correspond to the three images of the 2023 thesis that this project follows. ``drdeploy:lean`` and
``drdeploy:minimal`` hold ONNX Runtime and the lean server profile. ``drdeploy:cuda`` holds the lean
server profile and ONNX Runtime for GPUs; commands that build or compare all images leave it out.
``base_images`` chooses the exact base image of a build. ``debian_lock`` compares the Debian
packages in an image with a lock file.

``inventory`` lists the packages of any image, and ``sbom`` writes them as a bill of materials.
``provenance`` states what an image was built from.

``sizes`` measures any image, on disk and compressed, and shows which packages take the most space.
``saved_image`` reads an image in the format of ``docker image save``, ``layers`` reads one layer,
and ``contents`` finds the owner of each file. ``cold_start`` times each stage of a start;
``import_times`` measures the time of each import.
"""

from drdeploy.hosting.images.build import (
    ALL_IMAGE_NAMES,
    ARM64,
    IMAGE_NAMES,
    ImageName,
    ImagePlatform,
    ImageRef,
    OwnImage,
    build_image,
    find_own_image_by_ecr_uri,
    find_own_image_by_tag,
    make_image_tag,
    resolve_image_tag,
)
from drdeploy.hosting.images.debian_lock import (
    describe_difference_from_debian_lock,
    refuse_image_unlike_lock,
    refuse_platform_without_lock,
)
from drdeploy.hosting.images.provenance import write_sbom_and_provenance
from drdeploy.hosting.images.sbom import make_sbom_of_image
from drdeploy.hosting.images.size_rows import make_image_size_document, write_image_sizes_csv
from drdeploy.hosting.images.sizes import ImageSize, measure_image_size

__all__ = [
    "ALL_IMAGE_NAMES",
    "ARM64",
    "IMAGE_NAMES",
    "ImageName",
    "ImagePlatform",
    "ImageRef",
    "ImageSize",
    "OwnImage",
    "build_image",
    "describe_difference_from_debian_lock",
    "find_own_image_by_ecr_uri",
    "find_own_image_by_tag",
    "make_image_size_document",
    "make_image_tag",
    "make_sbom_of_image",
    "measure_image_size",
    "refuse_image_unlike_lock",
    "refuse_platform_without_lock",
    "resolve_image_tag",
    "write_image_sizes_csv",
    "write_sbom_and_provenance",
]
