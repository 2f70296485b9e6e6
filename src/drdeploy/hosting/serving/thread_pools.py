"""Run invocations in threads, and limit how many may wait. A queue with its own threads is a lane.

There are two lanes: one for ordinary requests, and one for requests with a large image. Only one
large image at a time is decoded in a container, and decoding it can take a second or more. With
only one lane, ordinary photographs would wait behind the large image.
"""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from drdeploy.errors import Overloaded, ProcessingTimeout

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import Future

T = TypeVar("T")


class PoolJob:
    """The state of one piece of work, which the event loop and a thread share.

    Attributes:
        is_abandoned: Whether the work is no longer needed, because the client has been answered
            with 504.
        began_at: When the thread began to work, by the monotonic clock; None while it waits for its
            turn.
    """

    def __init__(self) -> None:
        self.is_abandoned = False
        self.began_at: float | None = None

    def mark_as_running(self) -> None:
        """Record that the work begins; the working thread calls this.

        Raises:
            ProcessingTimeout: The client has been answered with 504 already.
        """
        # At the deadline, the event loop sets `is_abandoned` and then reads `began_at`. The thread
        # does the opposite, so that work that begins at the very deadline is noticed by one of the
        # two.
        self.began_at = time.monotonic()
        if self.is_abandoned:
            raise ProcessingTimeout("No thread became free for the request in time")


class BoundedThreadPool:
    """One lane: some of a worker's threads, and places for the requests that run or wait.

    If no place is free, a request is refused at once, and the client can try another server. If the
    request were queued all the same, the queue would grow, and every request would take longer. The
    more memory a request needs to decode its images, the more places it takes.

    The class needs no lock, because only the worker's event loop calls it.

    Args:
        name: The name of the lane, with which the names of its threads begin.
        threads: How many requests are handled at once.
        places: How many places the lane has.
        processing_s: How long a request may take in all its steps, for messages.
        stuck_s: How long a thread may work on a request before it counts as stuck.
        stop_worker: Called if a thread is stuck. It ends the worker process, because Python cannot
            stop a single thread.
    """

    def __init__(
        self,
        name: str,
        *,
        threads: int,
        places: int,
        processing_s: float,
        stuck_s: float,
        stop_worker: Callable[[float], None],
    ) -> None:
        self._places = places
        self._taken = 0
        self._processing_s = processing_s
        self._stuck_s = stuck_s
        self._stop_worker = stop_worker
        # If all threads are busy, an admitted request waits in the pool's queue, whose length the
        # places limit.
        self._threads = ThreadPoolExecutor(threads, name)

    def refuse_if_no_free_places(self, places: int = 1) -> None:
        """Check that enough places are free; an idle lane accepts any request.

        Raises:
            Overloaded: Too few places are free.
        """
        if self._taken and self._taken + places > self._places:
            raise Overloaded(
                f"Too few of the worker's {self._places} places for requests are free",
                remedy="Try again in a moment",
            )

    async def run_in_thread(
        self, work: Callable[[PoolJob], T], *, places: int = 1, timeout_s: float
    ) -> T:
        """Run work in a thread. Its places stay taken until the thread has finished.

        Raises:
            Overloaded: Too few places are free.
            ProcessingTimeout: The work did not end in time.
        """
        self.refuse_if_no_free_places(places)
        self._taken += places
        loop = asyncio.get_running_loop()
        done: asyncio.Future[T] = loop.create_future()
        job = PoolJob()
        future = self._threads.submit(work, job)
        # One wake-up of the event loop both frees the places and hands over the result;
        # asyncio.wrap_future would take two.
        future.add_done_callback(partial(self._notify_loop_of_finished_job, loop, done, places))
        try:
            async with asyncio.timeout(timeout_s):
                return await done
        except TimeoutError as err:
            job.is_abandoned = True
            # Work that has not begun is cancelled. A running thread cannot be cancelled, and keeps
            # its place. If it still waits for its turn, it will not begin the work any more, so it
            # cannot be stuck.
            if not future.cancel() and job.began_at is not None:
                left_s = job.began_at + self._stuck_s - time.monotonic()
                loop.call_later(max(0.0, left_s), self._stop_worker_if_stuck, future)
            raise ProcessingTimeout(
                f"The model did not answer within {self._processing_s:g} seconds"
            ) from err

    def _notify_loop_of_finished_job(
        self,
        loop: asyncio.AbstractEventLoop,
        done: asyncio.Future[T],
        places: int,
        future: Future[T],
    ) -> None:
        """Tell the event loop that the work is finished; runs in the worker thread."""
        if not loop.is_closed():
            loop.call_soon_threadsafe(self._release_place_of_job, done, places, future)

    def _release_place_of_job(
        self, done: asyncio.Future[T], places: int, future: Future[T]
    ) -> None:
        self._taken -= places
        if done.done() or future.cancelled():
            return  # the deadline has passed, and the client got the answer 504
        error = future.exception()
        if error is not None:
            done.set_exception(error)
        else:
            done.set_result(future.result())

    def _stop_worker_if_stuck(self, future: Future[T]) -> None:
        """Stop the worker process if a thread has not finished a request by now."""
        if not future.done():
            self._stop_worker(self._stuck_s)
