"""Asynchronous requests are sent on schedule, and each of them gets one row."""

import json

import pytest

from drdeploy.errors import EndpointError
from drdeploy.hosting.sagemaker import Clock, QueuedInvocation, RefusedRequest
from drdeploy.study.design.scenarios import Asynchronous
from drdeploy.study.running.photographs import Photograph
from drdeploy.study.running.queueing import TrialQueue, _QueueRun, queue_missing_requests
from drdeploy.study.running.sending import TrialContext

ANSWER = json.dumps({"requestLatency": 0.02, "grade": 2, "gradable": True}).encode()


class FakeClient:
    """S3 and an endpoint in memory.

    ``script`` says what becomes of the n-th request: a body, an exception as a refusal, the text
    of a failure, or None for nothing.
    """

    def __init__(self, script=None):
        self.script = script or {}
        self.objects = {}
        self.sent = []

    def find_inputs_uri(self, endpoint):
        return "s3://b/inputs/"

    def store_input(self, uri, body, content_type):
        self.objects[uri] = body

    def send_or_return_refusal(self, endpoint, input_uri, content_type, **members):
        number = len(self.sent)
        self.sent.append(input_uri)
        become = self.script.get(number, ANSWER)
        if isinstance(become, RefusedRequest):
            return become
        folder = members["S3OutputPathExtension"]
        queued = QueuedInvocation(
            str(number), f"s3://b/results/{folder}/{number}.out", f"s3://b/failed/{number}.out"
        )
        if isinstance(become, bytes):
            self.objects[queued.output_location] = become
        elif isinstance(become, str):
            self.objects[queued.failure_location] = become.encode()
        return queued

    def list_folder(self, uri):
        return {one for one in self.objects if one.startswith(uri)}

    def read_object(self, uri):
        return self.objects.get(uri)

    def delete_versions(self, *uris):
        for one in uris:
            del self.objects[one]

    def delete_folder(self, uri):
        for one in self.list_folder(uri):
            del self.objects[one]


@pytest.fixture
def observed():
    return []


def measure(client, observed, record=None, **settings):
    photographs = [Photograph(f"{n}.jpg", bytes([n]), "image/jpeg") for n in range(3)]
    scenario = Asynchronous(
        **{"n": 8, "rate_per_s": 500, "arrivals": "constant", "timeout_s": 30} | settings
    )
    context = TrialContext(
        send=None,
        record=record or observed.append,
        photographs=photographs,
        clock=Clock(),
        seed="s",
        is_always_on=True,
    )
    with TrialQueue(client, "endpoint", "trial", 0.001) as queue:
        queue_missing_requests(scenario, range(1, scenario.n + 1), queue, context)
    return sorted(observed, key=lambda one: one.sequence)


def test_every_request_has_one_row_and_nothing_stays_in_s3(observed):
    client = FakeClient()
    rows = measure(client, observed)
    assert [one.sequence for one in rows] == list(range(9))
    assert [one.is_warmup for one in rows] == [True] + [False] * 8
    assert {one.outcome for one in rows} == {"ok"}
    assert {one.answer.container_latency_s for one in rows} == {0.02}
    assert all(one.total_latency_s > 0 for one in rows)
    assert len(set(client.sent)) == 3  # each photograph is stored once
    assert client.objects == {}


def test_a_failure_a_refusal_and_a_lost_result_are_rows_of_their_own(observed):
    refused = RefusedRequest("throttled", 429, "ThrottlingException: Rate exceeded")
    script = {2: "Received server error (500)", 4: refused, 6: None}
    client = FakeClient(script)
    rows = measure(client, observed, timeout_s=2.0)
    by_outcome = {one.outcome: one for one in rows if one.outcome != "ok"}
    assert sorted(by_outcome) == ["model_error", "throttled", "timeout"]
    assert "server error (500)" in by_outcome["model_error"].invocation.error
    assert by_outcome["throttled"].invocation.status == 429
    assert "no result within" in by_outcome["timeout"].invocation.error
    assert by_outcome["timeout"].total_latency_s >= 2.0
    assert len(rows) == 9
    assert client.objects == {}  # the failure is deleted, too


def test_a_queue_is_counted_from_what_has_no_result(observed):
    # Of what is sent after it, all find at least the request that never gets a result.
    rows = measure(FakeClient({1: None}), observed, timeout_s=4.0, n=4, rate_per_s=20)
    assert [one.requests_ahead for one in rows[:2]] == [0, 0]
    assert all(one.requests_ahead >= 1 for one in rows[2:])


def test_an_error_while_recording_ends_the_trial_and_s3_is_emptied(observed):
    client = FakeClient()

    def fail(one):
        observed.append(one)
        if one.sequence == 2:
            raise EndpointError("The endpoint no longer exists")

    with pytest.raises(EndpointError, match="no longer exists"):
        measure(client, observed, fail, n=200, rate_per_s=100)
    assert len(observed) < 200
    assert client.objects == {}


class CallThatEndsMeanwhile:
    """A call that is in progress when it is first asked, and has failed when it is asked again."""

    def __init__(self):
        self.asked = 0

    def done(self):
        self.asked += 1
        return self.asked > 1

    def result(self):
        raise EndpointError("The endpoint no longer exists")


def test_the_error_of_a_call_that_ends_during_a_look_is_not_lost():
    run = _QueueRun(None, None, None, {})
    run.add_pending_call(CallThatEndsMeanwhile())
    run._raise_errors_of_calls()
    with pytest.raises(EndpointError, match="no longer exists"):
        run._raise_errors_of_calls()
