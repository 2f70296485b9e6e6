"""Send the requests of a trial to an asynchronous endpoint, and record when results arrive.

Before the first request, all photographs are stored in S3, so that a request only has to name its
photograph. To find results, the client lists the S3 folders of results and failures every
:attr:`TrialQueue.look_s` seconds. A measured latency ends when the client sees the result, so it
can be too long by up to ``look_s`` seconds.
"""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Self

from drdeploy.hosting.sagemaker import Invocation, QueuedInvocation
from drdeploy.hosting.sagemaker.asynchronous import OWN_FOLDER
from drdeploy.study.running.sending import (
    WARM_UP_SEQUENCE,
    ContainerAnswer,
    ObservedInvocation,
    classify_outcome_of_invocation,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from concurrent.futures import Future
    from datetime import datetime

    from drdeploy.hosting.sagemaker import AsynchronousClient, InvocationOutcome, RefusedRequest
    from drdeploy.study.design.scenarios import Asynchronous
    from drdeploy.study.running.photographs import Photograph
    from drdeploy.study.running.sending import TrialContext

LOOK_LOCAL_S = 0.05
LOOK_AWS_S = 1.0
CALLS_AT_ONCE = 16
"""The largest number of simultaneous calls that send requests and read results."""
ACCEPTED = 202
"""The HTTP status with which ``InvokeEndpointAsync`` answers (API reference)."""


@dataclass(frozen=True)
class TrialQueue:
    """The endpoint to which a trial's requests go, and the S3 folders of the trial.

    Use the queue as a context manager. When the ``with`` block ends, the queue deletes the stored
    photographs, and the results and failures that it has seen.

    Attributes:
        endpoint: The name of the endpoint.
        folder: The name of the trial's own folder within the S3 folders of inputs and results.
        look_s: The seconds between two checks for results.
    """

    client: AsynchronousClient
    endpoint: str
    folder: str
    look_s: float
    _results: set[str] = field(default_factory=set)
    _failures: set[str] = field(default_factory=set)

    def __enter__(self) -> Self:
        """Delete the objects that an earlier run left because it was killed.

        Raises:
            EndpointError: The endpoint is not asynchronous, or S3 refuses the deletion.
        """
        self.client.delete_folder(self._s3_folder_uri_of_inputs)
        return self

    def __exit__(self, *_: object) -> None:
        for folder in (self._s3_folder_uri_of_inputs, *self._results):
            self.client.delete_folder(folder)
        # Failures are deleted one by one, because their folder may also hold failures of other
        # requests to the endpoint.
        self.client.delete_versions(*sorted(self._failures))

    @property
    def _s3_folder_uri_of_inputs(self) -> str:
        return f"{self.client.find_inputs_uri(self.endpoint)}{OWN_FOLDER}/{self.folder}/"

    def store_inputs(self, photographs: Iterable[Photograph]) -> dict[str, str]:
        """Store each photograph once, and return a dictionary from its name to its S3 URI."""
        inputs_uri = self._s3_folder_uri_of_inputs
        stored = {}
        for number, photograph in enumerate(photographs):
            stored[photograph.name] = uri = f"{inputs_uri}{number:06d}"
            self.client.store_input(uri, photograph.data, photograph.content_type)
        return stored

    def send_asynchronous_request(
        self, input_uri: str, content_type: str
    ) -> QueuedInvocation | RefusedRequest:
        """Send one request."""
        sent = self.client.send_or_return_refusal(
            self.endpoint,
            input_uri,
            content_type,
            S3OutputPathExtension=f"{OWN_FOLDER}/{self.folder}",
        )
        if isinstance(sent, QueuedInvocation):
            self._results.add(_find_folder_of_uri(sent.output_location))
        return sent

    def list_uris_of_finished_results(self, waiting: Sequence[QueuedInvocation]) -> set[str]:
        """Return the S3 URIs of the results and failures that exist for the given requests."""
        expected = {
            uri for one in waiting for uri in (one.output_location, one.failure_location) if uri
        }
        listed = [
            self.client.list_folder(uri) for uri in sorted(set(map(_find_folder_of_uri, expected)))
        ]
        found = expected.intersection(set().union(*listed))
        self._failures.update(found.intersection(one.failure_location or "" for one in waiting))
        return found


def _find_folder_of_uri(uri: str) -> str:
    return uri.rpartition("/")[0] + "/"


@dataclass(frozen=True)
class _WaitingRequest:
    sequence: int
    photograph: Photograph
    queued: QueuedInvocation
    due: float
    due_at: datetime
    started: float
    started_at: datetime
    requests_ahead: int


def queue_missing_requests(
    scenario: Asynchronous, missing: Sequence[int], queue: TrialQueue, context: TrialContext
) -> None:
    """Send a warm-up request and each missing request on schedule, and record each result.

    Args:
        scenario: The scenario, with its schedule.
        missing: The missing sequence numbers in ascending order, from 1.
        queue: The endpoint, and the folders in S3.
        context: The functions and values of the trial. ``context.send`` is not used, because
            ``queue`` sends the requests.

    Raises:
        EndpointError: S3 refuses to store a photograph or to list the results.
    """
    run = _QueueRun(scenario, queue, context, queue.store_inputs(context.photographs))
    due_s = scenario.draw_arrival_times_s(context.seed)
    clock = context.clock
    with ThreadPoolExecutor(CALLS_AT_ONCE, "asynchronous") as pool:
        try:
            run.send_asynchronous_request(WARM_UP_SEQUENCE, clock.monotonic(), clock.now())
            run.collect_until_all_finished(pool)
            begin, begin_at = clock.monotonic(), clock.now()
            for sequence in missing:
                after_s = due_s[sequence - 1]
                run.collect_until(begin + after_s, pool)
                due_at = begin_at + timedelta(seconds=after_s)
                run.add_pending_call(
                    pool.submit(run.send_asynchronous_request, sequence, begin + after_s, due_at)
                )
            run.collect_until_all_finished(pool)
        except BaseException:
            pool.shutdown(wait=True, cancel_futures=True)
            raise


class _QueueRun:
    """One run of a trial, with the requests that still wait for their results."""

    def __init__(
        self,
        scenario: Asynchronous,
        queue: TrialQueue,
        context: TrialContext,
        inputs: dict[str, str],
    ) -> None:
        self._scenario = scenario
        self._queue = queue
        self._context = context
        self._inputs = inputs
        self._lock = threading.Lock()
        self._waiting: dict[int, _WaitingRequest] = {}
        self._without_result = 0
        self._calls: list[Future[None]] = []
        self._next_look = 0.0

    def add_pending_call(self, call: Future[None]) -> None:
        """Keep a call that runs in another thread, so that an error in this call ends the trial."""
        self._calls.append(call)

    def send_asynchronous_request(self, sequence: int, due: float, due_at: datetime) -> None:
        """Send one request, and remember it until its result arrives."""
        context = self._context
        photograph = context.choose_photograph(sequence)
        started, started_at = context.clock.monotonic(), context.clock.now()
        with self._lock:
            ahead = self._without_result
            self._without_result += 1
        sent = self._queue.send_asynchronous_request(
            self._inputs[photograph.name], photograph.content_type
        )
        if isinstance(sent, QueuedInvocation):
            waiting = _WaitingRequest(
                sequence, photograph, sent, due, due_at, started, started_at, ahead
            )
            with self._lock:
                self._waiting[sequence] = waiting
            return
        queued = QueuedInvocation("", "", None)
        refused = _WaitingRequest(
            sequence, photograph, queued, due, due_at, started, started_at, ahead
        )
        self._record_row(
            refused, context.clock.monotonic(), sent.outcome, sent.status, error=sent.error
        )

    def collect_until(self, due: float, pool: ThreadPoolExecutor) -> None:
        """Check for results repeatedly, until it is time for the next request."""
        clock = self._context.clock
        while True:
            # The check comes first, so that it also happens if requests are always due.
            if clock.monotonic() >= self._next_look:
                self._collect_finished_results(pool)
                self._next_look = clock.monotonic() + self._queue.look_s
            if clock.monotonic() >= due:
                return
            clock.sleep_until(min(due, self._next_look))

    def collect_until_all_finished(self, pool: ThreadPoolExecutor) -> None:
        """Check for results repeatedly, until no request waits for its result.

        A request that has waited for too long is recorded as a timeout.
        """
        while self._waiting or self._calls:
            self._collect_finished_results(pool)
            self._context.clock.sleep(self._queue.look_s)

    def _collect_finished_results(self, pool: ThreadPoolExecutor) -> None:
        self._raise_errors_of_calls()
        with self._lock:
            waiting = list(self._waiting.values())
        if not waiting:
            return
        finished = self._queue.list_uris_of_finished_results([one.queued for one in waiting])
        seen = self._context.clock.monotonic()
        for one in waiting:
            uris = (one.queued.output_location, one.queued.failure_location)
            uri = next((uri for uri in uris if uri in finished), None)
            if uri is None and seen - one.started < self._scenario.timeout_s:
                continue
            with self._lock:
                del self._waiting[one.sequence]
            self.add_pending_call(pool.submit(self._read_result_and_record_row, one, seen, uri))

    def _raise_errors_of_calls(self) -> None:
        # A call may end during this loop, so each call is asked only once whether it has ended.
        calls, self._calls = self._calls, []
        for call in calls:
            if call.done():
                call.result()
            else:
                self._calls.append(call)

    def _read_result_and_record_row(
        self, one: _WaitingRequest, seen: float, uri: str | None
    ) -> None:
        if uri is None:
            error = f"There was no result within {self._scenario.timeout_s:.0f} s"
            self._record_row(one, seen, "timeout", ACCEPTED, error=error)
            return
        body = self._queue.client.read_object(uri) or b""
        if uri == one.queued.output_location:
            self._record_row(one, seen, "ok", ACCEPTED, body=body)
        else:
            reason = " ".join(body.decode("utf-8", "replace").split())
            self._record_row(one, seen, "model_error", ACCEPTED, error=reason)

    def _record_row(
        self,
        one: _WaitingRequest,
        seen: float,
        outcome: InvocationOutcome,
        status: int,
        *,
        body: bytes = b"",
        error: str = "",
    ) -> None:
        with self._lock:
            self._without_result -= 1
        answer = ContainerAnswer.read_fields_of_body(body)
        invocation = Invocation(
            outcome=outcome,
            status=status,
            error=error,
            body=body,
            content_type="",
            payload_bytes=len(one.photograph.data),
            started_at=one.started_at,
            latency_s=seen - one.started,
        )
        self._context.record(
            ObservedInvocation(
                sequence=one.sequence,
                is_warmup=one.sequence == WARM_UP_SEQUENCE,
                photograph=one.photograph,
                scheduled_at=one.due_at,
                total_latency_s=seen - one.due,
                start="warm",  # the warm-up request started the instances
                outcome=classify_outcome_of_invocation(invocation, answer),
                invocation=invocation,
                answer=answer,
                requests_ahead=one.requests_ahead,
            )
        )
