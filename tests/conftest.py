"""What several test packages need.

A test that needs the container engine, nginx or the photographs beside the project skips on a
user's machine and says why; under ``CI=true`` the same lack is a failure.
"""

from __future__ import annotations

import functools
import hashlib
import os
import shutil
import subprocess
import tempfile
from importlib.metadata import version
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import pytest
from required import require

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from drdeploy.grader.artifacts import ModelFormat
    from drdeploy.hosting.container_engine import ContainerEngine
    from drdeploy.hosting.images import ImageName, ImagePlatform

ROOT = Path(__file__).resolve().parent.parent
SHARED = ROOT.parent / "shared"


# What builds images, runs containers or waits on a clock: one after the other. The rest of the
# packages and files run beside them.
ONE_AFTER_THE_OTHER = (
    *(
        f"tests/hosting/{name}"
        for name in (
            *("clients", "conformance", "container_engine", "contract", "deployment", "images"),
            *("local", "serving"),
        )
    ),
    "tests/test_wheel.py",
)


@pytest.hookimpl(optionalhook=True)  # of pytest-xdist, which users may not have
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Keep what shares a fixture or the container engine in one process of ``pytest -n``."""
    from xdist.scheduler import LoadScopeScheduling

    class Scheduling(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            file = PurePosixPath(nodeid.split("::", maxsplit=1)[0])
            if any(file.is_relative_to(one) for one in ONE_AFTER_THE_OTHER):
                return "what needs the engine"
            return str(file.parent if len(file.parts) > 2 else file)

    return Scheduling(config, log)


@pytest.fixture(scope="session", autouse=True)
def state_folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A state folder of the tests' own, where the key of photographs' names is made."""
    folder = tmp_path_factory.mktemp("state")
    with pytest.MonkeyPatch.context() as monkeypatch:
        monkeypatch.setenv("XDG_STATE_HOME", str(folder))
        monkeypatch.delenv("DRDEPLOY_NAMES_KEY", raising=False)
        # The processes of pytest-xdist have a width, and commands would wrap their lines.
        monkeypatch.delenv("COLUMNS", raising=False)
        yield folder


@pytest.fixture(autouse=True)
def file_mode_mask() -> Iterator[None]:
    """Give back the umask that a command of the clinic narrows for its whole process.

    Later tests would write files that no other user may read, for example a container's.
    """
    mask = os.umask(0o022)
    os.umask(mask)
    yield
    os.umask(mask)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real photographs, ``../shared``."""
    require((SHARED / "data").is_dir(), "the photographs in ../shared/data")
    return SHARED


@pytest.fixture(scope="session")
def nginx() -> str:
    """Path of the nginx binary."""
    path = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin")
    require(path is not None, "the nginx binary")
    return str(path)


@pytest.fixture(scope="session")
def mount_namespaces() -> None:
    """This user may lay out a file system of its own."""
    tools = shutil.which("unshare") and shutil.which("setpriv")
    may = bool(tools) and subprocess.run(["unshare", "-m", "true"], check=False).returncode == 0
    require(may, "root and mount namespaces (util-linux)")


@pytest.fixture(scope="session")
def terraform_program() -> str:
    """Path of Terraform."""
    path = shutil.which("terraform")
    require(path is not None, "terraform 1.9 or newer (developer.hashicorp.com/terraform/install)")
    return str(path)


@pytest.fixture(scope="session")
def browser() -> str:
    """Path of Chromium."""
    from browser import find_browser

    path = find_browser()
    require(path is not None, "a browser: Chromium")
    return str(path)


@pytest.fixture(scope="session")
def checkov_program() -> str:
    """Path of checkov, which `make test` installs by itself."""
    path = ROOT / "build" / "checkov" / "bin" / "checkov"
    require(path.is_file(), "checkov: make build/checkov/.ready")
    return str(path)


@pytest.fixture(scope="session")
def engine() -> ContainerEngine:
    """A container engine that answers."""
    from drdeploy.hosting.container_engine import ContainerEngine

    found = ContainerEngine.find()
    require(found is not None, "a container engine: Docker, or scripts/start-engine.sh")
    return found


@pytest.fixture(scope="module")
def local_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Address of a local service with a state of its own, which runs processes."""
    from drdeploy.hosting.local import LocalService

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRDEPLOY_LOCAL_HOME", str(tmp_path_factory.mktemp("home")))
        with LocalService(0, isolation="process") as service:
            yield service.url


@pytest.fixture(scope="module")
def tiny_archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The archive of a tiny model, for onnxruntime."""
    from tiny_models import onnx_artifact

    return onnx_artifact(tmp_path_factory.mktemp("tiny")).with_name("model.tar.gz")


@pytest.fixture(scope="session")
def ladder_image(engine: ContainerEngine) -> Callable[..., str]:
    """``drdeploy:NAME`` by name (and platform), built from this checkout once per session."""
    from drdeploy.hosting.images import build_image

    @functools.cache
    def build(name: ImageName, platform: ImagePlatform | None = None) -> str:
        return build_image(engine, name, platform=platform).tag

    return build


@pytest.fixture(scope="session")
def lean_image(ladder_image: Callable[..., str]) -> str:
    """``drdeploy:lean``."""
    return ladder_image("lean")


@pytest.fixture(scope="session")
def reduced_image(ladder_image: Callable[..., str]) -> str:
    """``drdeploy:reduced`` (minutes, the first time)."""
    return ladder_image("reduced")


@pytest.fixture(scope="session")
def exported() -> Callable[[str], dict[ModelFormat, Path]]:
    """Archives of a network with random weights, for example ``exported("mobilenet")``.

    Exporting takes half a minute, so they are kept in ``build/`` until the code that makes
    them changes.
    """
    cache = ROOT / "build" / "test-models" / _export_key()

    def archives(architecture: str) -> dict[ModelFormat, Path]:
        folder = cache / architecture
        if not folder.is_dir():
            from drdeploy.grader.networks.export import build_and_export_model

            cache.mkdir(parents=True, exist_ok=True)
            part = Path(tempfile.mkdtemp(dir=cache))
            build_and_export_model(architecture, part, weights="random", seed=0)
            part.replace(folder)
        formats: tuple[ModelFormat, ...] = ("saved_model", "onnx")
        return {name: folder / f"{architecture}-fp32-{name}.tar.gz" for name in formats}

    return archives


def _export_key() -> str:
    grader = ROOT / "src" / "drdeploy" / "grader"
    packages = [grader / name for name in ("networks", "artifacts", "fundus")]
    digest = hashlib.sha256(version("keras").encode())
    for package in packages:
        sources = sorted(package.rglob("*.py"))
        assert sources, f"{package} has moved: the cache would never be made anew"
        for source in sources:
            digest.update(source.read_bytes())
    return digest.hexdigest()[:16]
