import multiprocessing
import os
import signal

import pytest

from drdeploy.hosting.serving.counters import BUCKETS_S, RequestCounters
from drdeploy.hosting.serving.metrics import render_prometheus_metrics

FORK = multiprocessing.get_context("fork")


def _count(path, times):
    counters = RequestCounters(path)
    for _ in range(times):
        counters.count_invocation()
        counters.count_response(200, 0.02)


def _die_with_the_lock(path):
    counters = RequestCounters(path)
    with counters._hold_file_lock():
        os.kill(os.getpid(), signal.SIGKILL)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "counters"


def test_no_count_is_lost_between_processes(path):
    processes = [FORK.Process(target=_count, args=(path, 500)) for _ in range(4)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    snapshot = RequestCounters(path).read_snapshot()
    assert snapshot.invocations == 2000
    assert snapshot.responses[200] == 2000


def test_a_process_killed_while_it_counts_blocks_no_other(path):
    process = FORK.Process(target=_die_with_the_lock, args=(path,))
    process.start()
    process.join()
    assert RequestCounters(path).count_invocation() == 1


def test_a_duration_is_counted_in_the_first_bucket_that_includes_it(path):
    counters = RequestCounters(path)
    for duration_s in (0.0, BUCKETS_S[2], BUCKETS_S[2] * 1.01, 1e6):
        counters.count_response(200, duration_s)
    counts = counters.read_snapshot().durations["request"].counts
    assert (counts[0], counts[2], counts[3], counts[-1]) == (1, 1, 1, 1)


def test_an_unforeseen_status_counts_as_a_failure(path):
    counters = RequestCounters(path)
    counters.count_response(418, 0.1)
    assert counters.read_snapshot().responses[500] == 1


def test_prometheus_reads_cumulative_buckets_and_their_sum(path):
    counters = RequestCounters(path)
    counters.count_images([(0.002, 0.03, 0.4), (0.002, 0.03, 0.4)])
    text = render_prometheus_metrics(counters.read_snapshot(), {"name": "tiny"}).decode()
    assert "drdeploy_images_total 2.0" in text
    assert 'drdeploy_decode_duration_seconds_bucket{le="0.001"} 0.0' in text
    assert 'drdeploy_decode_duration_seconds_bucket{le="0.0025"} 2.0' in text
    assert 'drdeploy_decode_duration_seconds_bucket{le="+Inf"} 2.0' in text
    assert "drdeploy_predict_duration_seconds_sum 0.8" in text
    assert 'drdeploy_model_info{name="tiny"} 1.0' in text
