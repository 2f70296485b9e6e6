"""How a container's description becomes the Docker API's configuration."""

from __future__ import annotations

import pytest

from drdeploy.errors import InvalidInput
from drdeploy.hosting.engine import ContainerSpec, Mount


def test_the_memory_limit_leaves_no_swap():
    config = ContainerSpec("image", memory_mb=1024).host_config(host_port=None)
    assert config["mem_limit"] == config["memswap_limit"] == 1024 * 1024 * 1024


def test_cpus_become_nanocpus():
    assert ContainerSpec("image", cpus=0.58).host_config(None)["nano_cpus"] == 580_000_000


def test_ports_are_published_on_loopback_alone():
    assert ContainerSpec("image").host_config(40_000)["port_bindings"] == {
        8080: ("127.0.0.1", 40_000)
    }


def test_host_networking_publishes_nothing():
    config = ContainerSpec("image", network="host", port=40_000).host_config(40_000)
    assert config["port_bindings"] is None


def test_mounts_are_read_only_by_default(tmp_path):
    spec = ContainerSpec(
        "image", mounts=(Mount(tmp_path, "/a"), Mount(tmp_path, "/b", read_only=False))
    )
    assert spec.host_config(None)["binds"] == [f"{tmp_path}:/a:ro", f"{tmp_path}:/b:rw"]


def test_a_container_has_no_capability_and_a_tmp_of_its_own_by_default():
    locked = ContainerSpec("image").host_config(None)
    assert (locked["cap_drop"], list(locked["tmpfs"])) == (["ALL"], ["/tmp"])
    usual = ContainerSpec("image", read_only=False, drop_capabilities=False).host_config(None)
    assert (usual["cap_drop"], usual["tmpfs"]) == (None, None)


@pytest.mark.parametrize(
    "limits", [{"memory_mb": 0}, {"memory_mb": -5}, {"cpus": 0.0}, {"cpus": -1.0}]
)
def test_a_limit_that_no_engine_could_keep_is_refused(limits):
    with pytest.raises(InvalidInput):
        ContainerSpec("image", **limits)


def test_host_networking_cannot_move_a_port():
    with pytest.raises(InvalidInput, match="own port"):
        ContainerSpec("image", network="host", port=8080, host_port=40_000)
