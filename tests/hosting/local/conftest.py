"""A running local service, over real HTTP."""

from __future__ import annotations

import pytest
from local_aws import FAKE_SERVER, Aws, Hold, home_of_local_services

from drdeploy.hosting.local import LocalService, ServiceOptions

TIMEOUT_S = 60.0


@pytest.fixture(scope="session", autouse=True)
def home():
    """The folder in which the tests' own services keep their state."""
    with home_of_local_services() as folder:
        yield folder


@pytest.fixture(scope="session")
def service(home):
    """A service with the fake server, plenty of CPU, and idle instances that stay."""
    options = ServiceOptions(mb_per_vcpu=512, trial_start=False, invocation_timeout_s=TIMEOUT_S)
    with LocalService(0, isolation="process", options=options, server_command=FAKE_SERVER) as it:
        yield it


@pytest.fixture(scope="session")
def aws(service) -> Aws:
    return Aws.at(service.url)


@pytest.fixture
def hold(tmp_path):
    """Holds requests inside their containers until a test releases them."""
    held = Hold(tmp_path)
    yield held
    held.release()
