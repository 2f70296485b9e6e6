"""Builds the project's images from their Dockerfiles, and knows their names and tags."""

from __future__ import annotations

import shutil
import tempfile
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from drdeploy.errors import ImageBuildFailed, InvalidInput
from drdeploy.files import shipped
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from drdeploy.hosting.engine import Engine

ImageName = Literal["baseline", "two-step", "reduced", "lean", "minimal"]
"""The ladder, from the 2023 study's first image to the smallest one that fulfils the contract."""
IMAGE_NAMES: tuple[ImageName, ...] = get_args(ImageName)

DOCKERFILES = Path("containers")

Platform = Literal["linux/amd64", "linux/arm64"]
ARM64: Platform = "linux/arm64"
ARM64_BASE = "arm64v8/debian:bookworm-slim"
"""Docker Hub's own name of the arm64 variant.  The usual name would replace the local image of this
machine's platform: an engine keeps one platform of a tag."""
ARM64_IMAGES: tuple[ImageName, ...] = ("reduced", "lean")
EMULATION_REMEDY = (
    "Let QEMU run them: `docker run --privileged --rm tonistiigi/binfmt --install arm64`, or on a "
    'Debian machine without Docker `eval "$(scripts/start-engine.sh arm64)"`'
)


def tag_of(image: str) -> str:
    """Return the tag for one of our names, and any other tag as it is."""
    return next((image_tag(name) for name in IMAGE_NAMES if image == name), image)


@dataclass(frozen=True)
class OwnImage:
    """One of the project's images.

    Attributes:
        name: For example ``lean``.
        platform: For example ``linux/arm64``; None is the engine's own.
    """

    name: ImageName
    platform: Platform | None = None

    @property
    def tag(self) -> str:
        """Its tag in the engine."""
        return image_tag(self.name, self.platform)

    def on(self, platform: Platform) -> OwnImage:
        """Return the same image for another platform."""
        return OwnImage(self.name, platform)


def own_image(tag: str) -> OwnImage | None:
    """Return which of our images a tag names; None if it names another one."""
    platforms: tuple[Platform | None, ...] = (None, ARM64)
    ours = (OwnImage(name, platform) for name in IMAGE_NAMES for platform in platforms)
    return next((image for image in ours if image.tag == tag), None)


@dataclass(frozen=True)
class ImageRef:
    """An image that was built.

    Attributes:
        tag: For example ``drdeploy:lean``.
        id: ``sha256:…`` of its configuration: the same id is the same image.
    """

    tag: str
    id: str


def image_tag(name: ImageName, platform: Platform | None = None) -> str:
    """Return ``drdeploy:lean`` for ``lean``, and ``drdeploy:lean-arm64`` for arm64."""
    return f"drdeploy:{name}-arm64" if platform == ARM64 else f"drdeploy:{name}"


def build_image(
    engine: Engine,
    name: ImageName,
    *,
    platform: Platform | None = None,
    root: Path | None = None,
    network: str = "host",
    log: Callable[[str], None] | None = None,
) -> ImageRef:
    """Build ``drdeploy:NAME``, with what the engine has in its cache.

    Args:
        engine: Builds the image.
        name: Which image.
        platform: None is the engine's own; another one is emulated.
        root: Folder that the Dockerfiles build from; None is the one of this package.
        network: Network of the build's steps; ``host`` reaches whatever this machine reaches.
        log: Called with each line of the build's output.

    Raises:
        ImageBuildFailed: The message ends with the last lines of the log.
        InvalidInput: The Dockerfiles are missing, or the image is not built for the platform.
    """
    if platform == ARM64 and name not in ARM64_IMAGES:
        raise InvalidInput(
            f"{name} is not built for {platform}",
            where="platform",
            remedy=f"Name one of {', '.join(ARM64_IMAGES)}",
        )
    tag = image_tag(name, platform)
    dockerfile = str(DOCKERFILES / f"{name}.Dockerfile")
    base = {"BASE": ARM64_BASE} if platform == ARM64 else {}
    try:
        with nullcontext(root) if root else build_context() as context:
            image_id = engine.build(
                context,
                dockerfile,
                tag,
                {"VERSION": VERSION, **base},
                network=network,
                platform=platform,
                log=log,
            )
    except ImageBuildFailed as err:
        if platform is None or "exec format error" not in str(err).lower():
            raise
        raise ImageBuildFailed(
            f"{tag} does not build: this machine cannot run programs for {platform}",
            where=dockerfile,
            remedy=EMULATION_REMEDY,
        ) from err
    return ImageRef(tag, image_id)


@contextmanager
def build_context() -> Iterator[Path]:
    """Give the folder that the Dockerfiles build from, laid out as the root of a checkout.

    A checkout is that folder itself.  An installed package has its Dockerfiles and locks below
    ``drdeploy/shipped``: they are copied beside its own modules, for as long as the block lasts.

    Raises:
        InvalidInput: The package was installed without its Dockerfiles.
    """
    dockerfiles = shipped(str(DOCKERFILES))
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
