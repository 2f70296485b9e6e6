"""Capture a share of a real-time endpoint's requests and answers as JSON lines in the local S3.

Sources: SageMaker AI developer guide, "Capture data from real-time endpoint" and "View and analyze
captured data" (layout of the records, names of the files); and API reference,
``DataCaptureConfig``.

An invocation only puts its request and answer into a queue of limited size, so that capturing never
delays an answer. The service's maintenance loop writes the queued invocations to S3 several times a
second, and once more when the service stops. If an invocation does not fit into the queue or cannot
be written, it is lost. Lost invocations are counted and logged. Only invocations that the model
answered with a status of 2xx are captured.
"""

from __future__ import annotations

import base64
import json
import logging
import random
import threading
import uuid
from collections import deque
from collections.abc import Callable  # noqa: TC003 - a dataclass field's annotation
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any, Self

from drdeploy.hosting.sagemaker.s3_uris import split_s3_uri
from drdeploy.units import MIB, PERCENT

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

log = logging.getLogger(__name__)

QUEUE_BYTES_MAX = 64 * MIB
"""How many bytes of requests and answers may wait to be written: enough for about ten of the
largest invocations."""
FILE_BYTES_MAX = 16 * MIB
"""How many bytes of requests and answers one file holds, unless a single invocation has more."""


@dataclass(frozen=True)
class CaptureSettings:
    """What data capture records for an endpoint configuration, and where it stores the records.

    Attributes:
        region: AWS region of the endpoint and of the KMS key.
        bucket: The bucket that the records go to.
        prefix: The folder in the bucket, without a slash at its end; empty for the top of the
            bucket.
        sampling_percentage: The percentage of requests that are captured.
        captures_input: Whether requests are captured.
        captures_output: Whether answers are captured.
        csv_types: Content types that are stored as text and marked as CSV.
        json_types: Content types that are stored as text and marked as JSON.
        kms_key_id: The KMS key that encrypts the objects in S3; None means the bucket's encryption.
    """

    region: str
    bucket: str
    prefix: str
    sampling_percentage: int
    captures_input: bool
    captures_output: bool
    csv_types: frozenset[str]
    json_types: frozenset[str]
    kms_key_id: str | None

    @classmethod
    def from_config(cls, config: Mapping[str, Any], region: str) -> Self | None:
        """Return an endpoint configuration's settings; None if its data capture is off."""
        capture = config.get("DataCaptureConfig")
        if not capture or not is_capture_enabled(capture):
            return None
        bucket, prefix = split_s3_uri(capture["DestinationS3Uri"])
        modes = {option["CaptureMode"] for option in capture["CaptureOptions"]}
        types = capture.get("CaptureContentTypeHeader") or {}
        return cls(
            region=region,
            bucket=bucket,
            prefix=prefix.strip("/"),
            sampling_percentage=capture["InitialSamplingPercentage"],
            captures_input=bool(modes & {"Input", "InputAndOutput"}),
            captures_output=bool(modes & {"Output", "InputAndOutput"}),
            csv_types=frozenset(map(str.lower, types.get("CsvContentTypes") or ())),
            json_types=frozenset(map(str.lower, types.get("JsonContentTypes") or ())),
            kms_key_id=capture.get("KmsKeyId") or None,
        )

    def make_s3_folder_of_endpoint(self, endpoint: str) -> str:
        """Return the key prefix, with a slash at its end, of all records of an endpoint."""
        return "/".join(part for part in (self.prefix, endpoint) if part) + "/"

    def make_record_of_body(self, mode: str, content_type: str, body: bytes) -> dict[str, str]:
        """Return the part of a record that holds a request or an answer.

        Text of the configured types is stored as it is. All other bodies, such as photographs or
        text that is not UTF-8, are stored in base64.
        """
        essence = content_type.partition(";")[0].strip().lower()
        encoding = "CSV" if essence in self.csv_types else "JSON"
        data = None
        if essence in self.csv_types | self.json_types:
            data = _decode_utf8_or_none(body)
        if data is None:
            encoding, data = "BASE64", base64.b64encode(body).decode("ascii")
        return {
            "observedContentType": content_type,
            "mode": mode,
            "data": data,
            "encoding": encoding,
        }


@dataclass(frozen=True)
class CapturedInvocation:
    """A request and its answer that wait to be written.

    Attributes:
        settings: What is captured, and where it is written.
        endpoint: Name of the endpoint.
        variant: Name of the variant that answered.
        at: When the request arrived, UTC.
        inference_id: The client's own id of the request, or None.
        request: Content type and body of the request.
        answer: Content type and body of the answer.
    """

    settings: CaptureSettings
    endpoint: str
    variant: str
    at: datetime
    inference_id: str | None
    request: tuple[str, bytes]
    answer: tuple[str, bytes]

    @property
    def size_bytes(self) -> int:
        """How many bytes of the invocation are captured."""
        return (self.settings.captures_input * len(self.request[1])) + (
            self.settings.captures_output * len(self.answer[1])
        )

    @property
    def folder(self) -> str:
        """The key prefix of the record's file: endpoint, variant, and hour."""
        place = self.settings.make_s3_folder_of_endpoint(self.endpoint)
        return f"{place}{self.variant}/{self.at:%Y/%m/%d/%H}/"

    def make_json_line(self) -> bytes:
        """Return the record of the invocation as a line of JSON."""
        settings, captured = self.settings, {}
        if settings.captures_input:
            captured["endpointInput"] = settings.make_record_of_body("INPUT", *self.request)
        if settings.captures_output:
            captured["endpointOutput"] = settings.make_record_of_body("OUTPUT", *self.answer)
        event = {"eventId": str(uuid.uuid4())}
        if self.inference_id is not None:
            event["inferenceId"] = self.inference_id
        event["inferenceTime"] = f"{self.at:%Y-%m-%dT%H:%M:%SZ}"
        record = {"captureData": captured, "eventMetadata": event, "eventVersion": "0"}
        return json.dumps(record, separators=(",", ":")).encode() + b"\n"


@dataclass(frozen=True)
class CaptureCounts:
    """How many requests were captured, and how many were lost, since the service started.

    Attributes:
        written: The number of requests whose record is in S3.
        lost: The number of requests that were chosen for capture, but have no record in S3.
    """

    written: int = 0
    lost: int = 0


class CaptureLog:
    """A bounded queue of captured invocations for S3; safe to use from several threads.

    Args:
        put: Writes an object: ``put(region, bucket, key, body, kms_key_id)``. If the object cannot
            be written, ``put`` raises OSError with a message that says why.
        sample: A function that returns a random number from 0 up to, but not including, 1.
        queue_bytes_max: How many captured bytes may wait to be written.
    """

    def __init__(
        self,
        put: Callable[[str, str, str, bytes, str | None], None],
        *,
        sample: Callable[[], float] = random.random,
        queue_bytes_max: int = QUEUE_BYTES_MAX,
    ) -> None:
        self._put = put
        self._sample = sample
        self._queue_bytes_max = queue_bytes_max
        self._queue: deque[CapturedInvocation] = deque()
        self._queued_bytes = 0
        self._written = self._lost = self._unreported = 0
        self._reported: set[tuple[str, str]] = set()
        self._lock = threading.Lock()
        self._writing = threading.Lock()

    @property
    def capture_counts(self) -> CaptureCounts:
        """How many requests were captured, and how many were lost, so far."""
        with self._lock:
            return CaptureCounts(self._written, self._lost)

    def queue_invocation(self, captured: CapturedInvocation) -> None:
        """Decide at random whether to queue an invocation, and return at once."""
        if self._sample() * PERCENT >= captured.settings.sampling_percentage:
            return
        with self._lock:
            if self._queued_bytes + captured.size_bytes > self._queue_bytes_max:
                self._lost += 1
                self._unreported += 1
                return
            self._queue.append(captured)
            self._queued_bytes += captured.size_bytes

    def write_queued_captures(self) -> None:
        """Write all queued captures, and log the lost ones."""
        with self._writing:
            while batch := self._take_queued_captures():
                batch.sort(
                    key=_make_file_key_of_capture
                )  # the sort is stable: a file keeps the order of arrival
                for _, same_file in groupby(batch, key=_make_file_key_of_capture):
                    self._write_batch_to_s3(list(same_file))
        with self._lock:
            unreported, self._unreported = self._unreported, 0
        if unreported:
            log.warning(
                "%d requests were not captured: too many waited to be written to S3", unreported
            )

    def _take_queued_captures(self) -> list[CapturedInvocation]:
        batch: list[CapturedInvocation] = []
        taken_bytes = 0
        with self._lock:
            while self._queue:
                size_bytes = self._queue[0].size_bytes
                if batch and taken_bytes + size_bytes > FILE_BYTES_MAX:
                    break
                batch.append(self._queue.popleft())
                taken_bytes += size_bytes
            self._queued_bytes -= taken_bytes
        return batch

    def _write_batch_to_s3(self, batch: Sequence[CapturedInvocation]) -> None:
        """Write invocations of one variant, all from the same hour, into one S3 object."""
        first = batch[0]
        settings = first.settings
        milliseconds = first.at.microsecond // 1000
        name = f"{first.at:%M-%S}-{milliseconds:03d}-{uuid.uuid4()}.jsonl"
        body = b"".join(captured.make_json_line() for captured in batch)
        try:
            self._put(
                settings.region, settings.bucket, first.folder + name, body, settings.kms_key_id
            )
        except OSError as err:
            self._log_lost_captures(batch, str(err))
            return
        with self._lock:
            self._written += len(batch)

    def _log_lost_captures(self, batch: Sequence[CapturedInvocation], why: str) -> None:
        with self._lock:
            self._lost += len(batch)
        # Logged once for each endpoint and reason, because a wrong bucket would otherwise fill the
        # log.
        endpoint, settings = batch[0].endpoint, batch[0].settings
        if (endpoint, why) not in self._reported:
            self._reported.add((endpoint, why))
            place = f"s3://{settings.bucket}/{settings.make_s3_folder_of_endpoint(endpoint)}"
            log.warning("requests of endpoint %s are not captured to %s: %s", endpoint, place, why)


def is_capture_enabled(capture: Mapping[str, Any]) -> bool:
    """Return whether a ``DataCaptureConfig`` is enabled, which is the default."""
    enabled = capture.get("EnableCapture")
    return enabled is None or bool(enabled)


def make_capture_summary(capture: Mapping[str, Any]) -> dict[str, Any]:
    """Return the ``DataCaptureConfigSummary`` of ``DescribeEndpoint``."""
    summary = {
        "EnableCapture": is_capture_enabled(capture),
        "CaptureStatus": "Started" if is_capture_enabled(capture) else "Stopped",
        "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
        "DestinationS3Uri": capture["DestinationS3Uri"],
    }
    return summary | ({"KmsKeyId": capture["KmsKeyId"]} if capture.get("KmsKeyId") else {})


def list_kms_keys_of_config(config: Mapping[str, Any]) -> Iterable[str]:
    """Return the KMS keys that an endpoint configuration names."""
    capture = config.get("DataCaptureConfig") or {}
    asynchronous = config.get("AsyncInferenceConfig") or {"OutputConfig": {}}
    named = (
        config.get("KmsKeyId"),
        capture.get("KmsKeyId") if is_capture_enabled(capture) else None,
        asynchronous["OutputConfig"].get("KmsKeyId"),
    )
    return [key for key in named if key]


def _make_file_key_of_capture(captured: CapturedInvocation) -> tuple[str, str, str, str]:
    settings = captured.settings
    return settings.region, settings.bucket, captured.folder, settings.kms_key_id or ""


def _decode_utf8_or_none(body: bytes) -> str | None:
    try:
        return body.decode()
    except UnicodeDecodeError:
        return None
