"""Keep the requests of one asynchronous endpoint on disk, in the order of their arrival.

Each request is a file. The file is written before the client gets its answer, and removed when the
result of the request is stored. A service that is stopped or killed loses no request if the next
service uses the same queue folder. After a restart, a request that was being processed is processed
again, because its result may not have been stored. An input in S3 is copied to a file beside the
request, because the local S3 is empty when the service starts again.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import logging
import shutil
import threading
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from drdeploy.files import parse_json
from drdeploy.hosting.local.instances.service_folders import FILE_MODE, FOLDER_MODE
from drdeploy.units import GIB

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

RECORD = ".json"
INPUT = ".input"
DRAFT = ".draft"
FREE_BYTES_MIN = GIB
"""Bytes that the queue leaves free on its disk for other programs."""


@dataclass(frozen=True)
class QueuedRequest:
    """A request that waits for an instance, or is being processed.

    Attributes:
        number: A number that identifies the request; a later request has a larger number.
        run: The name of the run of the service that received the request; each restart has a new
            name.
        inference_id: The id of the request.
        received_s: When the request arrived, in seconds since 1970.
        input_location: The ``s3://`` URI of the input; None if the request contained its input.
        headers: The headers that the container receives.
        output_location: The ``s3://`` URI of the result.
        failure_location: The ``s3://`` URI to which the reason for a failure is written, or None if
            failures are not written.
        time_to_live_s: The seconds after which a request that still waits expires.
        timeout_s: The seconds within which the container must answer.
    """

    number: int
    run: str
    inference_id: str
    received_s: float
    input_location: str | None
    headers: dict[str, str]
    output_location: str
    failure_location: str | None
    time_to_live_s: float
    timeout_s: float

    @property
    def file_name(self) -> str:
        """The name of the request's files, without extension; sorted names are in arrival order."""
        return f"{self.number:020d}"

    def is_expired(self, now_s: float) -> bool:
        """Return whether the request has waited longer than its time to live."""
        return now_s - self.received_s > self.time_to_live_s


@dataclass(frozen=True)
class Backlog:
    """The requests of one queue that wait or are being processed.

    Attributes:
        requests: The number of requests.
        oldest_age_s: The age of the oldest request in seconds; 0 without requests.
    """

    requests: int
    oldest_age_s: float


class RequestQueue:
    """The requests of one endpoint; safe to use from several threads.

    Args:
        folder: The folder of the requests; requests that an earlier run of the service left there
            are in the queue.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.changed = threading.Condition()
        self._waiting: deque[QueuedRequest] = deque()
        self._in_progress: dict[int, QueuedRequest] = {}
        self._is_discarded = False
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        _remove_inputs_without_record(folder)
        self._waiting.extend(_read_queued_requests_in_folder(folder))
        first = self._waiting[-1].number + 1 if self._waiting else 0
        self._numbers = itertools.count(max(first, time.time_ns()))

    def make_request_number(self) -> int:
        """Return a number for the next request; it is larger than all earlier numbers."""
        return next(self._numbers)

    def add_request(self, request: QueuedRequest, content: bytes | None) -> None:
        """Write a request and its input to disk, and add the request to the end of the queue.

        Args:
            request: The request.
            content: The input that the request contains, or a copy of the input in S3. None if the
                input is missing in S3.

        Raises:
            OSError: The request cannot be written, or would leave too little space on the disk. A
                request that cannot be written is not in the queue.
        """
        path = self._folder / request.file_name
        free = shutil.disk_usage(self._folder).free
        if free - len(content or b"") < FREE_BYTES_MIN:
            raise OSError(errno.ENOSPC, "less than 1 GiB would stay free on the disk of the queue")
        try:
            if content is not None:
                _write_private_file(path.with_suffix(INPUT), content)
            draft = path.with_suffix(DRAFT)
            _write_private_file(draft, json.dumps(asdict(request)).encode())
            draft.rename(path.with_suffix(RECORD))
        except OSError:
            self._remove_files_of_request(request)
            raise
        with self.changed:
            self._waiting.append(request)
            self.changed.notify_all()

    def read_stored_input(self, request: QueuedRequest) -> bytes | None:
        """Return the input that was stored with a request, or None."""
        try:
            return (self._folder / request.file_name).with_suffix(INPUT).read_bytes()
        except FileNotFoundError:
            return None

    def take_request(self) -> QueuedRequest | None:
        """Take the oldest waiting request out of the queue, or return None."""
        with self.changed:
            if not self._waiting or self._is_discarded:
                return None
            request = self._waiting.popleft()
            self._in_progress[request.number] = request
            return request

    def take_expired_requests(self, now_s: float) -> list[QueuedRequest]:
        """Take all requests that have waited longer than their time to live."""
        with self.changed:
            expired = [request for request in self._waiting if request.is_expired(now_s)]
            if expired:
                numbers = {request.number for request in expired}
                self._waiting = deque(one for one in self._waiting if one.number not in numbers)
                self._in_progress.update((request.number, request) for request in expired)
            return expired

    def put_request_back(self, request: QueuedRequest) -> None:
        """Put a request back at the front of the queue."""
        with self.changed:
            self._in_progress.pop(request.number, None)
            self._waiting.appendleft(request)
            self.changed.notify_all()

    def finish_request(self, request: QueuedRequest) -> None:
        """Remove a request whose result is stored."""
        try:
            self._remove_files_of_request(request)
        except OSError as err:
            # The result is stored, so this run of the service does not process the request again.
            log.warning("the finished request %s stays on disk: %s", request.inference_id, err)
        with self.changed:
            self._in_progress.pop(request.number, None)
            self.changed.notify_all()

    def measure_backlog(self, now_s: float) -> Backlog:
        """Return how many requests wait or are being processed, and the age of the oldest."""
        with self.changed:
            oldest = min(
                (*itertools.islice(self._waiting, 1), *self._in_progress.values()),
                key=lambda request: request.number,
                default=None,
            )
            count = len(self._waiting) + len(self._in_progress)
        return Backlog(count, max(0.0, now_s - oldest.received_s) if oldest else 0.0)

    def count_waiting(self) -> int:
        """Return the number of waiting requests, without those that are being processed."""
        return len(self._waiting)

    def discard_all_requests(self) -> None:
        """Remove all requests, and their folder."""
        with self.changed:
            self._is_discarded = True
            self._waiting.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def _remove_files_of_request(self, request: QueuedRequest) -> None:
        path = self._folder / request.file_name
        for suffix in (RECORD, DRAFT, INPUT):  # the record first: an input alone is not a request
            path.with_suffix(suffix).unlink(missing_ok=True)


def _read_queued_requests_in_folder(folder: Path) -> list[QueuedRequest]:
    requests = []
    for path in sorted(folder.glob(f"*{RECORD}")):
        try:
            requests.append(QueuedRequest(**parse_json(path.read_bytes())))
        except (OSError, ValueError, TypeError) as err:
            log.warning("%s is not a queued request, and stays where it is: %s", path, err)
    return requests


def _remove_inputs_without_record(folder: Path) -> None:
    """Remove input files that belong to no request; a killed service may leave some behind."""
    for path in folder.glob(f"*{INPUT}"):
        if not path.with_suffix(RECORD).exists():
            with contextlib.suppress(OSError):
                path.unlink()


def _write_private_file(path: Path, content: bytes) -> None:
    """Write a file that no other user may read, because it contains photographs."""
    path.touch(FILE_MODE)
    path.write_bytes(content)
