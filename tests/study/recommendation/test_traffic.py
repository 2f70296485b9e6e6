"""Traffic is drawn from a shape, or read from a trace whose faults are errors or noted."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drdeploy.errors import InvalidInput
from drdeploy.study.recommendation.mitigation.policies import average_requests_by_hour_of_week
from drdeploy.study.recommendation.trace import read_arrivals_from_trace
from drdeploy.study.recommendation.traffic import (
    HOURS_PER_WEEK,
    SHAPES,
    Traffic,
    TrafficShape,
    choose_weeks_to_simulate,
)
from drdeploy.units import SECONDS_PER_MONTH


@pytest.mark.parametrize("name", sorted(SHAPES))
def test_shares_of_a_shape_sum_to_one(name):
    assert sum(SHAPES[name].by_hour) == pytest.approx(1.0)
    assert len(SHAPES[name].by_hour) == HOURS_PER_WEEK


@pytest.mark.parametrize(
    ("hours", "days"),
    [((1,) * 23, (1,) * 7), ((0,) * 24, (1,) * 7), ((-1, *(1,) * 23), (1,) * 7)],
)
def test_weights_that_make_no_shape_are_refused(hours, days):
    with pytest.raises(InvalidInput):
        TrafficShape.from_weights("mine", hours, days)


@settings(max_examples=30, deadline=None)
@given(
    requests=st.floats(500, 50_000),
    per_patient=st.integers(1, 6),
    name=st.sampled_from(sorted(SHAPES)),
    seed=st.integers(0, 2**32),
)
def test_arrivals_are_ascending_and_as_many_as_asked_for(requests, per_patient, name, seed):
    traffic = Traffic(
        requests_per_month=requests, shape=SHAPES[name], photographs_per_patient=per_patient
    )
    arrivals = traffic.arrivals(seed)
    assert (np.diff(arrivals.times_s) >= 0).all()
    assert arrivals.n % per_patient == 0
    patients = (
        traffic.requests_per_week
        * choose_weeks_to_simulate(traffic.requests_per_week)
        / per_patient
    )
    assert abs(arrivals.n / per_patient - patients) < 7 * np.sqrt(patients)
    assert np.array_equal(arrivals.times_s, traffic.arrivals(seed).times_s)


def test_arrivals_follow_the_shape():
    traffic = Traffic(requests_per_month=400_000, between_photographs_s=0.0)
    arrivals = traffic.arrivals(1, weeks=1)
    counts = np.bincount(arrivals.compute_hour_of_week_of_each_arrival(), minlength=HOURS_PER_WEEK)
    shares = np.array(traffic.shape.by_hour)
    assert counts[shares == 0].sum() == 0
    assert np.corrcoef(counts, shares)[0, 1] > 0.99


@pytest.mark.parametrize(
    "wrong",
    [{"requests_per_month": 0}, {"requests_per_month": 1e9}, {"photographs_per_patient": 0}],
)
def test_impossible_traffic_is_refused(wrong):
    with pytest.raises(InvalidInput):
        Traffic(**({"requests_per_month": 100.0} | wrong))


@pytest.fixture
def trace(tmp_path):
    def write(text):
        path = tmp_path / "trace.csv"
        path.write_text(text)
        return path

    return write


def test_counts_beside_moments_are_not_ignored(trace):
    text = "arrived_at,count\n2025-03-03T09:00:10,40\n2025-03-03T09:05:00,50\n"
    with pytest.raises(InvalidInput, match="the counts would have no effect"):
        read_arrivals_from_trace(trace(text))


def test_moments_out_of_order_are_sorted_and_noted(trace):
    arrivals = read_arrivals_from_trace(
        trace("arrived_at\n2025-03-03T09:00:10\n2025-03-03T09:00:00\n2025-03-03T10:00:00\n")
    )
    assert list(arrivals.times_s) == [0.0, 10.0, 3600.0]
    assert any("sorted" in note for note in arrivals.notes)
    assert arrivals.begins_at_hour == 9.0  # a Monday


def test_arrivals_of_a_trace_are_counted_in_the_hours_of_the_clock(trace):
    times = ("08:55", "09:10", "09:50", "10:20")
    text = "".join(f"2025-03-03T{time}:00\n" for time in times)
    arrivals = read_arrivals_from_trace(trace(f"arrived_at\n{text}"))
    weekly = average_requests_by_hour_of_week(arrivals)
    assert weekly[8:11].tolist() == [1, 2, 1]
    assert arrivals.times_s.tolist() == [3300.0, 4200.0, 6600.0, 8400.0]
    assert arrivals.requests_per_month == pytest.approx(4 * SECONDS_PER_MONTH / 5100)


def test_the_busiest_hour_is_averaged_over_the_weeks_that_have_it(trace):
    # Ten days hold two Mondays, but one Friday.
    minutes = {"03T09:00": 100, "07T09:00": 180, "10T09:00": 100, "13T09:00": 1}
    text = "".join(f"2025-03-{minute},{count}\n" for minute, count in minutes.items())
    arrivals = read_arrivals_from_trace(trace(f"minute,count\n{text}"))
    assert arrivals.compute_peak_requests_per_s() == pytest.approx(180 / 3600)


def test_minutes_that_are_missing_count_as_empty_and_are_noted(trace):
    arrivals = read_arrivals_from_trace(
        trace("minute,count\n2025-03-03T09:00,2\n2025-03-03T09:05,3\n2025-03-03T09:01,0\n")
    )
    assert arrivals.n == 5
    assert arrivals.horizon_s == 360.0
    assert (np.floor(arrivals.times_s / 60) == [0, 0, 5, 5, 5]).all()
    assert any("lacks 3 minutes" in note for note in arrivals.notes)
    assert any("out of order" in note for note in arrivals.notes)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "has no columns"),
        ("when\n2025-03-03\n", "when"),
        ("arrived_at\n2025-03-03T09:00:00\nsoon\n", "line 3"),
        ("arrived_at\n\n2025-03-03T09:00:00\n\nsoon\n", "line 5"),
        ("arrived_at\n2025-03-03T09:00:00\n", "1 arrival"),
        ("arrived_at\n2025-03-03T09:00:00\n2025-03-03T09:00:00\n", "same time"),
        ("arrived_at\n2025-03-03T09:00:00\n2025-03-03T09:00:00+00:00\n", "time zone"),
        ("minute,count\n2025-03-03T09:00,2\n2025-03-03T09:00,3\n", "twice"),
        ("minute,count\n2025-03-03T09:00,-2\n", "not a number of arrivals"),
        ("minute,count\n2025-03-03T09:00,0\n", "0 arrivals"),
        ("arrived_at\n0225-03-03T09:00\n2025-03-03T09:00\n", "657,437 days.*wrong year"),
        ("minute,count\n2025-03-03T09:00,1\n2125-03-03T09:00,1\n", "36,524 days.*wrong year"),
    ],
)
def test_a_trace_that_makes_no_sense_is_an_error(trace, text, what):
    with pytest.raises(InvalidInput, match=what):
        read_arrivals_from_trace(trace(text))


@pytest.mark.parametrize("count", ["99999999999", "9" * 5000, "50000001"])
def test_a_trace_of_more_arrivals_than_fit_in_memory_is_refused(trace, count):
    with pytest.raises(InvalidInput, match=r"50,000,000|not a number of arrivals"):
        read_arrivals_from_trace(
            trace(f"minute,count\n2025-03-03T09:00,{count}\n2025-03-03T09:01,1\n")
        )


@pytest.mark.parametrize(
    "text",
    ["arrived_at\n{0}:00\n{0}:01\n{0}:02\n", "minute,count\n{0}:00,1\n{0}:01,1\n{0}:02,1\n"],
)
def test_a_trace_of_more_rows_than_fit_in_memory_is_refused_while_it_is_read(
    trace, text, monkeypatch
):
    monkeypatch.setattr("drdeploy.study.recommendation.trace.MAX_ARRIVALS", 2)
    with pytest.raises(InvalidInput, match="more than 2 arrivals"):
        read_arrivals_from_trace(trace(text.format("2025-03-03T09")))


def test_a_row_of_a_trace_costs_no_memory_for_the_columns_that_nobody_reads(trace):
    wide = "arrived_at" + "," * 300_000 + "\n"
    rows = "".join(f"2025-03-03T09:{at // 60:02}:{at % 60:02}\n" for at in range(2000))
    path = trace(wide + rows)
    tracemalloc.start()
    try:
        assert read_arrivals_from_trace(path).n == 2000
        # A cell for each column of each row would take 5 GB.
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
    finally:
        tracemalloc.stop()


def test_an_error_quotes_little_of_a_long_cell(trace):
    with pytest.raises(InvalidInput) as refused:
        read_arrivals_from_trace(trace("arrived_at\n" + "x" * 100_000))
    assert len(str(refused.value)) < 500


def test_a_trace_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(InvalidInput, match="cannot be read"):
        read_arrivals_from_trace(tmp_path / "none.csv")
