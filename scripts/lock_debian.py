"""Write ``containers/debian-packages.txt``: the Debian packages in the images, with versions.

    python scripts/lock_debian.py            builds the six images (half an hour, 2 GB of downloads)
    python scripts/lock_debian.py TAG...     reads existing images

A package must have the same version in all images. This is so if all images were built on the same
day.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.hosting.container_engine import ContainerEngine
from drdeploy.hosting.images import ALL_IMAGE_NAMES, build_image
from drdeploy.hosting.images.debian_lock import LOCK
from drdeploy.hosting.images.inventory import read_inventory_of_image

if TYPE_CHECKING:
    from collections.abc import Iterable

    from drdeploy.hosting.images.inventory import DebianPackage

TARGET = Path(__file__).resolve().parent.parent / LOCK
HEADER = """\
# The packages of Debian {release} in the six images, for amd64, as they were tested.
# Written by `make debian-lock`. `drdeploy image build` says where an image differs, and
# `drdeploy image build NAME --locked` refuses it.
"""


def main(tags: list[str]) -> int:
    """Read the packages of each image, and write the lock file."""
    engine = ContainerEngine.find_or_raise()
    read = []
    for tag in tags or [build_image(engine, name).tag for name in ALL_IMAGE_NAMES]:
        read.append(read_inventory_of_image(engine, tag))
        sys.stdout.write(f"{tag}: {len(read[-1].debian)} packages\n")
    versions = versions_of(package for inventory in read for package in inventory.debian)
    lines = (f"{name}={version}\n" for name, version in sorted(versions.items()))
    TARGET.write_text(HEADER.format(release=read[0].release) + "".join(lines), "utf-8")
    return 0


def versions_of(packages: Iterable[DebianPackage]) -> dict[str, str]:
    """Return the version of each package; end the script if a package has two versions."""
    versions: dict[str, str] = {}
    for package in packages:
        if versions.setdefault(package.name, package.version) != package.version:
            sys.exit(
                f"The images contain {package.name} {versions[package.name]} "
                f"and {package.version}, "
                "because one image is older than another. Remove the older image and its "
                "build cache from the engine"
            )
    return versions


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
