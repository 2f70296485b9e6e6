"""How a container's description becomes the Docker API's configuration."""

from __future__ import annotations

import pytest

from drdeploy.errors import InvalidInput
from drdeploy.hosting.container_engine import ContainerSpec, Mount


def test_the_memory_limit_leaves_no_swap():
    config = ContainerSpec("image", memory_mb=1024).make_host_config(host_port=None)
    assert config["mem_limit"] == config["memswap_limit"] == 1024 * 1024 * 1024


def test_cpus_become_nanocpus():
    assert ContainerSpec("image", cpus=0.58).make_host_config(None)["nano_cpus"] == 580_000_000


def test_ports_are_published_on_loopback_alone():
    assert ContainerSpec("image").make_host_config(40_000)["port_bindings"] == {
        8080: ("127.0.0.1", 40_000)
    }


def test_a_container_without_a_network_publishes_nothing():
    config = ContainerSpec("image", network="none").make_host_config(None)
    assert config["port_bindings"] is None


@pytest.mark.parametrize(
    "network", ["host", "", "default", "container:abc", "ns:/proc/1/ns/net", "pasta", "private"]
)
def test_a_network_that_somebody_else_is_on_is_refused(network):
    with pytest.raises(InvalidInput, match="may not join this network"):
        ContainerSpec("image", network=network)


def test_mounts_are_read_only_by_default(tmp_path):
    spec = ContainerSpec(
        "image", mounts=(Mount(tmp_path, "/a"), Mount(tmp_path, "/b", read_only=False))
    )
    mounts = spec.make_host_config(None)["mounts"]
    assert [(mount["Target"], mount["ReadOnly"]) for mount in mounts] == [
        ("/a", True),
        ("/b", False),
    ]
    assert {mount["Source"] for mount in mounts} == {str(tmp_path)}


def test_a_container_has_no_capability_and_a_tmp_of_its_own_by_default():
    locked = ContainerSpec("image").make_host_config(None)
    assert (locked["cap_drop"], list(locked["tmpfs"])) == (["ALL"], ["/tmp"])
    usual = ContainerSpec("image", read_only=False, drop_capabilities=False).make_host_config(None)
    assert (usual["cap_drop"], usual["tmpfs"]) == (None, None)


@pytest.mark.parametrize(
    "limits", [{"memory_mb": 0}, {"memory_mb": -5}, {"cpus": 0.0}, {"cpus": -1.0}]
)
def test_a_limit_that_no_engine_could_keep_is_refused(limits):
    with pytest.raises(InvalidInput):
        ContainerSpec("image", **limits)


def test_where_selinux_confines_containers_mounts_get_a_label(tmp_path):
    spec = ContainerSpec("image", mounts=(Mount(tmp_path, "/opt/ml/model"),))
    config = spec.make_host_config(None, relabels=True)
    assert config["binds"] == [f"{tmp_path}:/opt/ml/model:ro,z"]
    assert config["mounts"] == []
    assert spec.make_host_config(None)["binds"] is None
