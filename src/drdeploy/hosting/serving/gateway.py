"""Answer requests: choose the handler, refuse excess requests, keep deadlines, and write the log.

Requests other than invocations are answered on the event loop, so that ``/ping`` is answered even
while the model computes. The body of an invocation is read within limits. The invocation then waits
in a lane, which is a queue with threads of its own (see ``thread_pools``). A lane has a limited
number of places for invocations that run or wait. An invocation with large images takes several
places.
"""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from drdeploy.errors import (
    DrdeployError,
    MalformedRequest,
    MethodNotAllowed,
    Overloaded,
    RequestTimeout,
    UnknownPath,
)
from drdeploy.hosting.serving.exchange import (
    ClientGone,
    Request,
    Response,
    make_internal_failure_response,
    make_refusal_response,
)
from drdeploy.hosting.serving.header_fields import ECHOED
from drdeploy.hosting.serving.thread_pools import BoundedThreadPool
from drdeploy.hosting.serving.uploads import BodyUploads, make_too_large_error

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from drdeploy.hosting.serving.exchange import Headers
    from drdeploy.hosting.serving.handlers import PreparedInvocation, RequestHandlers
    from drdeploy.hosting.serving.log import ServerLog
    from drdeploy.hosting.serving.thread_pools import PoolJob

INVOCATIONS = "/invocations"


class Gateway:
    """Answers requests with the handlers of one worker process.

    Args:
        handlers: The handlers, with the limits on what a client may cost.
        log: The log of the worker.
        clock: A clock that measures durations, in seconds.
        stop_worker: A function that stops the worker, called if its threads are stuck.

    Attributes:
        clock: The clock.
        budgets: The limits on what a client may cost.
    """

    def __init__(
        self,
        handlers: RequestHandlers,
        log: ServerLog,
        *,
        clock: Callable[[], float] = time.perf_counter,
        stop_worker: Callable[[], None] = partial(signal.raise_signal, signal.SIGTERM),
    ) -> None:
        budgets = handlers.budgets
        self.clock = clock
        self.budgets = budgets
        self._stop_worker = stop_worker
        self._handlers = handlers
        self._log = log
        self._uploads = BodyUploads(budgets)
        lane = partial(
            BoundedThreadPool,
            threads=handlers.concurrency,
            processing_s=budgets.processing_s,
            stuck_s=budgets.stuck_s,
            stop_worker=self._stop_stuck_worker,
        )
        self._ordinary = lane("ordinary", places=budgets.ordinary_places)
        self._large = lane("large", places=budgets.large_places)
        self._summary: asyncio.TimerHandle | None = None
        self._routes = {
            "/ping": handlers.answer_ping,
            "/execution-parameters": handlers.answer_execution_parameters,
            "/metadata": handlers.answer_metadata,
            "/metrics": handlers.answer_metrics,
        }

    async def answer_request(self, request: Request, body: AsyncIterator[bytes]) -> Response:
        """Answer one request; every error becomes a response.

        Args:
            request: The request without its body.
            body: The parts of the body. They are not read if the request is refused because of its
                headers or because the server is full.

        Raises:
            ClientGone: The client closed the connection while ``body`` was read.
        """
        try:
            if request.path == INVOCATIONS and request.method == "POST":
                return await self._answer_invocation(request, body)
            return self._answer_without_thread(request)
        except ClientGone:
            raise
        except DrdeployError as err:
            return make_refusal_response(err)
        except Exception as err:  # noqa: BLE001 - a client must get a response
            self._log.write_failure("request failed", err, path=request.path)
            return make_internal_failure_response()
        finally:
            self._schedule_log_summary()

    def count_and_refuse_request(self, error: DrdeployError) -> Response:
        """Count a request that the HTTP server itself refuses, and return the refusal to send."""
        self._log.count_turned_away_request(error.code)
        self._schedule_log_summary()
        return make_refusal_response(error)

    def _answer_without_thread(self, request: Request) -> Response:
        if request.path == INVOCATIONS:
            allowed = "POST"
        elif request.path in self._routes:
            allowed = "GET, HEAD"
        else:
            raise UnknownPath("The server has nothing at this path")
        if request.method not in allowed.split(", "):
            # RFC 9110, section 15.5.6: a 405 names the methods that the path has.
            return make_refusal_response(
                MethodNotAllowed(f"This path accepts only {allowed}"), (("Allow", allowed),)
            )
        return self._routes[request.path](request)

    async def _answer_invocation(self, request: Request, body: AsyncIterator[bytes]) -> Response:
        echoed: Headers = ()
        try:
            echoed = _select_echoed_headers(request)
            # Requests are refused before their body is read, if that is possible.
            self._refuse_too_long_body(request)
            self._ordinary.refuse_if_no_free_places()
            request.body = await self._uploads.receive_body(body)
            try:
                response = await self._handle_invocation_in_thread(request)
            finally:
                self._uploads.release_body_memory(request.body)
        except ClientGone:
            self._log.write_event_within_limit("client gone", "info", invocation=request.invocation)
            raise
        except (Overloaded, RequestTimeout) as err:
            # A flood of requests causes many such errors, so the log says only how many there were.
            self._log.count_turned_away_request(err.code)
            response = make_refusal_response(err)
        except DrdeployError as err:
            response = make_refusal_response(err)
            if response.status >= 500:
                self._log.write_failure("invocation failed", err, invocation=request.invocation)
        except Exception as err:  # noqa: BLE001 - a client must get a response
            response = make_internal_failure_response()
            self._log.write_failure("invocation failed", err, invocation=request.invocation)
        self._count_and_log_invocation(request, response)
        return replace(response, headers=response.headers + echoed) if echoed else response

    async def _handle_invocation_in_thread(self, request: Request) -> Response:
        """Read the headers of an invocation's images in a thread, and grade the images.

        A place stands for the memory that decoding an ordinary photograph takes. If the images need
        more than one place, they are graded in a second step, which takes as many places as they
        need.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.budgets.processing_s
        self._ordinary.refuse_if_no_free_places()
        request.invocation = self._handlers.counters.count_invocation()
        answered = await self._ordinary.run_in_thread(
            partial(self._prepare_invocation, request), timeout_s=self.budgets.processing_s
        )
        if isinstance(answered, Response):
            return answered
        lane = self._large if answered.is_large else self._ordinary
        return await lane.run_in_thread(
            partial(self._grade_images, answered),
            places=answered.places,
            timeout_s=max(0.0, deadline - loop.time()),
        )

    def _prepare_invocation(self, request: Request, job: PoolJob) -> Response | PreparedInvocation:
        job.mark_as_running()
        prepared = self._handlers.prepare_invocation(request)
        if prepared.places > 1 or prepared.is_large:
            return prepared
        return self._handlers.grade_prepared_images(prepared)

    def _grade_images(self, prepared: PreparedInvocation, job: PoolJob) -> Response:
        with self._handlers.large_images.wait_for_turn_and_hold_it(is_large=prepared.is_large):
            job.mark_as_running()
            return self._handlers.grade_prepared_images(prepared)

    def _stop_stuck_worker(self, stuck_s: float) -> None:
        self._log.write_event("worker stuck", "error", stuck_s=stuck_s)
        self._stop_worker()

    def _refuse_too_long_body(self, request: Request) -> None:
        """Refuse a request whose declared body is too long, before the body is read."""
        declared = request.headers.get("content-length", "")
        if not declared:
            return
        if not (declared.isascii() and declared.isdigit()):
            raise MalformedRequest("Content-Length is not a number")
        if int(declared) > self.budgets.body_bytes:
            raise make_too_large_error(self.budgets)

    def _count_and_log_invocation(self, request: Request, response: Response) -> None:
        """Count an answered invocation, and write its log line.

        An invocation that was refused before it entered a queue gets no log line.
        """
        duration_s = self.clock() - request.received_at
        self._handlers.counters.count_response(response.status, duration_s)
        fields = {
            "status": response.status,
            "duration_s": round(duration_s, 6),
            "invocation": request.invocation,
            "container": self._handlers.settings.container_id,
            **response.facts,
        }
        if response.status < 400:
            self._log.write_event("invocation", **fields)
        elif request.invocation:
            # A client can cause any number of these lines, for a few bytes each.
            self._log.write_event_within_limit(
                "invocation", "info", kind="refused invocation", **fields
            )

    def _schedule_log_summary(self) -> None:
        """Log the number of withheld log lines soon, even if no more requests arrive."""
        due_in_s = self._log.seconds_until_summary
        if due_in_s is not None and self._summary is None:
            loop = asyncio.get_running_loop()
            self._summary = loop.call_later(due_in_s + 0.01, self._write_log_summary)

    def _write_log_summary(self) -> None:
        self._summary = None
        self._log.write_due_summary()
        self._schedule_log_summary()


def _select_echoed_headers(request: Request) -> Headers:
    """Return the request headers that the response must repeat, with their values.

    Raises:
        MalformedRequest: A value is too long, or could break the headers of the response.
    """
    echoed = []
    for key, (name, limit) in ECHOED.items():
        value = request.headers.get(key)
        if value is None:
            continue
        if len(value) > limit or not (value.isascii() and value.isprintable()):
            raise MalformedRequest(f"{name} must be at most {limit} printable ASCII characters")
        echoed.append((name, value))
    return tuple(echoed)
