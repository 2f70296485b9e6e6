"""From a Dockerfile to an image."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import drdeploy
from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.engine import Engine

ImageName = Literal["baseline", "two-step", "reduced", "lean", "minimal"]
"""The ladder, from the study's first image to the smallest that keeps the whole contract."""
IMAGE_NAMES: tuple[ImageName, ...] = get_args(ImageName)

DOCKERFILES = Path("containers")


@dataclass(frozen=True)
class ImageRef:
    """An image that was built.

    Attributes:
        tag: What to run, for example ``drdeploy:lean``.
        id: ``sha256:…`` of its configuration: the same id is the same image.
    """

    tag: str
    id: str


def image_tag(name: ImageName) -> str:
    """The tag of a name: ``lean`` is ``drdeploy:lean``."""
    return f"drdeploy:{name}"


def build_image(
    engine: Engine,
    name: ImageName,
    *,
    root: Path | None = None,
    network: str = "host",
    log: Callable[[str], None] | None = None,
) -> ImageRef:
    """Build ``drdeploy:NAME``; what did not change comes from the engine's cache.

    Args:
        engine: Builds.
        name: Which image.
        root: The checkout; None finds the one that this package runs from.
        network: Of the build's steps; ``host`` reaches the registries that this machine reaches.
        log: Called with each line of the build's output.

    Raises:
        ImageBuildFailed: The message carries the end of the log.
        InvalidInput: There are no Dockerfiles beside this package.
    """
    tag = image_tag(name)
    image_id = engine.build(
        root or checkout(),
        str(DOCKERFILES / f"{name}.Dockerfile"),
        tag,
        {"VERSION": drdeploy.__version__},
        network=network,
        log=log,
    )
    return ImageRef(tag, image_id)


def checkout(start: Path = Path(drdeploy.__file__)) -> Path:
    """The folder above ``start`` that holds ``containers/``.

    Raises:
        InvalidInput: The package was installed without its checkout.
    """
    for folder in start.resolve().parents:
        if (folder / DOCKERFILES / "lean.Dockerfile").is_file():
            return folder
    raise InvalidInput(
        "The Dockerfiles are not beside this package",
        where=str(start.parent),
        remedy="Images are built from a clone of the project: install it with `pip install -e .`",
    )
