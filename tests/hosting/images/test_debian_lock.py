"""A build says where its packages of Debian differ from the lock; `--locked` refuses them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from drdeploy.cli.image import app
from drdeploy.errors import ImageBuildFailed, InvalidInput
from drdeploy.hosting.images import ImageRef
from drdeploy.hosting.images.debian_lock import (
    LOCK,
    describe_difference_from_debian_lock,
    list_packages_unlike_lock,
    read_debian_lock,
    refuse_image_unlike_lock,
)
from drdeploy.hosting.images.inventory import DebianPackage, read_inventory_of_image

ROOT = Path(__file__).resolve().parents[3]
LEAN = ImageRef("drdeploy:lean", "sha256:1", "debian@sha256:2", "")


class RecordingEngine:
    def __init__(self, architecture="amd64"):
        self.untagged, self.architecture = [], architecture

    def untag_image(self, tag):
        self.untagged.append(tag)

    def image_config(self, image):
        return {"Architecture": self.architecture}


def package(name, version):
    return DebianPackage(name, version, "amd64", name, "", (), ())


def test_another_version_and_a_package_that_is_not_locked_differ(tmp_path):
    lock = tmp_path / "debian.txt"
    lock.write_text("# said first\nlibc6=2.36-9\nzlib1g=1:1.2\n")
    found = [package("libc6", "2.36-10"), package("zlib1g", "1:1.2"), package("new", "1")]
    assert list_packages_unlike_lock(found, read_debian_lock(lock)) == [
        "libc6 2.36-10 (lock: 2.36-9)",
        "new 1 (lock: none)",
    ]


def test_an_image_that_differs_is_refused_with_the_way_to_move_the_lock_and_loses_its_tag():
    engine = RecordingEngine()
    with pytest.raises(ImageBuildFailed, match="debian-lock"):
        refuse_image_unlike_lock(engine, LEAN, "libc6 differs")
    assert engine.untagged == ["drdeploy:lean"]


def test_a_platform_without_lock_is_refused_before_anything_is_built():
    done = CliRunner().invoke(app, ["build", "lean", "--platform", "linux/arm64", "--locked"])
    assert isinstance(done.exception, InvalidInput)
    assert "for amd64" in str(done.exception)


def test_an_image_of_an_architecture_without_lock_is_refused_with_another_remedy():
    with pytest.raises(ImageBuildFailed, match="For arm64, only"):
        refuse_image_unlike_lock(RecordingEngine("arm64"), LEAN, "was not compared")


def test_an_image_from_the_locks_keeps_its_tag():
    engine = RecordingEngine()
    refuse_image_unlike_lock(engine, LEAN, "")
    assert engine.untagged == []


def test_another_architecture_is_said_not_to_be_compared():
    assert "was not compared" in describe_difference_from_debian_lock(
        RecordingEngine("arm64"), LEAN
    )


def test_the_lock_names_what_the_dockerfiles_install():
    locked = read_debian_lock(ROOT / LOCK)
    wanted = set()
    for dockerfile in (ROOT / "containers").glob("*.Dockerfile"):
        text = dockerfile.read_text().replace("\\\n", " ")
        for line in re.findall(r"apt-get install (.*?)(?:&&|$)", text, re.MULTILINE):
            wanted |= {word for word in line.split() if not word.startswith("-")}
    assert wanted <= set(locked)


@pytest.mark.engine
def test_the_packages_of_an_image_are_compared_with_a_lock(engine, lean_image, tmp_path):
    image = ImageRef(lean_image, engine.image_id(lean_image), "", "")
    lock = tmp_path / "debian.txt"
    lock.write_text("libc6=1\n")
    difference = describe_difference_from_debian_lock(engine, image, lock)
    assert re.search(r"\d+ Debian packages in drdeploy:lean differ", difference)
    lock.write_text(
        "".join(
            f"{one.name}={one.version}\n"
            for one in read_inventory_of_image(engine, lean_image).debian
        )
    )
    assert describe_difference_from_debian_lock(engine, image, lock) == ""
