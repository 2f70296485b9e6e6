"""Choose the base image of a build: the one with the digest in the lock file ``bases.toml``.

On a machine that cannot reach a registry, ``scripts/start-engine.sh`` builds a placeholder: another
image that gets the tag of the base image. Its digest is not the one in the lock file, and the
build's log says so.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import EngineError, ImageBuildFailed

if TYPE_CHECKING:
    from drdeploy.hosting.container_engine import ContainerEngine

LOCK = Path(__file__).with_name("bases.toml")
PLACEHOLDER_LABEL = "org.drdeploy.placeholder"
"""The label by which a placeholder image from ``scripts/start-engine.sh`` is recognised."""
REMEDY = (
    "Check that this machine can reach the registry. If the registry no longer has the digest, run "
    "`make base-lock` in a clone. If no registry can be reached, "
    '`eval "$(scripts/start-engine.sh)"` in a clone builds a placeholder of the base image'
)


@dataclass(frozen=True)
class LockedBase:
    """A base image in the lock file.

    Attributes:
        debian: The release of Debian.
        image: The repository and the tag of the image.
        digest: The digest, ``sha256:…``, of the index that lists the image for each platform; empty
            if the lock file has no such digest.
        arm64_digest: The digest, ``sha256:…``, of the image for arm64; empty if the lock file has
            none.
        locked_on: The day on which the tag had these digests.
        source: Where the digests were read: in the registry itself, or on a web page.
    """

    debian: int
    image: str
    digest: str
    arm64_digest: str
    locked_on: str
    source: str

    @property
    def repository(self) -> str:
        """The image's name without its tag."""
        return self.image.rpartition(":")[0]


@dataclass(frozen=True)
class ChosenBase:
    """The image that a build starts from.

    Attributes:
        reference: The name of the image in the ``FROM`` line.
        image: The repository and the tag of the image.
        digest: The image's digest in the registry, ``sha256:…``; empty if the image is a
            placeholder, or the lock file has no digest for it.
        note: A sentence for the build's log that says why the image is not the one in the lock
            file; empty if the image is that one.
    """

    reference: str
    image: str
    digest: str
    note: str


def read_locked_bases(lock: Path = LOCK) -> tuple[LockedBase, ...]:
    """Return the base images that a lock file names."""
    return tuple(LockedBase(**base) for base in tomllib.loads(lock.read_text("utf-8"))["base"])


def choose_base_image(
    engine: ContainerEngine, base: LockedBase, *, is_emulated_arm64: bool = False
) -> ChosenBase:
    """Choose the base image of a build, and pull it if the lock file has its digest.

    Raises:
        ImageBuildFailed: The registry no longer has the locked image, or cannot be reached.
    """
    # Docker Hub's own name of the arm64 variant. An engine keeps one platform of a tag, so the
    # usual name would replace the local image for this machine's platform.
    image = f"arm64v8/{base.image}" if is_emulated_arm64 else base.image
    if placeholder := _find_id_of_placeholder_image(engine, image):
        note = (
            f"{image} is a placeholder that was made on this machine ({placeholder[:19]}), so it "
            "does not have the digest in bases.toml"
        )
        return ChosenBase(image, image, "", note)
    digest = base.arm64_digest if is_emulated_arm64 else base.digest
    if not digest:
        note = (
            f"bases.toml has no digest for {image}: run `make base-lock` once in a clone, on a "
            "machine that reaches the registry"
        )
        return ChosenBase(image, image, "", note)
    reference = f"{base.repository}@{digest}"
    _pull_base_image_if_missing(engine, base, digest)
    return ChosenBase(reference, base.image, digest, "")


def _find_id_of_placeholder_image(engine: ContainerEngine, image: str) -> str:
    """Return the id of the placeholder that stands for a base image; empty if there is none."""
    try:
        config = engine.image_config(image)
    except EngineError:
        return ""
    labels = config.get("Config", {}).get("Labels") or {}
    image_id = str(config["Id"]).removeprefix("sha256:")
    return f"sha256:{image_id}" if PLACEHOLDER_LABEL in labels else ""


def _pull_base_image_if_missing(engine: ContainerEngine, base: LockedBase, digest: str) -> None:
    try:
        engine.image_id(f"{base.repository}@{digest}")
    except EngineError:
        try:
            engine.pull_image(base.repository, digest)
        except EngineError as err:
            raise ImageBuildFailed(
                f"The base image with the digest in bases.toml cannot be pulled ({err.what})",
                where=f"{base.repository}@{digest}",
                remedy=REMEDY,
            ) from err
