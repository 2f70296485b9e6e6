"""What the engine is asked to build for each image and platform; it only records that."""

from __future__ import annotations

import pytest

from drdeploy.errors import ImageBuildFailed, InvalidInput
from drdeploy.hosting.images import build_image
from drdeploy.hosting.images.build import ARM64


class RecordingEngine:
    def __init__(self, failure=None):
        self.asked = None
        self._failure = failure

    def build(self, context, dockerfile, tag, build_args, **options):
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
    assert "BASE" not in build_args


def test_an_image_of_arm64_has_its_own_tag_and_base():
    engine = RecordingEngine()
    assert build_image(engine, "reduced", platform=ARM64).tag == "drdeploy:reduced-arm64"
    _, _, build_args, platform = engine.asked
    assert platform == "linux/arm64"
    assert build_args["BASE"] == "arm64v8/debian:bookworm-slim"


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
