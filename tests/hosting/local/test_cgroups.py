"""Control groups hold a process to its memory and CPU, and are removed with what is in them."""

import os
import subprocess
import sys
import uuid

import pytest

from drdeploy.hosting.local.instances.cgroups import find_control_groups
from drdeploy.hosting.local.instances.cgroups.v2 import GroupsV2, find_group_folders_of_version_2

BURN = (
    "import time, os; end = time.time() + 1\nwhile time.time() < end: pass\nprint(os.times().user)"
)
HOG = "x = bytearray(); \nwhile True: x += b'x' * 8 * 1024 * 1024"
ENTER = 'for file in $1; do echo $$ > "$file"; done; shift; exec "$@"'


@pytest.fixture
def groups():
    found = find_control_groups(f"drdeploy-test-{uuid.uuid4().hex[:8]}")
    if found is None:
        pytest.skip("this user may make no control groups here")
    yield found
    found.remove()


def run_in(group, code):
    entry_files = " ".join(map(str, group.entry_files))
    command = ["/bin/sh", "-c", ENTER, "enter", entry_files, sys.executable, "-S", "-c", code]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def test_cpu_time_is_limited(groups):
    group = groups.create("slow", memory_mb=256, cpus=0.2)
    output, _ = run_in(group, BURN).communicate(timeout=60)
    assert float(output) < 0.45


def test_a_process_beyond_its_memory_is_killed_and_counted(groups):
    group = groups.create("small", memory_mb=64, cpus=None)
    assert run_in(group, HOG).wait(60) != 0
    assert group.count_oom_kills() > 0


def test_memory_in_use_is_reported(groups):
    group = groups.create("used", memory_mb=256, cpus=None)
    process = run_in(
        group, "x = b'x' * 50_000_000; print(1, flush=True); import time; time.sleep(60)"
    )
    process.stdout.readline()
    assert 50_000_000 < group.read_memory_bytes() < 120_000_000
    process.kill()
    process.communicate()


def test_removing_a_group_kills_what_is_in_it(groups):
    group = groups.create("gone", memory_mb=64, cpus=None)
    process = run_in(group, "import time; print(1, flush=True); time.sleep(60)")
    process.stdout.readline()
    group.remove()
    assert process.wait(60) == -9
    assert not any(path.parent.exists() for path in group.entry_files)
    process.communicate()


def test_no_groups_are_found_where_no_controller_is_mounted(tmp_path):
    assert find_control_groups("drdeploy-test", tmp_path) is None


def test_version_1_needs_both_controllers(tmp_path):
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("1:cpu:/\n0::/\n")
    (tmp_path / "sys/fs/cgroup/cpu").mkdir(parents=True)
    (tmp_path / "sys/fs/cgroup/cpu/cgroup.procs").write_text("")
    assert find_control_groups("drdeploy-test", tmp_path) is None


class UnifiedTree:
    """The files of version 2 that are written to, as the kernel would show them."""

    def __init__(self, root, name):
        self.mount = root / "sys/fs/cgroup"
        (root / "proc/self").mkdir(parents=True)
        (root / "proc/self/cgroup").write_text("0::/user.slice\n")
        self.mount.mkdir(parents=True)
        (self.mount / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
        (self.mount / "cgroup.subtree_control").write_text("cpu memory pids\n")
        self.group = self.mount / name / "one"
        self.group.mkdir(parents=True)
        (self.mount / name / "cgroup.subtree_control").write_text("")
        for file in ("memory.max", "memory.swap.max", "cpu.max"):
            (self.group / file).write_text("max" + " " * 20)


def test_version_2_limits_are_written_in_its_own_files(tmp_path):
    tree = UnifiedTree(tmp_path, "drdeploy-test")
    GroupsV2(tree.mount / "drdeploy-test").create("one", memory_mb=1024, cpus=0.58)
    assert (tree.group / "memory.max").read_text().split() == [str(1024 * 1024 * 1024)]
    assert (tree.group / "memory.swap.max").read_text()[0] == "0"
    assert (tree.group / "cpu.max").read_text().split() == ["58000", "100000"]
    handed_down = (tree.mount / "drdeploy-test" / "cgroup.subtree_control").read_text()
    assert handed_down == "+cpu +memory"


def test_version_2_counts_kills_and_leaves_out_cache_that_can_be_dropped(tmp_path):
    tree = UnifiedTree(tmp_path, "drdeploy-test")
    group = GroupsV2(tree.mount / "drdeploy-test").create("one", memory_mb=1024, cpus=None)
    (tree.group / "memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    (tree.group / "memory.current").write_text("1000\n")
    (tree.group / "memory.stat").write_text("anon 500\ninactive_file 300\n")
    assert (group.count_oom_kills(), group.read_memory_bytes()) == (1, 700)
    assert group.entry_files == (tree.group / "cgroup.procs",)


def test_version_2_uses_a_group_that_was_delegated_and_leaves_it_free_of_processes(tmp_path):
    mount = tmp_path / "sys/fs/cgroup"
    own = mount / "user.slice"
    leaf = own / "drdeploy-test-service"
    leaf.mkdir(parents=True)
    (tmp_path / "proc/self").mkdir(parents=True)
    (tmp_path / "proc/self/cgroup").write_text("0::/user.slice\n")
    # At the root of the tree there is no cgroup.subtree_control: controllers cannot be enabled.
    for folder in (mount, own):
        (folder / "cgroup.controllers").write_text("cpu memory\n")
    (own / "cgroup.subtree_control").write_text("")
    (leaf / "cgroup.procs").write_text("")
    assert list(find_group_folders_of_version_2("drdeploy-test", tmp_path)) == [
        GroupsV2(own / "drdeploy-test")
    ]
    assert (leaf / "cgroup.procs").read_text() == str(os.getpid())
    assert (own / "cgroup.subtree_control").read_text() == "+cpu +memory"
