"""Images to check that build in a second, and what they need."""

from __future__ import annotations

import hashlib
import io
import tarfile
from pathlib import Path

import pytest
from photographs import photograph

from drdeploy.hosting.conformance import ProbePhotograph
from drdeploy.hosting.conformance.containers import LABEL

ROOT = Path(__file__).resolve().parents[3]
BROKEN = ROOT / "containers" / "broken"


@pytest.fixture(scope="session")
def small_photograph():
    """A JPEG that is quickly made and sent."""
    return ProbePhotograph(photograph())


@pytest.fixture(scope="session")
def weights(tmp_path_factory):
    """The artifact that the servers of ``containers/broken`` load."""
    data = bytes(range(256)) * 64
    files = {"weights": data, "weights.sha256": hashlib.sha256(data).hexdigest().encode()}
    path = tmp_path_factory.mktemp("weights") / "model.tar.gz"
    with tarfile.open(path, "w:gz") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture(scope="session")
def containers_of_checks(engine):
    """The ids of the containers of the checks of one process; others may check images, too."""

    def find(pid):
        found = engine._api.containers(all=True, filters={"label": LABEL})
        return {one["Id"] for one in found if one["Labels"][LABEL].startswith(f"{pid}-")}

    return find


@pytest.fixture(scope="session")
def broken_image(engine):
    """Build an image of ``containers/broken`` by the names of its flaws; the tag."""

    def build(flaws):
        tag = f"drdeploy-broken:{flaws.replace('+', '.')}"
        dockerfile = "shell-form.Dockerfile" if flaws == "shell-form" else "Dockerfile"
        engine.build_image(BROKEN, dockerfile, tag, {"FLAW": flaws})
        return tag

    return build
