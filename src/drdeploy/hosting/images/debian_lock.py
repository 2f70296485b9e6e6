"""Compare a container image's Debian packages with the lock ``containers/debian-packages.txt``.

When Debian publishes a newer version of a package, for example a security fix, it removes the old
version from its archive. A build that installs exactly the locked versions would then fail. A build
therefore installs the newest versions, and reports the packages that differ from the lock file. The
lock file records the versions with which the project was tested.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.errors import ImageBuildFailed, InvalidInput
from drdeploy.files import path_of_shipped_file
from drdeploy.hosting.images.inventory import read_inventory_of_image

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

    from drdeploy.hosting.container_engine import ContainerEngine
    from drdeploy.hosting.images.build import ImageRef
    from drdeploy.hosting.images.inventory import DebianPackage

LOCK = "containers/debian-packages.txt"
ARCHITECTURE = "amd64"
"""The processor architecture of the lock file. On other architectures, some packages have other
version numbers.
"""
NO_LOCK_REMEDY = (
    "Build without `--locked`. For arm64, only the base image and the Python packages are locked"
)
NAMED_MAX = 3
"""One message names at most this many packages."""


def describe_difference_from_debian_lock(
    engine: ContainerEngine, image: ImageRef, lock: Path | None = None
) -> str:
    """Describe how an image's Debian packages differ from the lock; empty text if they do not.

    Raises:
        EngineError: The files of the image cannot be read.
    """
    config = engine.image_config(image.id)
    if config.get("Architecture") != ARCHITECTURE:
        return f"{LOCK} is for {ARCHITECTURE}, so {image.tag} was not compared with it"
    locked = read_debian_lock(lock or path_of_shipped_file(LOCK))
    differing = list_packages_unlike_lock(read_inventory_of_image(engine, image.id).debian, locked)
    if not differing:
        return ""
    named = ", ".join(differing[:NAMED_MAX]) + (", …" if len(differing) > NAMED_MAX else "")
    return f"{len(differing)} Debian packages in {image.tag} differ from {LOCK}: {named}"


def refuse_platform_without_lock(platform: str | None) -> None:
    """Refuse, before a build, a platform for which there is no lock file of Debian packages.

    Args:
        platform: The platform, for example ``linux/arm64``; None is the engine's platform.

    Raises:
        InvalidInput: The lock file is for another platform.
    """
    if platform is not None and platform.rpartition("/")[2] != ARCHITECTURE:
        raise InvalidInput(
            f"The Debian packages cannot be checked for {platform}: {LOCK} is for "
            f"{ARCHITECTURE}, and some packages have other versions there",
            where="--platform",
            remedy=NO_LOCK_REMEDY,
        )


def refuse_image_unlike_lock(engine: ContainerEngine, image: ImageRef, difference: str) -> None:
    """If a new image's packages differ from the lock, remove the image's tag and raise an error.

    Nobody can then start the image by mistake.

    Raises:
        ImageBuildFailed: A package differs from the lock.
    """
    if difference:
        has_lock = engine.image_config(image.id).get("Architecture") == ARCHITECTURE
        engine.untag_image(image.tag)
        raise ImageBuildFailed(
            f"The image {image.tag} was removed after the build: {difference}",
            where=LOCK,
            remedy="Debian drops old versions when newer ones come out. Build without `--locked`, "
            "or update the locks in a clone: `make base-lock debian-lock`"
            if has_lock
            else NO_LOCK_REMEDY,
        )


def list_packages_unlike_lock(
    packages: Iterable[DebianPackage], locked: Mapping[str, str]
) -> list[str]:
    """Return the packages whose version differs from that in the lock file, with both versions."""
    return [
        f"{package.name} {package.version} (lock: {locked.get(package.name, 'none')})"
        for package in packages
        if locked.get(package.name) != package.version
    ]


def read_debian_lock(lock: Path) -> dict[str, str]:
    """Return the version of each package in a lock file, by the name of the package."""
    lines = (line.partition("#")[0].strip() for line in lock.read_text("utf-8").splitlines())
    pairs = (line.partition("=") for line in lines if line)
    return {name: version for name, _, version in pairs}
