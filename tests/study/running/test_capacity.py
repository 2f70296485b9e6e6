"""The search finds the rate at which a queue's p95 leaves the requirement, and its file is used."""

import json
import random
from dataclasses import replace
from datetime import UTC, datetime
from math import exp, factorial
from statistics import fmean
from threading import Barrier

import pytest
from local_aws import FAKE_SERVER, Aws
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.errors import EndpointError, InvalidInput
from drdeploy.files import path_of_shipped_file
from drdeploy.hosting.local import LocalService, ServiceOptions
from drdeploy.hosting.sagemaker import Clock, Invocation
from drdeploy.study.measurements.capacity import CapacityResult, ConcurrencyStep, RateRun
from drdeploy.study.running.capacity import (
    CapacityFinder,
    CapacitySearch,
    EndpointProbe,
    WeightedPhotographs,
)
from drdeploy.study.running.photographs import Photograph

SERVICE_S = 0.1
SEARCH = CapacitySearch(p95_s=0.5, requests=2000, runs=3, precision=0.06)
run = CliRunner()


class Queue:
    """One server with a fixed service time (M/D/1): each request waits for all before it."""

    def measure_concurrency(self, clients):
        latency_s = clients * SERVICE_S
        return ConcurrencyStep(
            clients=clients,
            requests=20,
            per_s=1 / SERVICE_S,
            median_s=latency_s,
            p95_s=latency_s,
            failed=0,
        )

    def run_at_rate(self, rate_per_s, seed):
        rng, wait_s, late = random.Random(seed), 0.0, 0
        for _ in range(SEARCH.requests):
            late += wait_s + SERVICE_S > SEARCH.p95_s
            wait_s = max(0.0, wait_s + SERVICE_S - rng.expovariate(rate_per_s))
        return RateRun(
            rate_per_s=rate_per_s,
            seed=seed,
            requests=SEARCH.requests,
            late=late,
            failed=0,
            p95_s=1.0,
            delayed_share=0.0,
        )


def share_waiting_at_most(t_s: float, rate_per_s: float) -> float:
    """Erlang's formula for M/D/1 (1909)."""
    terms = (
        (-rate_per_s * (t_s - k * SERVICE_S)) ** k
        / factorial(k)
        * exp(rate_per_s * (t_s - k * SERVICE_S))
        for k in range(int(t_s / SERVICE_S + 1e-9) + 1)
    )
    return (1 - rate_per_s * SERVICE_S) * sum(terms)


def highest_rate() -> float:
    low, high = 0.1, 1 / SERVICE_S
    for _ in range(60):
        middle = (low + high) / 2
        waited = share_waiting_at_most(SEARCH.p95_s - SERVICE_S, middle)
        low, high = (middle, high) if waited >= 0.95 else (low, middle)
    return low


def test_the_rate_of_a_queue_is_found_within_a_tenth():
    found = CapacityFinder(SEARCH, Queue(), Clock()).find_highest_rate()
    assert found.rate_per_s == pytest.approx(highest_rate(), rel=0.1)
    assert found.low_per_s <= found.rate_per_s < found.high_per_s
    assert found.requests_at_once == pytest.approx(1.0)
    assert found.high_per_s < 1.2 * found.low_per_s
    assert len(found.runs) < 40


def test_the_rate_is_not_too_high_on_average():
    """The highest of several rates, each of which was met or missed by chance, would be."""
    found = [
        CapacityFinder(replace(SEARCH, seed=seed), Queue(), Clock()).find_highest_rate()
        for seed in range(12)
    ]
    assert fmean(one.rate_per_s for one in found) == pytest.approx(highest_rate(), rel=0.02)


def measured(*shares_of_late):
    """A search that has measured these shares of late requests, at 10, 11, 12 ... a second."""
    finder = CapacityFinder(SEARCH, Queue(), Clock())
    for rate, shares in enumerate(shares_of_late, 10):
        for share in shares:
            one = Queue().run_at_rate(float(rate), "1")
            finder._runs.append(one.model_copy(update={"late": round(share * SEARCH.requests)}))
    return finder._estimate_highest_rate(*finder._find_limits_of_rate())


def test_the_rate_lies_between_the_limits_also_if_a_higher_rate_was_met_by_chance():
    # All runs met 10 a second, all missed 11, and two of three met 12.
    assert 10 < measured([0.04, 0.04, 0.04], [0.06, 0.07, 0.06], [0.04, 0.045, 0.09]) < 11
    assert measured([0.02], [0.03]) == 11
    assert measured([0.08], [0.09]) is None
    assert measured() is None


class SharpQueue(Queue):
    """A queue in which no request is late below 7 a second, and a tenth is late from 7 on."""

    def __init__(self):
        self.rates = []

    def run_at_rate(self, rate_per_s, seed):
        self.rates.append(rate_per_s)
        late = 0 if rate_per_s < 7 else SEARCH.requests // 10
        return super().run_at_rate(rate_per_s, seed).model_copy(update={"late": late})


class WaveringQueue(SharpQueue):
    """A queue that is sharp, but meets every second run from 7 to 7.4 a second."""

    def run_at_rate(self, rate_per_s, seed):
        run = super().run_at_rate(rate_per_s, seed)
        is_lucky = 7 <= rate_per_s < 7.4 and len(self.rates) % 2
        return run.model_copy(update={"late": 0}) if is_lucky else run


@pytest.mark.parametrize("queue", [SharpQueue(), WaveringQueue()])
def test_the_lower_limit_was_met_by_as_many_runs_as_were_asked_for(queue):
    """One run may meet a rate by chance, and one is enough only for a rate far from the limit."""
    found = CapacityFinder(SEARCH, queue, Clock()).find_highest_rate()
    assert queue.rates.count(found.low_per_s) == SEARCH.runs
    assert queue.rates.count(min(queue.rates)) == 1
    assert found.low_per_s < found.rate_per_s < found.high_per_s


class LuckyQueue(Queue):
    """A queue that misses rates above the first, except in the first run at one higher rate."""

    def __init__(self):
        self.rates = []

    def run_at_rate(self, rate_per_s, seed):
        self.rates.append(rate_per_s)
        distinct = list(dict.fromkeys(self.rates))
        is_lucky = rate_per_s == distinct[0] or (len(distinct) == 3 and self.is_first(rate_per_s))
        late = 0 if is_lucky else SEARCH.requests // 12
        return super().run_at_rate(rate_per_s, seed).model_copy(update={"late": late})

    def is_first(self, rate_per_s):
        return self.rates.count(rate_per_s) == 1 and rate_per_s > min(self.rates)


def test_a_lucky_run_at_a_rate_above_one_that_was_missed_is_not_believed_alone():
    queue = LuckyQueue()
    finder = CapacityFinder(SEARCH, queue, Clock())
    finder._deadline = float("inf")
    for rate in (10.0, 12.0, 14.0):
        finder._measure_rate_repeatedly(rate)
    # One run far below the limit is enough; above a rate that was missed, it is not.
    assert [queue.rates.count(rate) for rate in (10.0, 12.0, 14.0)] == [1, SEARCH.runs, SEARCH.runs]


def test_a_run_that_lasts_longer_than_the_time_left_does_not_begin():
    search = CapacitySearch(p95_s=0.5, requests=2000, time_limit_s=120.0)
    still = Clock(monotonic=lambda: 0.0)
    found = CapacityFinder(search, Queue(), still).find_highest_rate()
    assert found.runs == ()
    assert "takes 460 s, but only 120 s of 120 s are left" in found.stopped
    short = CapacitySearch(p95_s=0.5, requests=200, time_limit_s=0.0)
    assert CapacityFinder(short, Queue(), Clock()).find_highest_rate().runs


def test_a_requirement_that_no_request_meets_ends_the_search():
    found = CapacityFinder(CapacitySearch(p95_s=0.05), Queue(), Clock()).find_highest_rate()
    assert found.rate_per_s is None
    assert found.runs == ()
    assert "longer than the required 0.05 s" in found.stopped


@pytest.fixture(scope="module")
def service():
    options = ServiceOptions(trial_start=False)
    with LocalService(0, isolation="process", options=options, server_command=FAKE_SERVER) as it:
        yield it


def test_the_command_measures_an_endpoint_and_recommend_takes_its_file(service, tmp_path):
    aws = Aws.at(service.url)
    name = aws.endpoint(InstanceType="ml.m5.large", InitialInstanceCount=1)
    photographs = path_of_shipped_file("examples/photographs")
    file = tmp_path / "capacity.json"
    options = ["--p95", "5", "--endpoint-url", service.url, "--requests", "60", "--minutes", "0.02"]
    payloads = ["--payload", f"{photographs}=3", "--out", str(file)]
    result = run.invoke(build_app(), ["capacity", name, *options, *payloads])
    assert result.exit_code == 0, result.output
    assert f"{name} (ml.m5.large) carries" in result.stdout
    read = CapacityResult.read(file)
    assert read.instances == 1
    assert read.payloads[0].share == 1.0
    assert read.runs[0].late == 0
    file.write_text(read.model_copy(update={"requests_at_once": 7}).model_dump_json())
    decided = run.invoke(
        build_app(),
        ["recommend", "thesis-2023", "--requests", "500", "--capacity", str(file), "--json"],
    )
    assert "An instance handles 7 requests at once" in str(json.loads(decided.stdout))


def test_what_cannot_be_measured_or_used_is_refused(tmp_path):
    def refused(*arguments):
        return str(run.invoke(build_app(), arguments).exception)

    hosted = refused("capacity", "grader", "--p95", "1", "--memory-mb", "1024")
    assert "--memory-mb would have no effect on" in hosted
    none = refused("capacity", "drdeploy:lean", "--p95", "1", "--memory-mb", "0")
    assert "The image cannot be hosted" in none
    assert "not FOLDER=WEIGHT" in refused("capacity", "grader", "--p95", "1", "--payload", "a=x")
    file = tmp_path / "other.json"
    file.write_text("{}")
    volume = ["recommend", "thesis-2023", "--requests", "500"]
    assert "not a result of `drdeploy capacity`" in refused(*volume, "--capacity", str(file))
    both = refused(*volume, "--capacity", str(file), "--requests-at-once", "2")
    assert "cannot be combined" in both


def test_a_serverless_capacity_says_nothing_about_instances():
    result = CapacityResult(
        endpoint="e",
        platform="aws",
        hosting="1024 MB x 1",
        instances=0,
        p95_s=1,
        measured_at="2026-11-28",
        rate_per_s=1,
        low_per_s=1,
        high_per_s=2,
        requests_at_once=None,
        payloads=(),
        steps=(),
        runs=(),
        stopped="",
    )
    with pytest.raises(InvalidInput, match="serverless endpoint"):
        result.require_requests_at_once("file")


def probe_of(send):
    photographs = (Photograph("eye", b"x", "image/jpeg"),)
    payloads = [WeightedPhotographs("eyes", 1.0, photographs)]
    return EndpointProbe(CapacitySearch(p95_s=1.0, requests=60), send, payloads, Clock())


def answer(outcome="ok", error=""):
    return Invocation(outcome, 200, error, b"", "", 1, datetime.now(UTC), 0.01)


def test_the_requests_that_start_containers_are_in_progress_at_once():
    together, sent = Barrier(4), []

    def send(photograph):
        sent.append(photograph)
        if len(sent) <= 4:
            together.wait(5)  # breaks if a request waits for another one to end
        return answer()

    assert probe_of(send).measure_concurrency(4).failed == 0


def test_an_endpoint_that_refuses_every_request_is_an_error():
    probe = probe_of(lambda _: answer("throttled", "Rate exceeded"))
    with pytest.raises(EndpointError, match="failed to answer a request: Rate exceeded"):
        probe.measure_concurrency(1)


def test_no_rate_is_said_to_be_missed_if_none_was_tried(service):
    name = Aws.at(service.url).endpoint(InstanceType="ml.m5.large", InitialInstanceCount=1)
    options = ["--p95", "0.001", "--endpoint-url", service.url, "--requests", "60"]
    result = run.invoke(build_app(), ["capacity", name, *options])
    assert f"No rate was tried on {name} (ml.m5.large)." in result.stdout, result.output
    assert "which is longer than the required 0.001 s" in " ".join(result.stdout.split())
