"""Keep a queue and a dispatcher for each asynchronous endpoint."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import logging
import os
import threading
from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput
from drdeploy.hosting.local.asynchronous_inference.dispatcher import RequestDispatcher
from drdeploy.hosting.local.asynchronous_inference.processing import RequestProcessor
from drdeploy.hosting.local.asynchronous_inference.request_queue import RECORD, RequestQueue
from drdeploy.hosting.local.instances.service_folders import FOLDER_MODE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from drdeploy.hosting.local.asynchronous_inference.dispatcher import BacklogSample
    from drdeploy.hosting.local.asynchronous_inference.processing import RequestOutcome, ResultStore
    from drdeploy.hosting.local.endpoints.lifecycle import LocalEndpoint
    from drdeploy.hosting.sagemaker import Clock

log = logging.getLogger(__name__)


class AsynchronousQueues:
    """The queues of all asynchronous endpoints; safe to use from several threads.

    Args:
        folder: The folder of the queues: ``REGION/ENDPOINT`` in it holds the requests of one
            endpoint. Requests that an earlier run of the service left there are processed as soon
            as an asynchronous endpoint of the same name and region is in service.
        run: The name of this run of the service, which is stored with each request; each restart
            has a new name.
        store: S3, SNS and CloudWatch Logs.
        record: Receives the outcome of every request.
        clock: The clock that measures durations and gives the time of each result.

    Attributes:
        folder: The folder of the queues.
        run: The name of this run of the service.
    """

    def __init__(
        self,
        folder: Path,
        run: str,
        store: ResultStore,
        record: Callable[[RequestOutcome], None],
        clock: Clock,
    ) -> None:
        self.folder = folder
        self.run = run
        self._store = store
        self._record = record
        self._clock = clock
        self._dispatchers: dict[tuple[str, str], RequestDispatcher] = {}
        self._lock = threading.Lock()
        self._is_over = False

    def find_queue(self, region: str, endpoint: LocalEndpoint) -> RequestQueue:
        """Return the queue of an asynchronous endpoint; make it if there is none."""
        return self._find_or_make_dispatcher(region, endpoint).queue

    def match_dispatchers_to_endpoints(
        self, region: str, endpoints: Iterable[LocalEndpoint]
    ) -> None:
        """Process the requests of endpoints in service, and drop the requests of deleted endpoints.

        Args:
            region: AWS region of the endpoints.
            endpoints: All endpoints of the region, of any kind.
        """
        kept = {one.name.lower(): one for one in endpoints if one.status != "Deleting"}
        with self._lock:
            gone = [
                name
                for name, dispatcher in self._dispatchers.items()
                if name[0] == region and kept.get(name[1]) is not dispatcher.endpoint
            ]
            for name in gone:
                self._discard_requests_and_dispatcher(name)
        for endpoint in kept.values():
            if endpoint.is_asynchronous and endpoint.is_serving:
                self._find_or_make_dispatcher(region, endpoint)

    def measure_backlogs(self) -> list[tuple[str, str, BacklogSample]]:
        """Return the region, the endpoint's name and the backlog of each queue."""
        with self._lock:
            dispatchers = dict(self._dispatchers)
        return [
            (region, dispatcher.endpoint.name, dispatcher.measure_backlog())
            for (region, _), dispatcher in dispatchers.items()
        ]

    def count_requests_by_endpoint(self) -> dict[tuple[str, str], int]:
        """Return the number of requests on disk, by region and endpoint."""
        return {
            (folder.parent.name, folder.name): count
            for folder in sorted(self.folder.glob("*/*"))
            if (count := sum(1 for _ in folder.glob(f"*{RECORD}")))
        }

    def stop(self) -> None:
        """Process no more requests; all requests without a result stay on disk."""
        with self._lock:
            self._is_over = True
            for dispatcher in self._dispatchers.values():
                dispatcher.stop()
        for folder in _list_folders_inside_out(self.folder):
            with contextlib.suppress(OSError):  # the folder is not empty
                folder.rmdir()

    def _find_or_make_dispatcher(self, region: str, endpoint: LocalEndpoint) -> RequestDispatcher:
        name = (region, endpoint.name.lower())
        with self._lock:
            dispatcher = self._dispatchers.get(name)
            if dispatcher is not None and dispatcher.endpoint is not endpoint:
                # The endpoint was deleted and created again. The requests of the old endpoint are
                # dropped.
                self._discard_requests_and_dispatcher(name)
                dispatcher = None
            if dispatcher is None:
                queue = RequestQueue(self.folder / region / name[1])
                left = queue.count_waiting()
                if left:
                    log.warning(
                        "endpoint %s still has %d requests that were queued before the service "
                        "started",
                        endpoint.name,
                        left,
                    )
                processor = RequestProcessor(endpoint.name, self.run, self._store, self._clock)
                dispatcher = RequestDispatcher(
                    endpoint, queue, processor, self._record, self._clock
                )
                self._dispatchers[name] = dispatcher
                if self._is_over:
                    dispatcher.stop()
            return dispatcher

    def _discard_requests_and_dispatcher(self, name: tuple[str, str]) -> None:
        dispatcher = self._dispatchers.pop(name)
        dispatcher.stop()
        dispatcher.queue.discard_all_requests()


def claim_queue_folder(folder: Path | None) -> contextlib.ExitStack:
    """Make a queue folder that a user has named, and keep other services from using it.

    Two services with the same folder would both process every request in it, and each would delete
    requests of the other.

    Args:
        folder: The folder; None if the service chooses a folder of its own.

    Returns:
        The claim, which ends when it is closed, or when the process ends.

    Raises:
        InvalidInput: The folder cannot be made or written to, or another service uses it.
    """
    claim = contextlib.ExitStack()
    if folder is None:
        return claim
    try:
        folder.mkdir(mode=FOLDER_MODE, parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        claim.callback(os.close, handle)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as err:
        claim.close()
        raise InvalidInput(
            f"The folder for asynchronous requests cannot be used: {err.strerror}",
            where=str(folder),
            remedy="Choose as queue_folder a folder that you may write to",
        ) from err
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as err:
        claim.close()
        raise InvalidInput(
            "Another local service uses the folder for asynchronous requests",
            where=str(folder),
            remedy="Stop the other service, or choose another folder as queue_folder",
        ) from err
    except OSError:
        pass  # some network file systems have no locks
    return claim


def _list_folders_inside_out(folder: Path) -> Iterator[Path]:
    yield from sorted(folder.glob("*/*"))
    yield from sorted(folder.glob("*"))
    yield folder
