"""A metric goes to the row that caused it, or to none."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from drdeploy.hosting.sagemaker import Datapoint
from drdeploy.study.measurements.measurement import Measurement
from drdeploy.study.running.rows import add_metrics_to_rows, read_cloudwatch_metrics_of_rows

NOON = datetime(2025, 1, 1, 12, tzinfo=UTC)


def row(second, *, took_s=0.1, start="warm", outcome="ok", sequence=1):
    at = NOON + timedelta(seconds=second)
    return Measurement(
        study="s", trial="t", platform="aws", isolation="managed", model="m", architecture="",
        weights="", precision="fp32", profile="lean", image="i", endpoint_kind="serverless",
        scenario="warm", sequence=sequence, is_warmup=False, start=start, outcome=outcome,
        status=200, scheduled_at=at, started_at=at, total_latency_s=took_s, photograph="p",
        payload_bytes=1, run_id="r",
    )  # fmt: skip


def point(second, microseconds=250_000.0, samples=1):
    return Datapoint(NOON + timedelta(seconds=second), microseconds, samples)


def joined(rows, period_s=60, **points):
    return add_metrics_to_rows(rows, points, period_s=period_s)


def test_a_cold_start_gets_all_three_and_a_warm_request_two():
    metrics = {
        "ModelSetupTime": [point(0, 1_500_000)],
        "ModelLatency": [point(0, 40_000), point(900, 30_000)],
        "OverheadLatency": [point(0, 1_600_000), point(900, 5_000)],
    }
    cold, warm = joined([row(10, took_s=2.0, start="cold"), row(905)], **metrics)
    assert (cold.model_setup_s, cold.model_latency_s, cold.overhead_latency_s) == (1.5, 0.04, 1.6)
    assert (warm.model_setup_s, warm.model_latency_s, warm.overhead_latency_s) == (
        None,
        0.03,
        0.005,
    )


def test_requests_that_share_a_minute_get_nothing():
    rows = joined([row(5), row(10)], ModelLatency=[point(0, samples=2)])
    assert [one.model_latency_s for one in rows] == [None, None]


def test_a_minute_with_one_sample_and_two_possible_causes_belongs_to_neither():
    rows = joined([row(5), row(50, outcome="timeout")], ModelLatency=[point(0)])
    assert [one.model_latency_s for one in rows] == [None, None]


def test_a_refused_request_does_not_prevent_a_match():
    answered, refused = joined([row(5), row(50, outcome="throttled")], ModelLatency=[point(0)])
    assert (answered.model_latency_s, refused.model_latency_s) == (0.25, None)


def test_a_request_across_two_minutes_with_a_sample_each_gets_nothing():
    (one,) = joined([row(58, took_s=5)], ModelLatency=[point(0), point(60)])
    assert one.model_latency_s is None


@pytest.mark.parametrize("second", [-60, 120])
def test_a_metric_of_another_time_is_nobodys(second):
    (one,) = joined([row(5)], ModelLatency=[point(second)])
    assert one.model_latency_s is None


def test_warm_rows_do_not_prevent_a_cold_start_from_its_setup_time():
    cold, warm = joined(
        [row(1, took_s=2.0, start="cold"), row(5)], ModelSetupTime=[point(0, 1_500_000)]
    )
    assert (cold.model_setup_s, warm.model_setup_s) == (1.5, None)


def test_a_row_whose_start_nobody_knows_was_cold_if_it_has_a_setup_time():
    (one,) = joined([row(1, start="")], ModelSetupTime=[point(0)])
    assert one.start == "cold"


def test_seconds_of_the_local_service_tell_closely_spaced_requests_apart():
    rows = [row(n * 2 + 0.3, sequence=n) for n in range(5)]
    points = [point(n * 2, 1e6 * n) for n in range(5)]
    found = joined(rows, period_s=1, ModelLatency=points)
    assert [one.model_latency_s for one in found] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert [replace(one, model_latency_s=None) for one in found] == rows


def test_the_months_between_two_rows_are_not_asked_for():
    class Asked:
        def __init__(self):
            self.times = []

        def metric(self, name, metric, *, start, end, period_s):
            self.times.append((metric, start, end))
            return (Datapoint(start, 1.0, 1),)

    hosting = Asked()
    months = 400 * 86400
    rows = [row(months), row(0), row(50, took_s=70)]  # the clock was set, or it was continued late
    points = read_cloudwatch_metrics_of_rows(hosting, "e", rows, period_s=60)
    latency = [(start, end) for metric, start, end in hosting.times if metric == "ModelLatency"]
    minute = timedelta(seconds=60)
    assert latency == [
        (NOON - minute, NOON + timedelta(seconds=120) + minute),
        (
            NOON + timedelta(seconds=months) - minute,
            NOON + timedelta(seconds=months + 0.1) + minute,
        ),
    ]
    assert [len(one) for one in points.values()] == [2, 2, 2]
