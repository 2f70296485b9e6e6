"""A run loses nothing, repeats nothing, mixes nothing, and leaves nothing behind."""

import os
import signal
import time
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drdeploy.errors import StudyError
from drdeploy.hosting.sagemaker import Clock
from drdeploy.study.measurements.environment import EnvironmentFile, host_facts
from drdeploy.study.measurements.journal import Journal, read_measurements
from drdeploy.study.measurements.results import Results
from drdeploy.study.running.progress import missing_sequences
from drdeploy.study.running.runner import endpoint_name
from drdeploy.study.running.session import RunOptions, run_plan

WARM = '{kind = "warm", n = 5, interval_s = 2}'
COLD = '{kind = "cold", n = 3, interval_s = 12}'
OPEN = '{kind = "open-loop", n = 6, rate_per_s = 1, arrivals = "constant"}'


def counted(rows, trial):
    return [
        row.sequence
        for row in rows
        if row.trial == trial.id and not row.is_warmup and row.outcome == "ok"
    ]


def test_a_finished_study_sends_nothing_when_run_again(plan_with, run, hosting):
    plan = plan_with(WARM, COLD)
    before = run(plan)
    hosting.sent.clear()
    assert run(plan, run_id="r2") == before
    assert hosting.sent == []


@given(stop_at=st.integers(1, 9))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=9)
def test_an_interrupted_study_goes_on_where_it_stopped(
    plan_with, runner_for, hosting, tmp_path_factory, stop_at
):
    plan = plan_with(WARM, COLD)
    path = tmp_path_factory.mktemp("results") / "measurements.csv"
    hosting.sent.clear()
    hosting.script = {stop_at: KeyboardInterrupt()}
    with Journal(path) as journal, pytest.raises(KeyboardInterrupt):
        runner_for(plan, journal, run_id="r1").run()
    kept = read_measurements(path)
    assert len(kept) == stop_at - 1
    assert hosting.endpoints == {}
    with Journal(path) as journal:
        runner_for(plan, journal, run_id="r2").run()
        rows = journal.read()
    assert rows[: len(kept)] == kept
    for trial in plan.trials:
        assert sorted(counted(rows, trial)) == list(range(1, trial.scenario.n + 1))


def test_a_killed_run_loses_nothing_and_counts_nothing_twice(
    plan_with, runner_for, run, hosting, tmp_path
):
    plan = plan_with('{kind = "warm", n = 8, interval_s = 0}')
    path = tmp_path / "measurements.csv"
    pid = os.fork()
    if pid == 0:
        pauses = count(1)
        stalling = Clock(sleep=lambda _: time.sleep(60 if next(pauses) == 4 else 0))
        with Journal(path) as journal:
            runner_for(plan, journal, run_id="killed", clock=stalling).run()
        os._exit(0)
    while len(read_measurements(path)) < 4:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    kept = read_measurements(path)
    assert len(kept) == 4
    rows = run(plan, run_id="resumed")
    assert rows[: len(kept)] == kept
    assert sorted(counted(rows, plan.trials[0])) == list(range(1, 9))
    assert {row.run_id for row in rows} == {"killed", "resumed"}


def test_a_broken_open_loop_is_kept_uncounted_and_begun_anew(plan_with, run, hosting):
    plan = plan_with(OPEN)
    hosting.script = {4: KeyboardInterrupt()}
    with pytest.raises(KeyboardInterrupt):
        run(plan)
    rows = run(plan, run_id="r2")
    assert all(row.is_warmup for row in rows if row.run_id == "r1")
    assert any(row.sequence for row in rows if row.run_id == "r1")
    assert sorted(counted(rows, plan.trials[0])) == [1, 2, 3, 4, 5, 6]


def test_a_trial_that_cannot_be_hosted_is_a_row_and_the_others_go_on(
    plan_with, run, hosting, listener
):
    plan = plan_with(WARM, COLD)
    failing, other = plan.trials
    hosting.refuse[endpoint_name(failing)] = "ping gave 500"
    rows = run(plan)
    (row,) = [row for row in rows if row.trial == failing.id]
    assert (row.outcome, row.status, row.is_warmup) == ("unavailable", 0, True)
    assert "ping gave 500" in row.error
    assert counted(rows, other) == [1, 2, 3]
    assert list(listener.errors) == [failing.id]


def test_a_trial_that_could_not_be_hosted_is_tried_again(plan_with, run, hosting):
    plan = plan_with(WARM)
    hosting.refuse[endpoint_name(plan.trials[0])] = "no capacity"
    run(plan)
    hosting.refuse.clear()
    assert counted(run(plan, run_id="r2"), plan.trials[0]) == [1, 2, 3, 4, 5]


def test_a_service_that_is_gone_ends_the_trial_and_is_not_measured(plan_with, run, hosting):
    plan = plan_with(WARM)
    hosting.script = {3: (0, "unavailable")}
    hosting.is_gone = True
    rows = run(plan)
    assert missing_sequences(plan.trials[0], rows) == (2, 3, 4, 5)
    hosting.is_gone = False
    assert sorted(counted(run(plan, run_id="r2"), plan.trials[0])) == [1, 2, 3, 4, 5]


def test_an_endpoint_gets_its_configuration(plan_with, run, hosting):
    plan = plan_with(WARM)
    run(plan)
    (deployment,) = hosting.deployments
    assert deployment.config == plan.trials[0].endpoint
    assert (deployment.image, deployment.model_data_url) == (
        "drdeploy:lean",
        "s3://b/mobilenet.tar.gz",
    )


def test_endpoint_names_fit_and_differ(plan_with):
    plan = plan_with(WARM, COLD)
    names = [endpoint_name(trial) for trial in plan.trials]
    assert len(set(names)) == 2
    assert all(len(name) <= 63 and name.replace("-", "").isalnum() for name in names)


@pytest.fixture
def measured(plan_with, run, runner_for, tmp_path):
    """A study that was measured, with its facts."""
    plan = plan_with(WARM)
    with Journal(tmp_path / "measurements.csv") as journal:
        environment = EnvironmentFile(tmp_path / "environment.json")
        runner = runner_for(plan, journal)
        runner.begin(environment, {"cpu_model": "A", "cpu_count": 2})
        runner.run()
        yield runner_for, journal, environment


@pytest.mark.parametrize(
    ("facts", "seed", "difference"),
    [
        ({"cpu_model": "B", "cpu_count": 2}, 7, "cpu model: A, and now B"),
        ({"cpu_model": "A", "cpu_count": 4}, 7, "cpu count: 2, and now 4"),
        ({"cpu_model": "A", "cpu_count": 2}, 8, "seed: 7, and now 8"),
    ],
)
def test_another_setting_is_refused(measured, plan_with, facts, seed, difference):
    make, journal, environment = measured
    with pytest.raises(StudyError, match=rf"{difference}.*--fresh"):
        make(plan_with(WARM), journal, run_id="r2", seed=seed).begin(environment, facts)


def test_a_study_that_changed_is_refused(measured, plan_with):
    make, journal, environment = measured
    changed = plan_with(WARM.replace("= 2", "= 3"))
    with pytest.raises(StudyError, match="another definition"):
        make(changed, journal, run_id="r2").begin(environment, {"cpu_model": "A", "cpu_count": 2})


@pytest.mark.parametrize("fewer", [WARM.replace("n = 5", "n = 4"), WARM.replace("= 2", "= 3")])
def test_a_measured_study_that_changed_since_is_not_called_measured(
    measured, plan_with, tmp_path, fewer
):
    del measured
    options = RunOptions(Results(tmp_path), seed=7)
    with pytest.raises(StudyError, match=r"another definition.*--fresh"):
        run_plan(plan_with(fewer), options, NotesOnly())


def test_a_measured_study_that_did_not_change_is(measured, plan_with, tmp_path):
    del measured
    progress = NotesOnly()
    outcome = run_plan(plan_with(WARM), RunOptions(Results(tmp_path), seed=7), progress)
    assert not outcome.problems
    assert progress.notes == ["every trial is measured already"]


class NotesOnly:
    """A progress reporter for a run that ends before its first trial."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)


def test_facts_are_kept_per_run(measured, plan_with):
    make, journal, environment = measured
    make(plan_with(WARM), journal, run_id="r2").begin(
        environment, {"cpu_model": "A", "cpu_count": 2}
    )
    runs = environment.read()
    assert list(runs) == ["r1", "r2"]
    assert runs["r1"]["isolation"] == "process"


def test_the_sensitivities_locked_into_an_artifact_are_facts_of_a_run():
    from drdeploy.grader.box import box_artifact
    from drdeploy.study.running.models import Artifact
    from drdeploy.study.running.runner import _clinical_thresholds

    points = _clinical_thresholds(Artifact.open(box_artifact("fp32")))
    assert {(point["name"], point["at_or_above"]) for point in points} >= {("high_sensitivity", 2)}
    assert all(0 < point["sensitivity"]["low"] <= 1 for point in points)


def test_host_facts_name_what_a_latency_depends_on():
    facts = host_facts()
    assert facts["cpu_model"]
    assert facts["cpu_count"] == os.cpu_count()
    assert facts["memory_bytes"] > 0
    assert "numpy" in facts["packages"]
