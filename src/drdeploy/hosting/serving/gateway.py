"""From a request's head to its answer: routes, bounds, deadlines, threads, the log.

Small answers are given on the event loop, so that ``/ping`` answers while models compute;
an invocation takes a place, has its body read within bounds, and runs in a thread.
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
    Head,
    Request,
    Response,
    internal_failure,
    method_refusal,
    refusal,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from concurrent.futures import Future

    from drdeploy.hosting.serving.handlers import Handlers
    from drdeploy.hosting.serving.log import Log

INVOCATIONS = "/invocations"
ECHOED = {
    "x-amzn-sagemaker-custom-attributes": ("X-Amzn-SageMaker-Custom-Attributes", 1024),
    "x-amzn-sagemaker-inference-id": ("X-Amzn-SageMaker-Inference-Id", 64),
}
"""Headers given back to the client, with SageMaker's limits in ASCII characters."""


class Gateway:
    """Answers requests with the handlers of one worker."""

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
        self._threads = ThreadPoolExecutor(handlers.concurrency, "inference")
        self._routes = {
            "/ping": ("GET", handlers.ping),
            "/execution-parameters": ("GET", handlers.execution_parameters),
            "/metadata": ("GET", handlers.metadata),
            "/metrics": ("GET", handlers.metrics),
        }

    async def answer(self, head: Head, body: AsyncIterator[bytes]) -> Response:
        """Answer one request; an error becomes a refusal, never an exception.

        Args:
            head: The request as far as it is read.
            body: The rest, read only if it is wanted.

        Raises:
            ClientGone: By ``body``; there is nobody to answer.
        """
        if head.path == INVOCATIONS and head.method == "POST":
            return await self._invocation(head, body)
        try:
            return self._small(head)
        except DrdeployError as err:
            return refusal(err)
        except Exception as err:  # noqa: BLE001 - the last line of defence
            self._log.failure("request failed", err, path=head.path)
            return internal_failure()

    def _small(self, head: Head) -> Response:
        method, handler = self._routes.get(head.path, (None, None))
        if head.path == INVOCATIONS:
            method = "POST"
        if method is None:
            raise UnknownPath("There is nothing at this path")
        if handler is None or head.method != method:
            return method_refusal(MethodNotAllowed(f"This path only answers {method}"), (method,))
        return handler(Request(head))

    async def _invocation(self, head: Head, body: AsyncIterator[bytes]) -> Response:
        number = 0
        echoed: tuple[tuple[str, str], ...] = ()
        try:
            echoed = _echo(head)
            self._check_length(head)
            self._admission.enter()
            number, request = await self._read(head, body)
            response = await self._work(request)
        except ClientGone:
            self._log.event("client gone", invocation=number)
            raise
        except DrdeployError as err:
            response = refusal(err)
            if response.status >= 500:
                self._log.failure("invocation failed", err, invocation=number)
        except Exception as err:  # noqa: BLE001 - a client must get an answer
            response = internal_failure()
            self._log.failure("invocation failed", err, invocation=number)
        self._record(head, response, number)
        return replace(response, headers=response.headers + echoed)

    async def _read(self, head: Head, body: AsyncIterator[bytes]) -> tuple[int, Request]:
        """Read the body in a place just taken, which is given back if that fails."""
        try:
            number = self._handlers.counters.next_invocation()
            async with asyncio.timeout(self._settings.read_timeout_s):
                data = await self._collect(body)
        except TimeoutError as err:
            self._admission.leave()
            raise RequestTimeout("The request took too long to arrive") from err
        except BaseException:
            self._admission.leave()
            raise
        return number, Request(head, data, number)

    async def _collect(self, body: AsyncIterator[bytes]) -> bytes:
        chunks = []
        size = 0
        async for chunk in body:
            size += len(chunk)
            if size > self._settings.max_payload_bytes:
                raise self._too_large()
            chunks.append(chunk)
        return chunks[0] if len(chunks) == 1 else b"".join(chunks)

    async def _work(self, request: Request) -> Response:
        """Run the handler in a thread; its place is free when the thread is."""
        loop = asyncio.get_running_loop()
        answered: asyncio.Future[Response] = loop.create_future()
        work = self._threads.submit(self._handlers.invocations, request)
        work.add_done_callback(partial(self._hand_over, loop, answered))
        try:
            async with asyncio.timeout(self._settings.timeout_s):
                return await answered
        except TimeoutError as err:
            if not work.cancel():
                loop.call_later(self._settings.timeout_s, self._replace_if_stuck, work)
            raise ProcessingTimeout(
                f"No answer within {self._settings.timeout_s:g} seconds"
            ) from err

    def _hand_over(
        self,
        loop: asyncio.AbstractEventLoop,
        answered: asyncio.Future[Response],
        work: Future[Response],
    ) -> None:
        """In the thread: one wake-up of the loop, for the answer and for the place."""
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._finish, answered, work)

    def _finish(self, answered: asyncio.Future[Response], work: Future[Response]) -> None:
        self._admission.leave()
        if answered.done() or work.cancelled():
            return  # too late: the client has been told so
        error = work.exception()
        if error is not None:
            answered.set_exception(error)
        else:
            answered.set_result(work.result())

    def _replace_if_stuck(self, work: Future[Response]) -> None:
        """A thread cannot be stopped; a process can, and another takes its place."""
        if not work.done():
            self._log.event("worker stuck", "error", timeout_s=self._settings.timeout_s)
            self._stop_worker()

    def _check_length(self, head: Head) -> None:
        declared = head.headers.get("content-length", "")
        if not declared:
            return
        if not (declared.isascii() and declared.isdigit()):
            raise MalformedRequest("Content-Length is no number")
        if int(declared) > self._settings.max_payload_bytes:
            raise self._too_large()

    def _too_large(self) -> PayloadTooLarge:
        limit = self._settings.max_payload_bytes
        return PayloadTooLarge(f"The body is larger than {limit} bytes")

    def _record(self, head: Head, response: Response, number: int) -> None:
        duration_s = self.clock() - head.received_at
        self._handlers.counters.count_response(response.status, duration_s)
        self._log.event(
            "invocation",
            status=response.status,
            duration_s=round(duration_s, 6),
            invocation=number,
            container=self._handlers.container_id,
            **response.facts,
        )


def _echo(head: Head) -> tuple[tuple[str, str], ...]:
    return tuple(
        (name, _checked(head.headers[key], name, limit))
        for key, (name, limit) in ECHOED.items()
        if key in head.headers
    )


def _checked(value: str, name: str, limit: int) -> str:
    if len(value) > limit or not (value.isascii() and value.isprintable()):
        raise MalformedRequest(f"{name} is longer than {limit} ASCII characters")
    return value
