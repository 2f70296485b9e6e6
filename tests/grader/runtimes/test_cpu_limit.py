"""Threads follow the container's CPU limit, wherever the kernel keeps it."""

import pytest

from drdeploy.grader.runtimes.cpu_limit import (
    choose_thread_count,
    count_available_cpus,
    cpu_quota_of_control_groups,
)

V1_MOUNT = "33 31 0:30 {root} /sys/fs/cgroup/cpu,cpuacct rw - cgroup cgroup rw,cpu,cpuacct"
V2_MOUNT = "29 23 0:26 {root} /sys/fs/cgroup rw,nosuid - cgroup2 cgroup2 rw"
HYBRID_V2_MOUNT = "41 31 0:38 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw"
V1 = "sys/fs/cgroup/cpu,cpuacct"
V2 = "sys/fs/cgroup"


@pytest.fixture
def host(tmp_path):
    """Lay out ``/proc/self`` and control groups as the kernel would show them."""

    def lay_out(cgroup, mountinfo, files):
        proc = tmp_path / "proc/self"
        proc.mkdir(parents=True)
        (proc / "cgroup").write_text(cgroup + "\n")
        (proc / "mountinfo").write_text("23 1 8:1 / / rw - ext4 /dev/sda rw\n" + mountinfo + "\n")
        for path, content in files.items():
            file = tmp_path / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(content + "\n")
        return tmp_path

    return lay_out


def v1(quota, period="100000", folder=""):
    place = f"{V1}/{folder}" if folder else V1
    return {f"{place}/cpu.cfs_quota_us": quota, f"{place}/cpu.cfs_period_us": period}


def test_version_2_in_a_container_of_its_own_namespace(host):
    root = host("0::/", V2_MOUNT.format(root="/"), {f"{V2}/cpu.max": "58000 100000"})
    assert cpu_quota_of_control_groups(root) == pytest.approx(0.58)


def test_version_2_without_a_limit(host):
    root = host("0::/", V2_MOUNT.format(root="/"), {f"{V2}/cpu.max": "max 100000"})
    assert count_available_cpus(root, affinity=3) == 3


def test_version_2_on_a_host_below_nested_groups(host):
    root = host(
        "0::/machine/pod/box",
        V2_MOUNT.format(root="/"),
        {
            f"{V2}/machine/pod/box/cpu.max": "max 100000",
            f"{V2}/machine/pod/cpu.max": "150000 100000",
            f"{V2}/machine/cpu.max": "400000 100000",
        },
    )
    assert cpu_quota_of_control_groups(root) == pytest.approx(1.5)


def test_version_1_in_a_container_that_sees_the_host_s_path(host):
    """Docker without group namespaces mounts the container's own group as the root."""
    root = host("4:cpu,cpuacct:/docker/abc", V1_MOUNT.format(root="/docker/abc"), v1("116000"))
    assert cpu_quota_of_control_groups(root) == pytest.approx(1.16)


def test_version_1_below_nested_groups(host):
    files = {**v1("-1", folder="outer/inner"), **v1("50000", "25000", folder="outer")}
    root = host("4:cpu,cpuacct:/outer/inner", V1_MOUNT.format(root="/"), files)
    assert cpu_quota_of_control_groups(root) == pytest.approx(2.0)


def test_version_1_without_a_limit(host):
    root = host("4:cpu,cpuacct:/", V1_MOUNT.format(root="/"), v1("-1"))
    assert count_available_cpus(root, affinity=2) == 2


def test_a_hybrid_host_keeps_the_limit_in_version_1(host):
    mounts = V1_MOUNT.format(root="/") + "\n" + HYBRID_V2_MOUNT
    root = host("1:cpu,cpuacct:/box\n0::/box", mounts, v1("58000", folder="box"))
    assert cpu_quota_of_control_groups(root) == pytest.approx(0.58)


def test_a_group_outside_the_namespace_is_read_at_the_mount(host):
    root = host("0::/../other", V2_MOUNT.format(root="/"), {f"{V2}/cpu.max": "100000 100000"})
    assert cpu_quota_of_control_groups(root) == pytest.approx(1.0)


def test_the_cpuacct_hierarchy_alone_is_not_mistaken_for_cpu(host):
    mount = "32 31 0:29 / /sys/fs/cgroup/cpuacct rw - cgroup cgroup rw,cpuacct"
    files = {"sys/fs/cgroup/cpuacct/cpu.cfs_quota_us": "1000"}
    root = host("2:cpuacct:/", mount, files)
    assert count_available_cpus(root, affinity=4) == 4


def test_affinity_limits_where_the_quota_is_larger(host):
    root = host("0::/", V2_MOUNT.format(root="/"), {f"{V2}/cpu.max": "800000 100000"})
    assert count_available_cpus(root, affinity=2) == 2


@pytest.mark.parametrize(
    "content", ["", "max", "abc def", "0 100000", "100000 0", "-5 100000", "1 2 3"]
)
def test_what_cannot_be_read_is_no_limit(host, content):
    root = host("0::/", V2_MOUNT.format(root="/"), {f"{V2}/cpu.max": content})
    assert count_available_cpus(root, affinity=2) == 2


def test_no_control_groups_at_all(tmp_path):
    assert count_available_cpus(tmp_path, affinity=2) == 2


@pytest.mark.parametrize(
    ("quota", "threads"), [("1000", 1), ("58000", 1), ("100000", 1), ("116000", 2), ("174000", 2)]
)
def test_threads_are_the_limit_rounded_up(host, quota, threads):
    root = host("0::/", V2_MOUNT.format(root="/"), {f"{V2}/cpu.max": f"{quota} 100000"})
    assert choose_thread_count(root, affinity=8) == threads


def test_this_machine_has_at_least_one_thread():
    assert choose_thread_count() >= 1
