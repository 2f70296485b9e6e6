"""Send the payloads of objects to one instance, and write the answers to S3.

The output of an object is written when the model has answered every payload of the object. If one
payload fails, its object has no output. The job continues with the other objects, and fails at its
end (developer guide, "Troubleshooting", "Job shows as failed").

Several payloads are in progress at a time: as many as the instance may process at once, and one
more. The extra payload waits, so that the instance never has to. The answers are collected in the
order of the payloads. The output therefore has the order of the input. Only the payloads in
progress and one object's output are in memory.
"""

from __future__ import annotations

from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from drdeploy.hosting.local.batch_transform.records import (
    HELD_BYTES_MAX,
    RECORDS_MAX,
    RecordFailure,
    decompress_chunks,
    pack_payloads,
)
from drdeploy.hosting.local.endpoints.instance_client import (
    InstanceAnswerTooLarge,
    InstanceConnectionLost,
    InstanceTimeout,
)
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from drdeploy.hosting.local.batch_transform.data_processing import DataProcessing
    from drdeploy.hosting.local.batch_transform.object_list import InputObject, ObjectStorage
    from drdeploy.hosting.local.batch_transform.settings import TransformSettings
    from drdeploy.hosting.local.endpoints.worker import InstanceWorker
    from drdeploy.hosting.sagemaker import Clock

ANSWER_BYTES_MAX = 100 * MIB
MESSAGE_BYTES_MAX = 1024
"""The largest number of bytes of a container's error message that are written to the job's log."""
RETRY_PAUSE_S = 0.2


class InstanceLost(Exception):
    """The container of an instance has stopped, so the instance answers no more requests."""


class JobReport(Protocol):
    """Receives the outputs and failures of a job's objects; safe to use from several threads."""

    def is_stopping(self) -> bool:
        """Return whether the job is stopping, so that no further object is started."""

    def write_output(self, source: InputObject, body: bytes) -> None:
        """Write an output; raises OSError if it cannot be written."""

    def report_failure(self, source: InputObject, failure: RecordFailure) -> None:
        """Report an object that failed."""


@dataclass
class _ObjectOutput:
    source: InputObject
    parts: list[bytes] = field(default_factory=list)
    held_bytes: int = 0
    failure: RecordFailure | None = None

    def add_part(self, part: bytes) -> None:
        """Add the next part to the output; do nothing if an earlier part has failed."""
        if self.failure is not None:
            return
        self.held_bytes += len(part)
        if self.held_bytes > HELD_BYTES_MAX:
            message = (
                f"the output has more than {HELD_BYTES_MAX} bytes, which is the most that the "
                "service can hold"
            )
            self.record_failure(RecordFailure(message, is_of_client=False))
        else:
            self.parts.append(part)

    def record_failure(self, failure: RecordFailure) -> None:
        """Record the first failure, and drop the parts, which are no longer needed."""
        self.failure = self.failure or failure
        self.parts.clear()


@dataclass(frozen=True)
class JobTask:
    """What a transform job asks for: its request, its settings, and the storage of its input.

    All instances of the job share it.

    Attributes:
        request: The request that created the job.
        settings: How records are packed and sent.
        processing: The filters of the records, and whether the input is joined with the answers.
        storage: Where the input is stored.
        clock: The clock that measures the wait before a failed payload is sent again.
    """

    request: Mapping[str, Any]
    settings: TransformSettings
    processing: DataProcessing
    storage: ObjectStorage
    clock: Clock


class InstanceWork:
    """Sends the payloads of a transform job to one instance, and collects the answers.

    Args:
        worker: The instance.
        task: What the job asks for.
        report: Receives outputs and failures.
    """

    def __init__(self, worker: InstanceWorker, task: JobTask, report: JobReport) -> None:
        self._worker = worker
        self._settings = task.settings
        self._processing = task.processing
        self._storage = task.storage
        self._report = report
        self._clock = task.clock
        request = task.request
        source, output = request["TransformInput"], request["TransformOutput"]
        self._split_type = source.get("SplitType", "None")
        self._is_compressed = source.get("CompressionType") == "Gzip"
        self._ends_lines = output.get("AssembleWith") == "Line"
        self._headers = {
            name: value
            for name, value in (
                ("Content-Type", source.get("ContentType")),
                ("Accept", output.get("Accept")),
            )
            if value
        }

    def transform_objects(self, objects: Iterable[InputObject]) -> None:
        """Transform objects until there are no more objects, or the job is stopping.

        Raises:
            InstanceLost: The instance's container has stopped.
        """
        window: deque[tuple[_ObjectOutput, Future[bytes] | None]] = deque()
        in_progress = 0
        with ThreadPoolExecutor(self._settings.concurrency) as pool:
            try:
                for source in objects:
                    output = _ObjectOutput(source)
                    for records in self._read_payloads(output):
                        window.append((output, pool.submit(self._transform_payload, records)))
                        in_progress += 1
                        while in_progress > self._settings.concurrency:
                            in_progress -= self._take_oldest_answer(window)
                    window.append((output, None))  # the end of the object
                    while window and window[0][1] is None:
                        self._take_oldest_answer(window)
                while window:
                    self._take_oldest_answer(window)
            except InstanceLost as err:
                self._report_lost_objects(window, str(err))
                raise
            finally:
                for _, future in window:
                    if future is not None:
                        future.cancel()

    def _report_lost_objects(
        self, window: Iterable[tuple[_ObjectOutput, Future[bytes] | None]], reason: str
    ) -> None:
        for source in {output.source: None for output, _ in window}:
            self._report.report_failure(source, RecordFailure(reason, is_of_client=False))

    def _read_payloads(self, output: _ObjectOutput) -> Iterator[list[bytes]]:
        """Yield the payloads of an object as lists of records, until one fails or the job stops."""
        source = output.source
        try:
            chunks = self._storage.read_chunks(source.bucket, source.key)
            if self._is_compressed:
                chunks = decompress_chunks(chunks)
            payloads = pack_payloads(
                chunks,
                self._split_type,
                has_many=self._settings.has_many_records,
                max_bytes=self._settings.max_payload_bytes,
                # The payloads that the instance processes at once, and one payload that waits.
                max_records=max(1, RECORDS_MAX // (self._settings.concurrency + 1)),
            )
            for records in payloads:
                if output.failure or self._report.is_stopping():
                    return
                yield records
        except KeyError:
            output.record_failure(RecordFailure("the object does not exist"))
        except RecordFailure as err:
            output.record_failure(err)

    def _take_oldest_answer(self, window: deque[tuple[_ObjectOutput, Future[bytes] | None]]) -> int:
        """Process the oldest entry of the window: wait for an answer, or finish an object.

        The window holds the payloads in progress, in order, and an entry for the end of each
        object. Return the number of answers that were processed: 1 or 0.
        """
        output, future = window[0]
        if future is None:
            self._write_output_or_report_failure(output)
        else:
            try:
                output.add_part(future.result())
            except RecordFailure as err:
                output.record_failure(err)
        window.popleft()  # last, so that a lost object is still in the window
        return 0 if future is None else 1

    def _write_output_or_report_failure(self, output: _ObjectOutput) -> None:
        if self._report.is_stopping():
            return
        if output.failure is None:
            try:
                self._report.write_output(output.source, b"".join(output.parts))
            except OSError as err:
                output.record_failure(RecordFailure(f"the output cannot be written: {err}"))
        if output.failure is not None:
            self._report.report_failure(output.source, output.failure)

    def _transform_payload(self, records: list[bytes]) -> bytes:
        end = b"\n" if self._ends_lines else b""
        if not self._processing.is_needed:
            return self._send_payload(b"".join(records)) + end
        answer = self._send_payload(self._processing.make_payload(records))
        if not self._processing.must_parse_answers:
            return answer + end
        outputs = self._processing.make_outputs(records, answer)
        return b"".join(output + end for output in outputs)

    def _send_payload(self, payload: bytes) -> bytes:
        """Send a payload, and return the answer.

        A payload that fails is sent again, unless its data caused the failure.
        """
        for attempt in range(self._settings.retries + 1):
            if self._report.is_stopping():
                raise RecordFailure("the job was stopped")
            if attempt:
                self._clock.sleep(RETRY_PAUSE_S * attempt)
            try:
                return self._send_payload_once(payload)
            except RecordFailure as err:
                # The container would refuse the same data again.
                if err.is_of_client or attempt == self._settings.retries:
                    raise
        raise AssertionError  # the loop returns or raises

    def _send_payload_once(self, payload: bytes) -> bytes:
        max_bytes = self._settings.max_payload_bytes
        if max_bytes is not None and len(payload) > max_bytes:
            raise RecordFailure(f"a payload is larger than MaxPayloadInMB ({max_bytes} bytes)")
        try:
            answer = self._worker.client.send_request(
                "POST",
                "/invocations",
                payload if max_bytes is not None else iter([payload]),
                self._headers,
                timeout_s=self._settings.timeout_s,
                max_bytes=ANSWER_BYTES_MAX,
            )
        except InstanceConnectionLost as err:
            if self._worker.watch_and_tell_if_unusable(self._clock):
                raise InstanceLost(
                    "The container ran out of memory"
                    if self._worker.instance.ran_out_of_memory()
                    else "The container ended before it answered"
                ) from err
            raise RecordFailure(
                f"Unable to get response from algorithm: {err}", is_of_client=False
            ) from err
        except (InstanceTimeout, InstanceAnswerTooLarge) as err:
            raise RecordFailure(
                f"Unable to get response from algorithm: {err}", is_of_client=False
            ) from err
        if 200 <= answer.status < 300:
            return answer.body
        message = answer.body[:MESSAGE_BYTES_MAX].decode(errors="replace")
        if 400 <= answer.status < 500:
            raise RecordFailure(f"ClientError: {answer.status}\n\nMessage:\n{message}")
        raise RecordFailure(
            f"Bad HTTP status received from algorithm: {answer.status}\n\nMessage:\n{message}",
            is_of_client=False,
        )
