"""What each scenario sends, when, and what it makes of the answers."""

import threading
import time
from itertools import pairwise

import pytest

from drdeploy.hosting.sagemaker import Clock, Invocation
from drdeploy.study.design.scenarios import OpenLoop
from drdeploy.study.running.photographs import Photograph
from drdeploy.study.running.sending import TrialContext, send_missing_requests

WARM = '{kind = "warm", n = 5, interval_s = 2}'
COLD = '{kind = "cold", n = 3, interval_s = 12}'
REAL_TIME = '{kind = "real-time", n = 3, interval_s = 20}'


def counted(rows):
    return [row for row in rows if not row.is_warmup and row.outcome == "ok"]


def test_warm_sends_one_uncounted_request_then_n(plan_with, run):
    rows = run(plan_with(WARM))
    assert [(row.sequence, row.is_warmup, row.start) for row in rows] == [
        (0, True, "cold"),
        *((n, False, "warm") for n in range(1, 6)),
    ]


def test_warm_pauses_between_an_answer_and_the_next_request(plan_with, run):
    rows = run(plan_with(WARM))
    gaps = [
        (b.started_at - a.started_at).total_seconds() - a.total_latency_s for a, b in pairwise(rows)
    ]
    assert gaps == pytest.approx([2] * 5)


def test_every_cold_measurement_was_the_first_of_its_container(plan_with, run):
    rows = run(plan_with(COLD))
    assert [(row.start, row.container_invocation, row.is_warmup) for row in rows] == [
        ("cold", 1, False)
    ] * 3


def test_a_warm_answer_to_a_cold_request_is_kept_and_asked_for_again(
    plan_with, run, hosting, monkeypatch
):
    invoke = hosting.invoke

    def scaled_down_sooner_after_two(*args, **options):
        hosting.idle_s = 60 if len(hosting.sent) < 2 else 10
        return invoke(*args, **options)

    monkeypatch.setattr(hosting, "invoke", scaled_down_sooner_after_two)
    rows = run(plan_with('{kind = "cold", n = 2, interval_s = 12}'))
    assert [(row.sequence, row.start, row.outcome) for row in rows] == [
        (1, "cold", "ok"),
        (2, "warm", "wrong_start"),
        (2, "cold", "ok"),
    ]


def test_attempts_at_a_cold_start_are_bounded(plan_with, run, hosting):
    hosting.idle_s = 1e9
    rows = run(plan_with('{kind = "cold", n = 2, interval_s = 1, attempts = 3}'))
    assert [(row.sequence, row.outcome) for row in rows] == [
        (1, "ok"),
        *[(2, "wrong_start")] * 3,
    ]


def test_a_cold_answer_to_a_warm_request_is_not_counted(plan_with, run, hosting):
    hosting.idle_s = 1.5  # shorter than the pause: every start is cold
    rows = run(plan_with('{kind = "warm", n = 1, interval_s = 2}'))
    assert [row.outcome for row in rows] == ["ok", *["wrong_start"] * 3]


@pytest.mark.parametrize(
    ("status", "outcome"),
    [(429, "throttled"), (424, "model_error"), (503, "unavailable"), (0, "timeout")],
)
def test_a_failure_is_a_row_and_is_not_retried(plan_with, run, hosting, status, outcome):
    hosting.script = {3: (status, outcome)}
    rows = run(plan_with(WARM))
    assert [row.outcome for row in rows].count(outcome) == 1
    assert [row.sequence for row in rows] == [0, 1, 2, 3, 4, 5]


def test_a_photograph_that_cannot_be_graded_has_an_outcome_of_its_own_and_is_not_sent_again(
    plan_with, run, hosting
):
    hosting.ungradable = {3}
    rows = run(plan_with(WARM))
    assert [row.outcome for row in rows] == ["ok", "ok", "ungradable", "ok", "ok", "ok"]
    assert [row.sequence for row in rows] == [0, 1, 2, 3, 4, 5]


def test_real_time_endpoints_do_not_start_cold(plan_with, run, hosting):
    endpoint = '{kind = "realtime", instance_type = "ml.m5.xlarge"}'
    rows = run(plan_with(REAL_TIME, endpoint=endpoint))
    assert {row.start for row in rows} == {"warm"}
    assert (rows[1].vcpu, rows[1].instance_type, rows[1].memory_mb) == (4.0, "ml.m5.xlarge", None)
    assert len(counted(rows)) == 3


def test_rows_carry_what_the_container_says(plan_with, run):
    row = run(plan_with(WARM))[1]
    assert (row.container_latency_s, row.prediction_s, row.decode_s, row.transform_s) == (
        0.05,
        0.01,
        0.005,
        0.002,
    )
    assert (row.grade, row.label, row.model_digest) == (2, "Moderate NPDR", "abc")
    assert (row.container_id, row.container_invocation) == ("c1", 2)


def test_cold_rows_get_their_setup_time_and_warm_ones_none(plan_with, run):
    rows = run(plan_with(COLD, WARM))
    assert {row.model_setup_s for row in rows if row.start == "cold"} == {1.5}
    assert {row.model_setup_s for row in rows if row.start == "warm"} == {None}


def context_that_takes(service_s, observations, photographs, clock=None):
    """Real time, real threads; one server that answers one request after the other."""
    lock = threading.Lock()
    clock = clock or Clock()

    def send(photograph):
        started_at, start = clock.now(), clock.monotonic()
        with lock:
            time.sleep(service_s)
        return Invocation("ok", 200, "", b"{}", "", 1, started_at, clock.monotonic() - start)

    return TrialContext(
        send=send, record=observations.append, photographs=photographs, clock=clock, seed="s"
    )


@pytest.fixture
def photographs():
    return (Photograph("a.jpg", b"a", "image/jpeg"),)


@pytest.mark.parametrize("max_in_flight", [1, 16])
def test_open_loop_latency_counts_the_queue(photographs, max_in_flight):
    """Twice the load that the server bears: what is answered last waits for half of all the others.

    That is ten times as long as it is served, whatever else this machine does. Which request is
    answered last depends on the threads.
    """
    observations = []
    scenario = OpenLoop(n=20, rate_per_s=100, arrivals="constant", max_in_flight=max_in_flight)
    send_missing_requests(
        scenario, range(1, 21), context_that_takes(0.02, observations, photographs)
    )
    latencies = {o.sequence: o.total_latency_s for o in observations if not o.is_warmup}
    assert len(latencies) == 20
    assert max(latencies.values()) >= 20 * 0.02 - 19 * 0.01


def test_open_loop_schedules_do_not_wait_for_answers(photographs):
    observations = []
    scenario = OpenLoop(n=10, rate_per_s=100, arrivals="constant", max_in_flight=1)
    send_missing_requests(
        scenario, range(1, 11), context_that_takes(0.03, observations, photographs)
    )
    due = sorted(o.scheduled_at for o in observations if not o.is_warmup)
    gaps = [(b - a).total_seconds() for a, b in pairwise(due)]
    assert gaps == pytest.approx([0.01] * 9, abs=1e-5)


def test_an_open_loop_that_is_interrupted_stops_sending(photographs):
    observations = []

    def fail(observation):
        observations.append(observation)
        if observation.sequence == 3:
            raise KeyboardInterrupt

    context = context_that_takes(0.001, observations, photographs)
    context = TrialContext(**{**vars(context), "record": fail})
    scenario = OpenLoop(n=30, rate_per_s=200, arrivals="constant", max_in_flight=2)
    with pytest.raises(KeyboardInterrupt):
        send_missing_requests(scenario, range(1, 31), context)
    assert len(observations) < 30
