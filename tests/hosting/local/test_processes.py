"""Instances as processes: their environment, and that nothing outlives them."""

import re
import sys
import time
from pathlib import Path

import psutil
import pytest

from drdeploy.hosting.local.instances.instance import InstanceSpec
from drdeploy.hosting.local.instances.processes import IMAGE_VARIABLES, ProcessBackend

CONTAINERS = Path(__file__).parents[3] / "containers"
LEAVES_A_CHILD = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], process_group=0)
print(child.pid, flush=True)
time.sleep(60)
"""


@pytest.fixture
def start(tmp_path):
    def start_script(script, **environment):
        backend = ProcessBackend(tmp_path / "service", None, (sys.executable, "-c", script))
        spec = InstanceSpec(
            "one-1", "drdeploy:lean", tmp_path, environment, memory_mb=64, cpus=None
        )
        return backend.start(spec)

    return start_script


def first_word(instance):
    for _ in range(500):
        if instance.log_tail():
            return instance.log_tail().split()[0]
        time.sleep(0.02)
    raise TimeoutError


@pytest.mark.parametrize("is_killed_before", [False, True])
def test_stopping_a_server_also_kills_what_it_started_in_other_process_groups(
    start, is_killed_before
):
    instance = start(LEAVES_A_CHILD)
    child = psutil.Process(int(first_word(instance)))
    if is_killed_before:
        instance.process.kill()
    instance.stop(0)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE


def test_a_process_in_another_folder_is_not_killed(start):
    instance = start("import os; os.chdir('/'); " + LEAVES_A_CHILD)
    child = psutil.Process(int(first_word(instance)))
    instance.process.kill()
    instance.stop(0)
    assert child.is_running()
    child.kill()


@pytest.mark.parametrize("name", ["reduced", "lean", "minimal"])
def test_a_process_gets_the_memory_and_thread_settings_of_its_image(name):
    text = (CONTAINERS / f"{name}.Dockerfile").read_text()
    of_image = dict(re.findall(r"((?:MALLOC|OPENBLAS)\w+)=(\S+)", text))
    assert of_image == IMAGE_VARIABLES


def test_a_models_own_settings_win_and_credentials_are_not_passed_on(start, monkeypatch):
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    script = "import os; print(os.environ['OPENBLAS_NUM_THREADS'], *os.environ, flush=True)"
    instance = start(script, OPENBLAS_NUM_THREADS="2")
    try:
        assert first_word(instance) == "2"
        assert "AWS_SECRET_ACCESS_KEY" not in instance.log_tail()
        assert "MALLOC_TOP_PAD_" in instance.log_tail()
    finally:
        instance.stop(0)
