"""A run loses nothing, repeats nothing, mixes nothing, and leaves nothing behind."""

import os
import signal
import time
from dataclasses import replace
from itertools import count

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drdeploy.errors import InvalidInput, StudyError
from drdeploy.files import write_json_file
from drdeploy.hosting.container_engine import find_free_port
from drdeploy.hosting.deployment.account import AwsAccount
from drdeploy.hosting.deployment.variables import DeploymentVariables
from drdeploy.hosting.sagemaker import Clock, PriceSheet
from drdeploy.photograph_names import OWN_NAMES, PhotographNames
from drdeploy.study.measurements.environment import EnvironmentFile, collect_host_facts
from drdeploy.study.measurements.journal import Journal, read_complete_rows
from drdeploy.study.measurements.results import ResultsFolder
from drdeploy.study.running import session
from drdeploy.study.running.progress import list_missing_sequence_numbers
from drdeploy.study.running.provisioned import Provisioning, locate_terraform_workspace
from drdeploy.study.running.runner import name_endpoint_of_trial
from drdeploy.study.running.session import RunOptions, run_plan

WARM = '{kind = "warm", n = 5, interval_s = 2}'
COLD = '{kind = "cold", n = 3, interval_s = 12}'
KEYED = PhotographNames(bytes(32))
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
        runner_for(plan, journal, run_id="r1").measure_missing_rows()
    kept = read_complete_rows(path)
    assert len(kept) == stop_at - 1
    assert hosting.endpoints == {}
    with Journal(path) as journal:
        runner_for(plan, journal, run_id="r2").measure_missing_rows()
        rows = journal.read_rows()
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
        stalling = Clock(sleep=lambda _: time.sleep(3600 if next(pauses) == 4 else 0))
        with Journal(path) as journal:
            runner_for(plan, journal, run_id="killed", clock=stalling).measure_missing_rows()
        os._exit(0)
    while len(read_complete_rows(path)) < 4:
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    kept = read_complete_rows(path)
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
    hosting.refuse[name_endpoint_of_trial(failing)] = "ping gave 500"
    rows = run(plan)
    (row,) = [row for row in rows if row.trial == failing.id]
    assert (row.outcome, row.status, row.is_warmup) == ("unavailable", 0, True)
    assert "ping gave 500" in row.error
    assert counted(rows, other) == [1, 2, 3]
    assert list(listener.errors) == [failing.id]


def test_a_trial_that_could_not_be_hosted_is_tried_again(plan_with, run, hosting):
    plan = plan_with(WARM)
    hosting.refuse[name_endpoint_of_trial(plan.trials[0])] = "no capacity"
    run(plan)
    hosting.refuse.clear()
    assert counted(run(plan, run_id="r2"), plan.trials[0]) == [1, 2, 3, 4, 5]


def test_what_could_not_be_deleted_of_a_finished_trial_is_deleted_by_the_next_run(
    plan_with, run, hosting
):
    plan = plan_with(WARM)
    before = run(plan)
    hosting.endpoints[name_endpoint_of_trial(plan.trials[0])] = {"answered": None, "invocation": 0}
    assert run(plan, run_id="r2") == before
    assert hosting.endpoints == {}


def test_a_service_that_is_gone_ends_the_trial_and_is_not_measured(plan_with, run, hosting):
    plan = plan_with(WARM)
    hosting.script = {3: (0, "unavailable")}
    hosting.is_gone = True
    rows = run(plan)
    assert list_missing_sequence_numbers(plan.trials[0], rows) == (2, 3, 4, 5)
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
    names = [name_endpoint_of_trial(trial) for trial in plan.trials]
    assert len(set(names)) == 2
    assert all(len(name) <= 63 and name.replace("-", "").isalnum() for name in names)


@pytest.fixture
def measured(plan_with, run, runner_for, tmp_path):
    """A study that was measured, with its facts."""
    plan = plan_with(WARM)
    with Journal(tmp_path / "measurements.csv") as journal:
        environment = EnvironmentFile(tmp_path / "environment.json")
        runner = runner_for(plan, journal)
        runner.record_conditions_of_run(environment, {"cpu_model": "A", "cpu_count": 2})
        runner.measure_missing_rows()
        yield runner_for, journal, environment


@pytest.mark.parametrize(
    ("facts", "seed", "difference"),
    [
        ({"cpu_model": "B", "cpu_count": 2}, 7, "cpu model was A, and is B now"),
        ({"cpu_model": "A", "cpu_count": 4}, 7, "cpu count was 2, and is 4 now"),
        ({"cpu_model": "A", "cpu_count": 2}, 8, "seed was 7, and is 8 now"),
    ],
)
def test_another_setting_is_refused(measured, plan_with, facts, seed, difference):
    make, journal, environment = measured
    with pytest.raises(StudyError, match=rf"{difference}.*--fresh"):
        make(plan_with(WARM), journal, run_id="r2", seed=seed).record_conditions_of_run(
            environment, facts
        )


def test_a_study_that_changed_is_refused(measured, plan_with):
    make, journal, environment = measured
    changed = plan_with(WARM.replace("= 2", "= 3"))
    with pytest.raises(StudyError, match="definition was"):
        make(changed, journal, run_id="r2").record_conditions_of_run(
            environment, {"cpu_model": "A", "cpu_count": 2}
        )


@pytest.mark.parametrize("fewer", [WARM.replace("n = 5", "n = 4"), WARM.replace("= 2", "= 3")])
def test_a_measured_study_that_changed_since_is_not_called_measured(
    measured, plan_with, tmp_path, fewer
):
    del measured
    options = RunOptions(ResultsFolder(tmp_path), seed=7)
    with pytest.raises(StudyError, match=r"definition was .*--fresh"):
        run_plan(plan_with(fewer), options, NotesOnly())


def test_a_measured_study_that_did_not_change_is(measured, plan_with, tmp_path):
    del measured
    progress = NotesOnly()
    outcome = run_plan(plan_with(WARM), RunOptions(ResultsFolder(tmp_path), seed=7), progress)
    assert not outcome.problems
    assert progress.notes == ["every trial is measured already"]


@pytest.mark.parametrize("outcome", ["client_error", "model_error", "ungradable"])
def test_measurements_that_do_not_count_are_a_problem_and_are_measured_by_the_next_run(
    plan_with, runner_for, hosting, listener, tmp_path, outcome
):
    plan = plan_with(WARM)
    (trial,) = plan.trials
    hosting.ungradable = {3, 4} if outcome == "ungradable" else set()
    hosting.script = {} if outcome == "ungradable" else dict.fromkeys((3, 4), (400, outcome))
    with Journal(tmp_path / "measurements.csv") as journal:
        now = runner_for(plan, journal, run_id="r1").measure_missing_rows()
        before = journal.read_rows()
        later = runner_for(plan, journal, run_id="r2").measure_missing_rows()
        rows = journal.read_rows()
    assert f"2 of 5 measurements do not count (2 {outcome})" in now.problems[trial.id]
    assert "Run the same command again to repeat what does not count" in str(
        listener.errors[trial.id]
    )
    assert (now.finished, later.finished, later.problems) == ((), (trial.id,), {})
    assert sorted(counted(rows, trial)) == [1, 2, 3, 4, 5]
    # What did not count stays, apart from what does.
    assert [replace(row, is_warmup=False) for row in rows[: len(before)]] == [
        replace(row, is_warmup=False) for row in before
    ]
    assert sum(row.outcome == outcome and row.is_warmup for row in rows) == 2


def test_an_open_loop_with_measurements_that_do_not_count_is_begun_anew(
    plan_with, runner_for, hosting, tmp_path
):
    plan = plan_with(OPEN)
    hosting.script = {3: (500, "model_error")}
    with Journal(tmp_path / "measurements.csv") as journal:
        assert runner_for(plan, journal, run_id="r1").measure_missing_rows().problems
        assert not runner_for(plan, journal, run_id="r2").measure_missing_rows().problems
        rows = journal.read_rows()
    assert all(row.is_warmup for row in rows if row.run_id == "r1")
    assert sorted(counted(rows, plan.trials[0])) == [1, 2, 3, 4, 5, 6]


def test_a_measured_study_deletes_what_a_killed_run_left_unless_it_is_to_be_kept(
    measured, plan_with, tmp_path
):
    del measured
    results = ResultsFolder(tmp_path)
    workspace = locate_terraform_workspace(results)
    gone = f"http://127.0.0.1:{find_free_port()}"  # a local service that has ended
    workspace.write_variables_and_record(
        DeploymentVariables("study", "dr-small", "us-east-1"), AwsAccount(gone, "us-east-1")
    )
    notes = {}
    for name, approver, keep in (("kept", NotesOnly(), True), ("deleted", NotesOnly(), False)):
        progress = NotesOnly()
        provisioning = Provisioning(approver, PriceSheet.load(), keep=keep)
        options = RunOptions(results, seed=7, provisioning=provisioning)
        assert not run_plan(plan_with(WARM), options, progress).problems
        notes[name] = progress.notes + approver.notes
        assert workspace.has_deployment_record == keep
    assert "`drdeploy study delete` deletes them" in notes["kept"][-1]
    assert f"the local service at {gone} has ended" in notes["deleted"][-1]


def test_terraform_is_prepared_for_the_local_service_before_it_has_started(
    plan_with, tmp_path, monkeypatch
):
    """Also if AWS's variables name another local service, which this run does not use."""
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    platforms = []

    def prepare(environment, workspace, account):
        platforms.append(account.platform)
        raise KeyboardInterrupt

    monkeypatch.setattr(session, "prepare_terraform_folder", prepare)
    provisioning = Provisioning(NotesOnly(), PriceSheet.load())
    options = RunOptions(ResultsFolder(tmp_path), seed=7, provisioning=provisioning)
    with pytest.raises(KeyboardInterrupt):
        run_plan(plan_with(WARM), options, NotesOnly())
    assert platforms == ["local"]
    with pytest.raises(InvalidInput, match="on AWS, but AWS's settings name the local service"):
        run_plan(plan_with(WARM), replace(options, aws=True), NotesOnly())


def test_an_open_loop_may_find_out_that_an_endpoint_does_not_keep_up(
    plan_with, runner_for, hosting, tmp_path
):
    plan = plan_with(OPEN)
    hosting.script = {3: (429, "throttled")}
    with Journal(tmp_path / "measurements.csv") as journal:
        assert not runner_for(plan, journal, run_id="r1").measure_missing_rows().problems


@pytest.mark.parametrize(
    ("earlier", "now", "remedy"),
    [
        (None, KEYED, "Continue with --names"),  # a version that knew no other names
        ("file names", KEYED, "Continue with --names"),
        (KEYED.description_of_photograph_names, OWN_NAMES, "Continue without --names"),
        ("keyed hash, key 00000000", KEYED, "Set DRDEPLOY_NAMES_KEY to"),
    ],
)
def test_rows_with_other_names_of_the_photographs_are_not_gone_on_with(
    measured, plan_with, tmp_path, earlier, now, remedy
):
    _, journal, environment = measured
    facts = environment.read_facts_by_run()["r1"] | {"photograph_names": earlier}
    write_json_file(environment.path, {"r1": {k: v for k, v in facts.items() if v is not None}})
    journal.replace_all_rows(journal.read_rows()[:-1])  # one is missing
    options = RunOptions(ResultsFolder(tmp_path), seed=7, names=now)
    with pytest.raises(StudyError, match=rf"{remedy}.*--fresh"):
        run_plan(plan_with(WARM), options, NotesOnly())


class NotesOnly:
    """A progress reporter for a run that ends before its first trial."""

    def __init__(self):
        self.notes = []

    def note(self, text):
        self.notes.append(text)

    show_progress = note


def test_facts_are_kept_per_run(measured, plan_with):
    make, journal, environment = measured
    make(plan_with(WARM), journal, run_id="r2").record_conditions_of_run(
        environment, {"cpu_model": "A", "cpu_count": 2}
    )
    runs = environment.read_facts_by_run()
    assert list(runs) == ["r1", "r2"]
    assert runs["r1"]["isolation"] == "process"


def test_the_sensitivities_locked_into_an_artifact_are_facts_of_a_run():
    from drdeploy.grader.box import box_artifact
    from drdeploy.study.running.models import TrialArtifact
    from drdeploy.study.running.runner import _list_operating_points

    points = _list_operating_points(TrialArtifact.open_archive(box_artifact("fp32")))
    assert {(point["name"], point["at_or_above"]) for point in points} >= {("high_sensitivity", 2)}
    assert all(0 < point["sensitivity"]["low"] <= 1 for point in points)


def test_host_facts_name_what_a_latency_depends_on():
    facts = collect_host_facts()
    assert facts["cpu_model"]
    assert facts["cpu_count"] == os.cpu_count()
    assert facts["memory_bytes"] > 0
    assert "numpy" in facts["packages"]
