"""The images are built from the checkout and serve as SageMaker starts them."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request

import pytest

from drdeploy.errors import InvalidInput
from drdeploy.grader.artifacts import extract_archive
from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph
from drdeploy.hosting.container_engine import ContainerSpec, Mount
from drdeploy.hosting.images.build import open_build_context

pytestmark = pytest.mark.engine


@pytest.fixture(scope="module")
def model_dir(exported, tmp_path_factory):
    """Extract MobileNet in a format, readable for the image's own user."""

    def extracted(model_format):
        folder = tmp_path_factory.mktemp(model_format)
        extract_archive(exported("mobilenet")[model_format], folder)
        folder.chmod(0o755)
        return folder

    return extracted


@pytest.fixture(scope="module")
def start_image(engine):
    """Start an image as the hosting service does; it is removed after the module."""
    containers = []

    def start(image, folder):
        mounts = (Mount(folder, "/opt/ml/model"),)
        containers.append(
            engine.start_container(ContainerSpec(image, mounts=mounts, memory_mb=2048, cpus=1))
        )
        return containers[-1]

    yield start
    for container in containers:
        container.remove()


@pytest.mark.parametrize(
    ("name", "model_format", "runtime"),
    [
        ("lean", "onnx", "onnxruntime"),
        ("minimal", "onnx", "onnxruntime"),
        ("reduced", "saved_model", "tensorflow"),
        pytest.param("two-step", "saved_model", "tensorflow", marks=pytest.mark.ladder),
        pytest.param("baseline", "saved_model", "tensorflow", marks=pytest.mark.ladder),
    ],
)
def test_an_image_grades_a_photograph_and_drains_when_stopped(
    ladder_image, start_image, model_dir, name, model_format, runtime
):
    container = start_image(ladder_image(name), model_dir(model_format))
    answer = _grade(container)
    assert sum(answer["predictions"][0]) == pytest.approx(1.0, abs=1e-3)
    assert answer["model"]["runtime"] == runtime
    container.stop(60)
    assert container.exit_state().exit_code == 0


def test_the_image_declares_what_sagemaker_needs(engine, lean_image):
    config = engine.image_config(lean_image)["Config"]
    assert config["Labels"]["com.amazonaws.sagemaker.capabilities.accept-bind-to-port"] == "true"
    assert "8080/tcp" in config["ExposedPorts"]
    assert config["Entrypoint"][0].startswith("/")
    assert config["User"] not in {"", "0", "root"}


@pytest.mark.parametrize("module", ["pip", "setuptools", "typer", "boto3", "tensorflow", "docker"])
def test_the_lean_image_does_not_hold(engine, lean_image, module):
    container = engine.start_container(
        ContainerSpec(
            lean_image,
            ("-c", f"import {module}"),
            entrypoint=("python3",),
            port=None,
            network="none",
        )
    )
    try:
        state = container.wait(120)
        assert state.exit_code == 1
        assert "ModuleNotFoundError" in container.read_logs()
    finally:
        container.remove()


def test_the_command_line_lists_the_images_as_json(lean_image):
    done = subprocess.run(
        [sys.executable, "-c", "from drdeploy.cli import main; main()", "image", "list", "--json"],
        capture_output=True,
        text=True,
        timeout=300,
        check=True,
    )
    assert any("drdeploy:lean" in image["tags"] for image in json.loads(done.stdout))


def test_a_package_without_its_dockerfiles_cannot_build(tmp_path, monkeypatch):
    monkeypatch.setattr("drdeploy.files._PACKAGE", tmp_path / "site-packages" / "drdeploy")
    with pytest.raises(InvalidInput, match="Dockerfiles are missing"), open_build_context():
        pass


def _grade(container, timeout_s=180.0):
    """One photograph's answer, once the server has loaded its model."""
    deadline = time.monotonic() + timeout_s
    while not _is_ready(container):
        assert time.monotonic() < deadline, container.read_logs()
        time.sleep(0.05)
    photograph = paint_synthetic_photograph(1, width_px=800, height_px=600)
    headers = {"Content-Type": "image/jpeg"}
    request = urllib.request.Request(
        f"{container.url_of_published_port}/invocations", photograph, headers
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


def _is_ready(container):
    try:
        with urllib.request.urlopen(
            f"{container.url_of_published_port}/ping", timeout=60
        ) as answer:
            return answer.status == 200
    except OSError:
        return False
