"""The whole path with real parts: the command, its local service, a real server, a tiny model."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from photographs import photograph
from tiny_models import onnx_artifact

from drdeploy.study.measurements.journal import read_complete_rows

# A pause between two warm requests is far from the idle time, and what a test does to a run after
# its second row is far from the end of the run, also on a busy machine.
STUDY = """
title = "A tiny model of one's own"
[local]
idle_s = 6
[models.tiny]
artifact = "tiny/model.tar.gz"
[images.lean]
tag = "drdeploy:lean"
profile = "lean"
[[trials]]
models = ["tiny"]
images = ["lean"]
endpoints = [{ kind = "serverless", memory_mb = 2048 }]
scenarios = [
  { kind = "warm", n = 6, interval_s = 1.0 },
  { kind = "cold", n = 2, interval_s = 6.5 },
]
[[trials]]
models = ["tiny"]
images = ["lean"]
endpoints = [{ kind = "realtime", instance_type = "ml.c5.large" }]
scenarios = [{ kind = "open-loop", n = 10, rate_per_s = 50 }]
"""

COMMAND = [sys.executable, "-c", "from drdeploy.cli import main; main()", "study", "run"]


@pytest.fixture
def workplace(tmp_path):
    """A folder with a study, its artifact and two photographs of a patient."""
    onnx_artifact(tmp_path / "tiny")
    (tmp_path / "photographs").mkdir()
    for seed in (1, 2):
        (tmp_path / "photographs" / f"Mueller_{seed}.jpg").write_bytes(photograph(seed=seed))
    (tmp_path / "own.toml").write_text(STUDY)
    return tmp_path


def start(workplace, *options):
    arguments = ["own.toml", "--isolation", "process", "--images", "photographs", "--json"]
    return subprocess.Popen(
        [*COMMAND, *arguments, *options],
        cwd=workplace,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # Whoever runs the tests in the background ignores Ctrl-C, and children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509 - no thread
    )


def finish(process):
    output, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    assert "Mueller" not in output + errors
    return json.loads(output)


def rows_of(workplace):
    return read_complete_rows(workplace / "results" / "own" / "measurements.csv")


def wait_for_rows(workplace, count, process):
    while len(rows_of(workplace)) < count:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


def counted(rows, trial):
    return sorted(r.sequence for r in rows if r.trial == trial and not r.is_warmup)


def processes_of(workplace):
    """Command lines that name the folder, whoever started them, and local services of ours."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "cmdline").read_bytes() + (entry / "environ").read_bytes()
                where = str((entry / "cwd").readlink())
            except OSError:
                continue
            if str(workplace) in text.decode(errors="replace") or where == str(workplace):
                found.append((entry.name, text[:200]))
    return found


def wait_for_no_processes(workplace, timeout_s=90):
    deadline = time.monotonic() + timeout_s
    while (left := processes_of(workplace)) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert left == []


def test_a_study_of_a_model_of_ones_own_is_measured_whole(workplace):
    answer = finish(start(workplace))
    assert answer["problems"] == {}
    rows = rows_of(workplace)
    assert counted(rows, "tiny-fp32-lean-2048mb-warm") == list(range(1, 7))
    assert counted(rows, "tiny-fp32-lean-2048mb-cold") == [1, 2]
    assert counted(rows, "tiny-fp32-lean-c5.large-open-loop") == list(range(1, 11))
    assert {row.outcome for row in rows} == {"ok"}
    cold = [row for row in rows if row.scenario == "cold"]
    assert all(row.start == "cold" and row.container_invocation == 1 for row in cold)
    assert all(0 < row.model_setup_s < row.total_latency_s for row in cold)
    assert all(0 < row.model_latency_s < row.total_latency_s for row in cold)
    assert all(row.model_setup_s <= row.overhead_latency_s for row in cold)
    assert all(row.photograph.startswith("photo-") for row in rows)
    assert len({row.photograph for row in rows}) == 2
    assert not any(
        b"Mueller" in file.read_bytes()
        for file in (workplace / "results").rglob("*")
        if file.is_file()
    )
    (facts,) = json.loads((workplace / "results/own/environment.json").read_text()).values()
    assert facts["isolation"] == rows[0].isolation
    assert facts["ended_at"] > facts["started_at"]
    assert 0 <= facts["cpu_busy_percent_before"] <= 100
    assert 0 <= facts["cpu_busy_percent_after"] <= 100
    wait_for_no_processes(workplace)


QUEUE_AND_JOBS = """
title = "A queue and two jobs"
[models.tiny]
artifact = "tiny/model.tar.gz"
[images.lean]
tag = "drdeploy:lean"
profile = "lean"
[[trials]]
models = ["tiny"]
images = ["lean"]
endpoints = [{ kind = "asynchronous", instance_type = "ml.c5.large" }]
scenarios = [{ kind = "asynchronous", n = 12, rate_per_s = 40 }]
[[trials]]
models = ["tiny"]
images = ["lean"]
endpoints = [{ kind = "batch", instance_type = "ml.c5.xlarge" }]
scenarios = [{ kind = "batch", n = 2, photographs = 5 }]
"""


def test_a_queue_and_transform_jobs_are_rows_like_any_other(workplace):
    (workplace / "own.toml").write_text(QUEUE_AND_JOBS)
    assert finish(start(workplace))["problems"] == {}
    rows = rows_of(workplace)
    assert {row.outcome for row in rows} == {"ok"}
    queued = [row for row in rows if row.scenario == "asynchronous"]
    assert counted(queued, "tiny-fp32-lean-c5.large-async-asynchronous") == list(range(1, 13))
    assert all(0 < row.container_latency_s < row.total_latency_s for row in queued)
    assert all(row.requests_ahead >= 0 and row.status == 202 for row in queued)
    jobs = [row for row in rows if row.scenario == "batch"]
    assert counted(jobs, "tiny-fp32-lean-c5.xlarge-batch") == [1, 2]
    assert all(0 < row.startup_s < row.total_latency_s for row in jobs)
    assert {(row.photograph_count, row.instance_count, row.photograph) for row in jobs} == {
        (5, 1, "")
    }
    assert len({row.model_digest for row in rows}) == 1
    # What is measured is not measured again, and what was measured is not lost.
    assert finish(start(workplace))["problems"] == {}
    assert rows_of(workplace) == rows
    wait_for_no_processes(workplace)


def test_rows_name_the_files_where_that_is_asked_for(workplace):
    finish(start(workplace, "--only", "cold", "--names"))
    assert {row.photograph for row in rows_of(workplace)} <= {"Mueller_1.jpg", "Mueller_2.jpg"}
    _, errors = start(workplace, "--only", "warm").communicate(timeout=300)
    assert "Continue with --names" in " ".join(errors.split())
    assert {row.scenario for row in rows_of(workplace)} == {"cold"}


def test_a_killed_run_leaves_no_process_and_the_same_command_goes_on(workplace):
    process = start(workplace, "--only", "warm")
    wait_for_rows(workplace, 2, process)
    process.kill()
    process.communicate(timeout=300)
    kept = rows_of(workplace)
    wait_for_no_processes(workplace)

    finish(start(workplace, "--only", "warm"))
    rows = rows_of(workplace)
    assert [(row.sequence, row.started_at) for row in rows[: len(kept)]] == [
        (row.sequence, row.started_at) for row in kept
    ]
    assert counted(rows, "tiny-fp32-lean-2048mb-warm") == list(range(1, 7))
    assert len({row.run_id for row in rows}) == 2


def test_what_a_killed_service_had_started_ends_with_the_run(workplace):
    process = start(workplace, "--only", "warm")
    wait_for_rows(workplace, 2, process)
    assert servers_below(process)
    (service,) = psutil.Process(process.pid).children()
    service.kill()
    process.communicate(timeout=300)
    assert process.returncode == 1
    wait_for_no_processes(workplace)


def test_a_killed_container_costs_at_most_its_own_request(workplace):
    process = start(workplace, "--only", "warm")
    wait_for_rows(workplace, 2, process)
    for server in servers_below(process):
        server.kill()
    output, _ = process.communicate(timeout=300)
    rows = rows_of(workplace)
    assert set(counted(rows, "tiny-fp32-lean-2048mb-warm")) == set(range(1, 7))
    failures = [row.outcome for row in rows if row.outcome not in {"ok", "wrong_start"}]
    assert failures in ([], ["model_error"])
    assert len(json.loads(output)["problems"]) == len(failures) == process.returncode
    assert len({row.container_id for row in rows if row.container_id}) == 2
    assert rows[-1].outcome == "ok"


def servers_below(process):
    found = psutil.Process(process.pid).children(recursive=True)
    return [child for child in found if "drdeploy.hosting.serving" in child.cmdline()]


def test_ctrl_c_deletes_stops_and_keeps_the_rows(workplace):
    process = start(workplace, "--only", "cold")
    wait_for_rows(workplace, 1, process)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 130
    assert "run the same command again to continue" in errors
    assert counted(rows_of(workplace), "tiny-fp32-lean-2048mb-cold")[:1] == [1]
    wait_for_no_processes(workplace)
