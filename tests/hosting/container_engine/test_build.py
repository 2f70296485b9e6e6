"""Images are built in a real engine."""

from __future__ import annotations

import pytest

from drdeploy.errors import ImageBuildFailed

pytestmark = pytest.mark.engine

TAG = "drdeploy-test:build"


def test_the_log_is_reported_line_by_line(engine, tmp_path):
    (tmp_path / "Dockerfile").write_text("FROM debian:bookworm-slim\nRUN echo so far so good\n")
    lines = []
    image_id = engine.build_image(tmp_path, "Dockerfile", TAG, log=lines.append)
    assert any("so far so good" in line for line in lines)
    assert image_id == engine.image_id(TAG)


def test_the_error_of_a_failed_build_ends_with_its_log(engine, tmp_path):
    (tmp_path / "Dockerfile").write_text(
        "FROM debian:bookworm-slim\nRUN echo the reason why && exit 3\n"
    )
    with pytest.raises(ImageBuildFailed, match="the reason why"):
        engine.build_image(tmp_path, "Dockerfile", TAG)


def test_arguments_reach_the_dockerfile(engine, tmp_path):
    (tmp_path / "Dockerfile").write_text(
        "FROM debian:bookworm-slim\nARG COLOUR\nLABEL colour=${COLOUR}\n"
    )
    engine.build_image(tmp_path, "Dockerfile", TAG, {"COLOUR": "blue"})
    assert engine.image_config(TAG)["Config"]["Labels"]["colour"] == "blue"
