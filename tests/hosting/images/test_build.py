"""What is asked of the engine for each image and platform: an engine that only listens."""

from __future__ import annotations

import pytest

from drdeploy.errors import ImageBuildFailed, InvalidInput
from drdeploy.hosting.images import build_image
from drdeploy.hosting.images.build import ARM64


class Listening:
    def __init__(self, failure=None):
        self.asked = None
        self._failure = failure

    def build(self, context, dockerfile, tag, build_args, **options):
        self.asked = (dockerfile, tag, build_args, options["platform"])
        if self._failure:
            raise ImageBuildFailed(self._failure, where=dockerfile)
        return "sha256:built"


def test_an_image_is_built_from_its_own_dockerfile_on_the_engines_platform():
    engine = Listening()
    image = build_image(engine, "lean")
    dockerfile, tag, build_args, platform = engine.asked
    assert (image.tag, image.id) == (tag, "sha256:built") == ("drdeploy:lean", "sha256:built")
    assert dockerfile == "containers/lean.Dockerfile"
    assert platform is None
    assert "BASE" not in build_args


def test_an_image_of_arm64_has_its_own_tag_and_base():
    engine = Listening()
    assert build_image(engine, "reduced", platform=ARM64).tag == "drdeploy:reduced-arm64"
    _, _, build_args, platform = engine.asked
    assert platform == "linux/arm64"
    assert build_args["BASE"] == "arm64v8/debian:bookworm-slim"


def test_a_rung_without_an_arm64_variant_is_refused_before_anything_is_built():
    engine = Listening()
    with pytest.raises(InvalidInput, match="reduced, lean"):
        build_image(engine, "baseline", platform=ARM64)
    assert engine.asked is None


def test_a_machine_that_runs_no_arm64_is_told_how_it_can():
    engine = Listening("/bin/sh: Exec format error")
    with pytest.raises(ImageBuildFailed, match="binfmt"):
        build_image(engine, "lean", platform=ARM64)


def test_another_failure_is_told_as_it_is():
    with pytest.raises(ImageBuildFailed, match="disk full"):
        build_image(Listening("disk full"), "lean", platform=ARM64)
