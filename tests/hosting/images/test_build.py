"""What the engine is asked to build for each image and platform; it only records that."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest

from drdeploy.errors import EngineError, ImageBuildFailed, InvalidInput
from drdeploy.hosting.images import build_image
from drdeploy.hosting.images.base_images import PLACEHOLDER_LABEL, read_locked_bases
from drdeploy.hosting.images.build import ARM64

ROOT = Path(__file__).resolve().parents[3]


class RecordingEngine:
    def __init__(self, failure=None, *, placeholders=()):
        self.asked, self.pulled = None, []
        self._failure, self._placeholders = failure, placeholders

    def image_config(self, image):
        if image not in self._placeholders:
            raise EngineError(f"{image} cannot be found")
        return {"Id": "f" * 64, "Config": {"Labels": {PLACEHOLDER_LABEL: "1"}}}

    def image_id(self, image):
        return self.image_config(image)["Id"]

    def pull_image(self, repository, reference):
        self.pulled.append(f"{repository}@{reference}")

    def build_image(self, context, dockerfile, tag, build_args, **options):
        self.asked = (dockerfile, tag, build_args, options["platform"])
        if self._failure:
            raise ImageBuildFailed(self._failure, where=dockerfile)
        return "sha256:built"


def test_an_image_is_built_from_its_own_dockerfile_on_the_engines_platform():
    engine = RecordingEngine()
    image = build_image(engine, "lean")
    dockerfile, tag, build_args, platform = engine.asked
    assert (image.tag, image.id) == (tag, "sha256:built") == ("drdeploy:lean", "sha256:built")
    assert dockerfile == "containers/lean.Dockerfile"
    assert platform is None
    assert build_args["BASE"] == image.base == f"debian@{read_locked_bases()[0].digest}"
    assert engine.pulled == [image.base]
    assert image.note == ""


def test_a_build_on_a_placeholder_says_that_the_lock_does_not_apply():
    engine = RecordingEngine(placeholders=("debian:bookworm-slim",))
    lines = []
    image = build_image(engine, "lean", log=lines.append)
    assert (image.base, engine.pulled) == ("debian:bookworm-slim", [])
    assert engine.asked[2]["BASE_DIGEST"] == ""
    assert "placeholder" in image.note
    assert lines == [f"Note: {image.note}"]


def test_a_build_that_must_be_locked_is_refused_on_a_placeholder_before_anything_is_built():
    engine = RecordingEngine(placeholders=("debian:bookworm-slim",))
    with pytest.raises(ImageBuildFailed, match="was not built"):
        build_image(engine, "lean", require_locked_base=True)
    assert engine.asked is None
    locked = RecordingEngine()
    assert build_image(locked, "lean", require_locked_base=True).note == ""


def test_a_base_without_a_digest_is_used_by_its_tag_and_the_note_says_how_to_lock_it():
    base = replace(read_locked_bases()[0], digest="")
    image = build_image(RecordingEngine(), "lean", bases=[base])
    assert image.base == "debian:bookworm-slim"
    assert "make base-lock" in image.note


def test_every_dockerfile_starts_from_the_base_that_it_is_given_and_records_it():
    for dockerfile in (ROOT / "containers").glob("*.Dockerfile"):
        text = dockerfile.read_text()
        froms = set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) - {"scratch"}
        stages = set(re.findall(r"^FROM \S+ AS (\S+)", text, re.MULTILINE))
        assert froms - stages == {"${BASE}"}, dockerfile
        assert f"ARG BASE={read_locked_bases()[0].image}\n" in text
        assert 'image.base.digest="${BASE_DIGEST}"' in text


def test_an_image_of_arm64_has_its_own_tag_and_base():
    engine = RecordingEngine()
    assert build_image(engine, "reduced", platform=ARM64).tag == "drdeploy:reduced-arm64"
    _, _, build_args, platform = engine.asked
    assert platform == "linux/arm64"
    # Under the digest of the index, an engine would replace the image of its own platform.
    assert build_args["BASE"] == f"debian@{read_locked_bases()[0].arm64_digest}"
    placeholder = RecordingEngine(placeholders=("arm64v8/debian:bookworm-slim",))
    built = build_image(placeholder, "reduced", platform=ARM64)
    assert built.base == "arm64v8/debian:bookworm-slim"


def test_an_image_without_an_arm64_variant_is_refused_before_anything_is_built():
    engine = RecordingEngine()
    with pytest.raises(InvalidInput, match="reduced, lean"):
        build_image(engine, "baseline", platform=ARM64)
    assert engine.asked is None


def test_the_error_on_a_machine_that_runs_no_arm64_says_how_it_can():
    engine = RecordingEngine("/bin/sh: Exec format error")
    with pytest.raises(ImageBuildFailed, match="binfmt"):
        build_image(engine, "lean", platform=ARM64)


def test_another_failure_is_reported_unchanged():
    with pytest.raises(ImageBuildFailed, match="disk full"):
        build_image(RecordingEngine("disk full"), "lean", platform=ARM64)
