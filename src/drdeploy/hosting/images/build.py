"""Build the project's images from their Dockerfiles, and look up their names and tags."""

from __future__ import annotations

import re
import shutil
import tempfile
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from drdeploy.errors import ImageBuildFailed, InvalidInput
from drdeploy.files import path_of_shipped_file
from drdeploy.hosting.images.base_images import choose_base_image, read_locked_bases
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from drdeploy.hosting.container_engine import ContainerEngine
    from drdeploy.hosting.images.base_images import LockedBase

ImageName = Literal["baseline", "two-step", "reduced", "lean", "minimal", "cuda"]
"""The names of the project's container images.

``baseline`` is built like the first image of the 2023 thesis that this project follows. ``minimal``
is the smallest image that fulfils SageMaker's hosting contract. ``cuda`` is for GPUs.
"""
ALL_IMAGE_NAMES: tuple[ImageName, ...] = get_args(ImageName)
IMAGE_NAMES: tuple[ImageName, ...] = tuple(name for name in ALL_IMAGE_NAMES if name != "cuda")
"""The images for CPUs, which `image build ladder` builds, and which studies compare."""

CUDA_REQUIREMENT = "cuda>=13.0"
"""The version of CUDA that PyPI's onnxruntime-gpu was built for, as ``cuda.Dockerfile`` states
it.
"""

DOCKERFILES = Path("containers")

ImagePlatform = Literal["linux/amd64", "linux/arm64"]
ARM64: ImagePlatform = "linux/arm64"
ARM64_IMAGES: tuple[ImageName, ...] = ("reduced", "lean")
EMULATION_REMEDY = (
    "Let QEMU run them: `docker run --privileged --rm tonistiigi/binfmt --install arm64`. On a "
    'Debian machine without Docker, run `eval "$(scripts/start-engine.sh arm64)"` as root in a '
    "clone of the project"
)

_ID_IN_ECR_TAG = re.compile("-[0-9a-f]{16}$")
"""The part of an image's id at the end of its tag in ECR."""


def resolve_image_tag(image: str) -> str:
    """Return the tag of the project's image with the given name; return any other text unchanged.

    For example, ``lean`` becomes ``drdeploy:lean``.
    """
    return next((make_image_tag(name) for name in ALL_IMAGE_NAMES if image == name), image)


@dataclass(frozen=True)
class OwnImage:
    """An image of this project.

    Attributes:
        name: The image's name, for example ``lean``.
        platform: The image's platform, for example ``linux/arm64``; None is the engine's platform.
    """

    name: ImageName
    platform: ImagePlatform | None = None

    @property
    def tag(self) -> str:
        """The image's tag in the engine."""
        return make_image_tag(self.name, self.platform)

    @property
    def variables(self) -> dict[str, str]:
        """The environment variable with the CUDA version of the image; empty without CUDA."""
        return {"NVIDIA_REQUIRE_CUDA": CUDA_REQUIREMENT} if self.name == "cuda" else {}

    def for_platform(self, platform: ImagePlatform) -> OwnImage:
        """Return the same image for another platform."""
        return OwnImage(self.name, platform)


def find_own_image_by_tag(tag: str) -> OwnImage | None:
    """Return the project's image that a tag names; None if the tag names another image."""
    platforms: tuple[ImagePlatform | None, ...] = (None, ARM64)
    ours = (OwnImage(name, platform) for name in ALL_IMAGE_NAMES for platform in platforms)
    return next((image for image in ours if image.tag == tag), None)


def find_own_image_by_ecr_uri(uri: str) -> OwnImage | None:
    """Return the project's image that a URI in ECR names by its tag; None if it names another.

    The tag of an image that ``drdeploy image push`` has pushed ends with a part of the image's id,
    for example ``cuda-0123456789abcdef``. A tag without an id, for example ``cuda``, counts only if
    the repository is called ``drdeploy``, because other projects have such tags too.
    """
    place, _, tag = uri.rpartition(":")
    name = _ID_IN_ECR_TAG.sub("", tag)
    if name == tag and place.rpartition("/")[2] != "drdeploy":
        return None
    return find_own_image_by_tag(f"drdeploy:{name}")


@dataclass(frozen=True)
class ImageRef:
    """A built image in the engine.

    Attributes:
        tag: The image's tag, for example ``drdeploy:lean``.
        id: The digest of the image's configuration, ``sha256:…``. Images with the same id are
            identical.
        base: What the image was built from: ``NAME@sha256:…``, or a tag.
        note: Why the locked base image was not used; empty if it was used.
    """

    tag: str
    id: str
    base: str
    note: str


def make_image_tag(name: ImageName, platform: ImagePlatform | None = None) -> str:
    """Return an image's tag, such as ``drdeploy:lean``, or ``drdeploy:lean-arm64`` for arm64."""
    return f"drdeploy:{name}-arm64" if platform == ARM64 else f"drdeploy:{name}"


def build_image(
    engine: ContainerEngine,
    name: ImageName,
    *,
    platform: ImagePlatform | None = None,
    root: Path | None = None,
    network: str = "host",
    log: Callable[[str], None] | None = None,
    bases: Sequence[LockedBase] = (),
    require_locked_base: bool = False,
) -> ImageRef:
    """Build the image ``drdeploy:NAME`` on a base image from the lock file ``bases.toml``.

    Args:
        engine: The container engine that builds the image.
        name: The name of the image.
        platform: The platform to build for; None is the engine's platform. On any other platform
            than the engine's, the steps of the build run in an emulator.
        root: The folder that the Dockerfiles build from; None is the folder of this package.
        network: The network that the steps of the build may use; ``host``, the default, is the
            network of this machine.
        log: Called with each line of the build's output.
        bases: The locked base images, of which the first is used; by default, those in
            ``bases.toml``.
        require_locked_base: Whether to refuse a base image that is a placeholder, or that has no
            digest in the lock file.

    Raises:
        ImageBuildFailed: The build failed; the message ends with the last lines of its output. Or
            ``require_locked_base`` is set, and the base image is a placeholder or has no digest in
            the lock file; then nothing is built.
        InvalidInput: The Dockerfiles are missing, or the image cannot be built for the platform.
    """
    if platform == ARM64 and name not in ARM64_IMAGES:
        raise InvalidInput(
            f"The image {name} cannot be built for {platform}",
            where="platform",
            remedy=f"Choose one of {', '.join(ARM64_IMAGES)}",
        )
    tag = make_image_tag(name, platform)
    dockerfile = str(DOCKERFILES / f"{name}.Dockerfile")
    base = choose_base_image(
        engine, (bases or read_locked_bases())[0], is_emulated_arm64=platform == ARM64
    )
    if base.note and require_locked_base:
        raise ImageBuildFailed(
            f"The image {tag} was not built: {base.note}",
            where=dockerfile,
            remedy="Build without `--locked`, or do what the message says",
        )
    if base.note and log is not None:
        log(f"Note: {base.note}")
    build_args = {
        "VERSION": VERSION,
        "BASE": base.reference,
        "BASE_NAME": base.image,
        "BASE_DIGEST": base.digest,
    }
    try:
        with nullcontext(root) if root else open_build_context() as context:
            image_id = engine.build_image(
                context,
                dockerfile,
                tag,
                build_args,
                network=network,
                platform=platform,
                log=log,
            )
    except ImageBuildFailed as err:
        if platform is None or "exec format error" not in str(err).lower():
            raise
        raise ImageBuildFailed(
            f"The image {tag} cannot be built: this machine cannot run programs for {platform}",
            where=dockerfile,
            remedy=EMULATION_REMEDY,
        ) from err
    return ImageRef(tag, image_id, base.reference, base.note)


@contextmanager
def open_build_context() -> Iterator[Path]:
    """Yield the folder from which images are built (the build context).

    In a checkout, the folder is the checkout itself. If the package is installed, the folder is a
    temporary one with the layout of a checkout. The package's Dockerfiles, lock files and modules
    are copied to this temporary folder.

    Raises:
        InvalidInput: The package was installed without its Dockerfiles.
    """
    dockerfiles = path_of_shipped_file(str(DOCKERFILES))
    if not (dockerfiles / "lean.Dockerfile").is_file():
        raise InvalidInput(
            "The Dockerfiles are missing",
            where=str(dockerfiles),
            remedy="Install drdeploy from its wheel, or with `pip install -e .` in a clone",
        )
    root = dockerfiles.parent
    if (root / "src").is_dir():
        yield root
        return
    with tempfile.TemporaryDirectory(prefix="drdeploy-build-") as folder:
        context = Path(folder)
        shutil.copytree(root, context, dirs_exist_ok=True)
        shutil.copytree(
            root.parent,
            context / "src" / "drdeploy",
            ignore=shutil.ignore_patterns(root.name, "__pycache__"),
        )
        yield context
