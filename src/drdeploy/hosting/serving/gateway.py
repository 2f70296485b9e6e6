"""From a request's head to its response: routes, admission, deadlines, threads, the log line.

Small requests are answered on the event loop, so that ``/ping`` is answered while models compute.
An invocation takes a place, has its body read within bounds, and is handled in a thread.
"""

from __future__ import annotations

import asyncio
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from drdeploy.errors import (
    DrdeployError,
    MalformedRequest,
    MethodNotAllowed,
    PayloadTooLarge,
    ProcessingTimeout,
    RequestTimeout,
    UnknownPath,
)
from drdeploy.hosting.serving.admission import Admission
from drdeploy.hosting.serving.exchange import (
    ClientGone,
    Request,
    Response,
    internal_failure,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from concurrent.futures import Future

    from drdeploy.hosting.serving.exchange import Headers
    from drdeploy.hosting.serving.handlers import Handlers
    from drdeploy.hosting.serving.log import Log

INVOCATIONS = "/invocations"
ECHOED = {
    "x-amzn-sagemaker-custom-attributes": ("X-Amzn-SageMaker-Custom-Attributes", 1024),
    "x-amzn-sagemaker-inference-id": ("X-Amzn-SageMaker-Inference-Id", 64),
}
"""Headers that a response repeats, with InvokeEndpoint's limits in ASCII characters."""


class Gateway:
    """Answers requests with the handlers of one worker process."""

    def __init__(
        self,
        handlers: Handlers,
        log: Log,
        *,
        clock: Callable[[], float] = time.perf_counter,
        stop_worker: Callable[[], None] = partial(signal.raise_signal, signal.SIGTERM),
    ) -> None:
        settings = handlers.settings
        self.clock = clock
        self._stop_worker = stop_worker
        self._handlers = handlers
        self._settings = settings
        self._log = log
        self._admission = Admission(
            concurrency=handlers.concurrency, queue_length=settings.queue_length
        )
        # What is admitted beyond the threads waits in the pool's queue, which admission bounds.
        self._threads = ThreadPoolExecutor(handlers.concurrency, "inference")
        self._routes = {
            "/ping": ("GET", handlers.ping),
            "/execution-parameters": ("GET", handlers.execution_parameters),
            "/metadata": ("GET", handlers.metadata),
            "/metrics": ("GET", handlers.metrics),
        }

    async def answer(self, request: Request, body: AsyncIterator[bytes]) -> Response:
        """Answer one request; an error becomes a response, never an exception.

        Args:
            request: Without its body.
            body: The body, read only if the request is admitted.

        Raises:
            ClientGone: By ``body``; there is nobody to answer.
        """
        if request.path == INVOCATIONS and request.method == "POST":
            return await self._invocation(request, body)
        try:
            return self._answer_at_once(request)
        except DrdeployError as err:
            return refusal(err)
        except Exception as err:  # noqa: BLE001 - a client must get a response
            self._log.failure("request failed", err, path=request.path)
            return internal_failure()

    def _answer_at_once(self, request: Request) -> Response:
        method, handler = self._routes.get(request.path, (None, None))
        if request.path == INVOCATIONS:
            method = "POST"
        if method is None:
            raise UnknownPath("There is nothing at this path")
        if handler is None or request.method != method:
            # RFC 9110, section 15.5.6: a 405 names the methods that the path has.
            return refusal(
                MethodNotAllowed(f"This path only answers {method}"), (("Allow", method),)
            )
        return handler(request)

    async def _invocation(self, request: Request, body: AsyncIterator[bytes]) -> Response:
        echoed: Headers = ()
        try:
            echoed = _echoed_headers(request)
            # Cheap refusals come first, and a body is read only in a place: memory stays bounded.
            self._check_length(request)
            self._admission.enter()
            await self._read_body(request, body)
            response = await self._handle_in_thread(request)
        except ClientGone:
            self._log.event("client gone", invocation=request.invocation)
            raise
        except DrdeployError as err:
            response = refusal(err)
            if response.status >= 500:
                self._log.failure("invocation failed", err, invocation=request.invocation)
        except Exception as err:  # noqa: BLE001 - a client must get a response
            response = internal_failure()
            self._log.failure("invocation failed", err, invocation=request.invocation)
        self._record(request, response)
        return replace(response, headers=response.headers + echoed) if echoed else response

    async def _read_body(self, request: Request, body: AsyncIterator[bytes]) -> None:
        """Number an admitted invocation and read its body; if that fails, free its place."""
        try:
            request.invocation = self._handlers.counters.next_invocation()
            async with asyncio.timeout(self._settings.read_timeout_s):
                request.body = await self._collect(body)
        except TimeoutError as err:
            self._admission.leave()
            raise RequestTimeout("The request took too long to arrive") from err
        except BaseException:
            self._admission.leave()
            raise

    async def _collect(self, body: AsyncIterator[bytes]) -> bytes:
        chunks = []
        size = 0
        async for chunk in body:
            size += len(chunk)
            if size > self._settings.max_payload_bytes:
                raise self._too_large()
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _handle_in_thread(self, request: Request) -> Response:
        """Run the handler in a thread; the request's place is free when the thread is."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Response] = loop.create_future()
        work = self._threads.submit(self._handlers.invocations, request)
        # One wake-up of the event loop both frees the place and hands over the response;
        # asyncio.wrap_future would take two.
        work.add_done_callback(partial(self._notify_loop, loop, answered))
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await answered
        except TimeoutError as err:
            # Work that has not begun is cancelled; a running thread cannot be, and keeps its place.
            if not work.cancel():
                loop.call_later(self._settings.timeout_s, self._replace_if_stuck, work)
            raise ProcessingTimeout(
                f"No answer within {self._settings.timeout_s:g} seconds"
            ) from err

    def _notify_loop(
        self,
        loop: asyncio.AbstractEventLoop,
        answered: asyncio.Future[Response],
        work: Future[Response],
    ) -> None:
        """Runs in the thread that has finished its work."""
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._finish, answered, work)

    def _finish(self, answered: asyncio.Future[Response], work: Future[Response]) -> None:
        self._admission.leave()
        if answered.done() or work.cancelled():
            return  # the deadline has passed, and the client has its 504
        error = work.exception()
        if error is not None:
            answered.set_exception(error)
        else:
            answered.set_result(work.result())

    def _replace_if_stuck(self, work: Future[Response]) -> None:
        """Stop this worker if a thread never ended: it can only be stopped with its process."""
        if not work.done():
            self._log.event("worker stuck", "error", timeout_s=self._settings.timeout_s)
            self._stop_worker()

    def _check_length(self, request: Request) -> None:
        """Refuse a body by its declared length, before any of it is read."""
        declared = request.headers.get("content-length", "")
        if not declared:
            return
        if not (declared.isascii() and declared.isdigit()):
            raise MalformedRequest("Content-Length is not a number")
        if int(declared) > self._settings.max_payload_bytes:
            raise self._too_large()

    def _too_large(self) -> PayloadTooLarge:
        return PayloadTooLarge(f"The body is larger than {self._settings.max_payload_bytes} bytes")

    def _record(self, request: Request, response: Response) -> None:
        """Count an answered invocation and write its log line."""
        duration_s = self.clock() - request.received_at
        self._handlers.counters.count_response(response.status, duration_s)
        self._log.event(
            "invocation",
            status=response.status,
            duration_s=round(duration_s, 6),
            invocation=request.invocation,
            container=self._settings.container_id,
            **response.facts,
        )


def _echoed_headers(request: Request) -> Headers:
    """Return the headers to repeat in the response.

    Raises:
        MalformedRequest: A value is too long, or could break the response's head.
    """
    echoed = []
    for key, (name, limit) in ECHOED.items():
        value = request.headers.get(key)
        if value is None:
            continue
        if len(value) > limit or not (value.isascii() and value.isprintable()):
            raise MalformedRequest(f"{name} is longer than {limit} ASCII characters")
        echoed.append((name, value))
    return tuple(echoed)
