"""A running local service, over real HTTP."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest
from local_aws import FAKE_SERVER, Aws, Hold

from drdeploy.hosting.local import LocalService, ServiceOptions

TIMEOUT_S = 20.0


@pytest.fixture(scope="session", autouse=True)
def home():
    """Services of the tests keep to themselves; short, for the sockets below it."""
    home = Path(tempfile.mkdtemp(prefix="drl-"))
    home.chmod(0o711)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRDEPLOY_LOCAL_HOME", str(home))
        yield home
    shutil.rmtree(home)


@pytest.fixture(scope="session")
def service(home):
    """With the fake server.  Plenty of CPU, and an idle instance stays: a test may be slow."""
    options = ServiceOptions(mb_per_vcpu=512, trial_start=False, invocation_timeout_s=TIMEOUT_S)
    with LocalService(0, isolation="process", options=options, server_command=FAKE_SERVER) as it:
        yield it


@pytest.fixture(scope="session")
def aws(service) -> Aws:
    return Aws.at(service.url)


@pytest.fixture
def hold(tmp_path):
    """Keeps calls in their containers; lets go at the end in any case."""
    held = Hold(tmp_path)
    yield held
    held.release()
