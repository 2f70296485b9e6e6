"""Take the requests of one endpoint from its queue whenever an instance of the endpoint is free."""

from __future__ import annotations

import contextlib
import logging
import math
import random
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.hosting.local.endpoints.pool import WorkerNotReady
from drdeploy.hosting.sagemaker import find_instance_resources

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.local.asynchronous_inference.processing import (
        RequestOutcome,
        RequestProcessor,
    )
    from drdeploy.hosting.local.asynchronous_inference.request_queue import (
        Backlog,
        QueuedRequest,
        RequestQueue,
    )
    from drdeploy.hosting.local.endpoints.asynchronous_settings import AsynchronousSettings
    from drdeploy.hosting.local.endpoints.deployment import Variant
    from drdeploy.hosting.local.endpoints.lifecycle import LocalEndpoint
    from drdeploy.hosting.sagemaker import Clock

log = logging.getLogger(__name__)

CONCURRENCY_MAX = 1000
"""The largest number of requests that one endpoint processes at a time on this machine."""
LOOK_AGAIN_S = 0.1
"""While requests wait, the dispatcher looks for a free instance at this interval, in seconds."""
EXPIRY_CHECK_S = 1.0
RETRY_AFTER_S = 1.0
"""Seconds from an unexpected error to the next attempt at the same request."""
LEASE_S = 1.0
"""Seconds that a request waits for an instance of the chosen variant, if none is free any more."""


@dataclass(frozen=True)
class BacklogSample:
    """The backlog of an endpoint's queue, and the number of instances, at one time.

    Attributes:
        backlog: The number of requests that wait or are being processed.
        instances: The number of instances in service.
    """

    backlog: Backlog
    instances: int


class RequestDispatcher:
    """Processes the requests of one endpoint, with one thread for each request.

    Args:
        endpoint: The endpoint.
        queue: The queue of the endpoint's requests.
        processor: Processes a request.
        record: Receives the outcome of every request.
        clock: The clock that tells when a request has waited too long.
    """

    def __init__(
        self,
        endpoint: LocalEndpoint,
        queue: RequestQueue,
        processor: RequestProcessor,
        record: Callable[[RequestOutcome], None],
        clock: Clock,
    ) -> None:
        self.endpoint = endpoint
        self.queue = queue
        self._processor = processor
        self._record = record
        self._clock = clock
        self._busy: Counter[Variant] = Counter()
        self._is_over = False
        self._expiry_check_due = 0.0
        self._executor = ThreadPoolExecutor(CONCURRENCY_MAX, f"asynchronous {endpoint.name}")
        self._thread = threading.Thread(
            target=self._process_requests_until_stopped,
            name=f"asynchronous {endpoint.name}",
            daemon=True,
        )
        self._thread.start()

    def stop(self) -> None:
        """Take no more requests from the queue; unfinished requests stay in the queue's folder."""
        with self.queue.changed:
            self._is_over = True
            self.queue.changed.notify_all()
        self._executor.shutdown(wait=False, cancel_futures=True)

    def measure_backlog(self) -> BacklogSample:
        """Return the present backlog, and the number of instances in service."""
        variants = self.endpoint.list_variants_in_service()
        instances = sum(len(variant.pool.workers()) for variant in variants)
        return BacklogSample(self.queue.measure_backlog(self._clock.now().timestamp()), instances)

    def _process_requests_until_stopped(self) -> None:
        while not self._is_over:
            try:
                self._expire_requests_if_due()
                is_started = self._start_next_request()
            except Exception:
                # An error with one request must not end the thread that serves all requests.
                log.exception("the queue of %s cannot be processed", self.endpoint.name)
                is_started = False
            if not is_started:
                with self.queue.changed:
                    if not self._is_over:
                        idle = not self.queue.count_waiting()
                        self.queue.changed.wait(EXPIRY_CHECK_S if idle else LOOK_AGAIN_S)

    def _start_next_request(self) -> bool:
        """Start to process the oldest request.

        Return False if no request waits, or no instance is free.

        If the endpoint is updated while the request is processed, the deployment that processes the
        request stays open until the request is finished.
        """
        if not self.queue.count_waiting():
            return False
        with contextlib.ExitStack() as stack:
            deployment = stack.enter_context(self.endpoint.hold_deployment_in_service())
            settings = deployment.asynchronous if deployment is not None else None
            if deployment is None or settings is None:
                return False
            variant = self._choose_free_variant(deployment.variants, settings)
            request = self.queue.take_request() if variant is not None else None
            if variant is None or request is None:
                return False
            with self.queue.changed:
                self._busy[variant] += 1
            held = stack.pop_all()
        try:
            self._executor.submit(
                self._process_then_release_deployment, request, settings, variant, held
            )
        except RuntimeError:  # the service stops
            held.close()
            return False
        return True

    def _choose_free_variant(
        self, variants: tuple[Variant, ...], settings: AsynchronousSettings
    ) -> Variant | None:
        """Choose one of the variants that have a free instance; None if all are busy.

        The choice is random. A variant with a larger weight is chosen more often.
        """
        free = [
            variant
            for variant in variants
            if self._busy[variant]
            < min(
                CONCURRENCY_MAX,
                len(variant.pool.workers()) * _find_concurrency_of_instance(variant, settings),
            )
        ]
        if not free:
            return None
        weights = [variant.weight for variant in free]
        return random.choices(free, weights if sum(weights) else None)[0]

    def _expire_requests_if_due(self) -> None:
        now = self._clock.monotonic()
        if now < self._expiry_check_due:
            return
        self._expiry_check_due = now + EXPIRY_CHECK_S
        with self.endpoint.hold_deployment_in_service() as deployment:
            if deployment is None or deployment.asynchronous is None:
                return
            variant = deployment.variants[0].name
            for request in self.queue.take_expired_requests(self._clock.now().timestamp()):
                # In a thread of its own: a subscriber may take seconds to be notified.
                with contextlib.suppress(RuntimeError):  # the service stops
                    self._executor.submit(
                        self._record_request_as_expired, request, deployment.asynchronous, variant
                    )

    # -- in a thread for each request ----------------------------------------------------

    def _record_request_as_expired(
        self, request: QueuedRequest, settings: AsynchronousSettings, variant: str
    ) -> None:
        try:
            outcome, response = self._processor.make_expired_outcome(request, settings, variant)
            self._remove_and_record_request(
                request, self._processor.store_result(request, settings, outcome, response)
            )
        except Exception:
            log.exception("the expired request %s cannot be processed", request.inference_id)
            self._put_back_request_for_retry(request)

    def _put_back_request_for_retry(self, request: QueuedRequest) -> None:
        """Wait some time after an unexpected error, and put the request back into the queue."""
        if not self._is_over:
            self._clock.sleep(RETRY_AFTER_S)
        self.queue.put_request_back(request)

    def _process_then_release_deployment(
        self,
        request: QueuedRequest,
        settings: AsynchronousSettings,
        variant: Variant,
        held: contextlib.ExitStack,
    ) -> None:
        with held:
            try:
                self._lease_instance_and_process(request, settings, variant)
            except Exception:
                if not self._is_over:  # a service that stops takes the instance away
                    log.exception("the request %s cannot be processed", request.inference_id)
                self._put_back_request_for_retry(request)
            finally:
                with self.queue.changed:
                    self._busy[variant] -= 1
                    if not self._busy[variant]:
                        del self._busy[variant]
                    self.queue.changed.notify_all()

    def _lease_instance_and_process(
        self, request: QueuedRequest, settings: AsynchronousSettings, variant: Variant
    ) -> None:
        try:
            lease = variant.pool.lease_worker(
                LEASE_S, most=_find_concurrency_of_instance(variant, settings)
            )
        except WorkerNotReady:
            self.queue.put_request_back(request)
            return
        outcome, response = self._processor.process_request(
            request, self.queue, settings, variant, lease
        )
        if self._is_over:
            # The service is stopping, and its S3 objects will be lost. The request is processed
            # again after the next start, so that the client finds the result in the new S3.
            return
        if outcome.failure_reason:
            self._processor.log_failure(outcome, response, lease.worker.instance)
        self._remove_and_record_request(
            request, self._processor.store_result(request, settings, outcome, response)
        )

    def _remove_and_record_request(self, request: QueuedRequest, outcome: RequestOutcome) -> None:
        self.queue.finish_request(request)
        try:
            self._record(outcome)
        except Exception:
            # The result is stored, so the request must not be processed again because of a metric.
            log.exception("the metrics of the request %s are lost", request.inference_id)


def _find_concurrency_of_instance(variant: Variant, settings: AsynchronousSettings) -> int:
    """Return how many requests an instance processes at a time.

    If the endpoint configuration states no number, SageMaker chooses one, in a way that AWS does
    not publish. The local service sends as many requests as the instance has vCPUs. The instance is
    then fully used, and no request waits inside the instance.
    """
    if settings.concurrency_per_instance is not None:
        return settings.concurrency_per_instance
    return max(1, math.ceil(find_instance_resources(variant.request["InstanceType"]).vcpu))
