"""What a request may cost is said in one place, and what is written elsewhere agrees with it."""

import runpy
from pathlib import Path

import pytest

from drdeploy.hosting.serving.budgets import (
    BODIES_BYTES,
    IMAGE_PLACES,
    PLACE_BYTES,
    make_worker_budgets,
)
from drdeploy.hosting.serving.capacity import Capacity
from drdeploy.hosting.serving.memory import (
    count_memory_places_for_one_image,
    read_memory_limit_bytes,
)
from drdeploy.hosting.serving.settings import Settings
from drdeploy.units import MIB

ROOT = Path(__file__).resolve().parents[3]
ONE = Capacity(workers=1, concurrency=1, threads=1)


def test_the_table_in_security_md_says_what_the_code_says():
    reference = runpy.run_path(str(ROOT / "scripts/write_reference.py"))
    page = (ROOT / "SECURITY.md").read_text()
    assert reference["security"](page) == page, "run make docs"


def test_the_memory_for_bodies_is_that_of_the_container():
    workers = Capacity(workers=4, concurrency=1, threads=1)
    assert 4 * make_worker_budgets(Settings(), workers).bodies_bytes == BODIES_BYTES
    large = make_worker_budgets(Settings(max_payload_mb=100), workers)
    assert large.bodies_bytes == 2 * large.body_bytes


def machine(root: Path, limit: str, *, resident_mib: int = 100) -> Path:
    """A tree with the files in which Linux says how much memory a process has and may have."""
    files = {
        "proc/self/cgroup": "0::/\n",
        "proc/self/mountinfo": "30 23 0:26 / /sys/fs/cgroup rw - cgroup2 cgroup rw\n",
        "proc/self/statm": f"999999 {resident_mib * 256} 0 0 0 0 0\n",
        "sys/fs/cgroup/memory.max": f"{limit}\n",
    }
    for name, text in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    return root


@pytest.mark.parametrize(
    ("limit_mib", "resident_mib", "places"),
    [(1024, 100, IMAGE_PLACES), (1024, 400, 7), (1024, 700, 2), (512, 400, 1), (3072, 700, 10)],
)
def test_one_image_may_take_what_the_container_has_left(tmp_path, limit_mib, resident_mib, places):
    root = machine(tmp_path, str(limit_mib * MIB), resident_mib=resident_mib)
    assert count_memory_places_for_one_image(ONE, root) == places
    left = limit_mib * MIB - resident_mib * MIB - PLACE_BYTES - BODIES_BYTES
    assert places == 1 or places * PLACE_BYTES <= left


def test_without_a_limit_an_image_may_take_all_that_any_may(tmp_path):
    assert count_memory_places_for_one_image(ONE, machine(tmp_path, "max")) == IMAGE_PLACES
    assert count_memory_places_for_one_image(ONE, tmp_path / "nothing") == IMAGE_PLACES


def test_the_limit_of_either_version_of_control_groups_is_read(tmp_path):
    assert read_memory_limit_bytes(machine(tmp_path, str(512 * MIB))) == 512 * MIB
    (tmp_path / "proc/self/cgroup").write_text("4:memory:/job\n0::/\n")
    (tmp_path / "proc/self/mountinfo").write_text(
        "30 23 0:26 / /sys/fs/cgroup/memory rw - cgroup cgroup rw,memory\n"
    )
    folder = tmp_path / "sys/fs/cgroup/memory/job"
    folder.mkdir(parents=True)
    (folder / "memory.limit_in_bytes").write_text(f"{256 * MIB}\n")
    assert read_memory_limit_bytes(tmp_path) == 256 * MIB
