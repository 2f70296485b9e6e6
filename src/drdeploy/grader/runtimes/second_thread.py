"""Check a photograph in a second thread, while the caller makes the model's input and predicts.

Pillow, NumPy and the runtimes let other threads of Python run while they compute. On two CPUs, a
photograph is therefore graded sooner, for about the same CPU time. If several photographs are being
graded, no CPU is idle, so each caller does all work itself.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable
    from concurrent.futures import ThreadPoolExecutor

    from drdeploy.grader.runtimes.photographs_in_progress import PhotographsInProgress

T = TypeVar("T")


class SecondThread:
    """A thread that does a task for its caller, unless other photographs are being graded.

    The thread is created when it gets its first task. Several threads may call the methods at once.

    Args:
        is_used: Whether to use the thread. Without a second CPU, the caller does all work itself.
        in_progress: The photographs that are being graded now.
    """

    def __init__(self, in_progress: PhotographsInProgress, *, is_used: bool) -> None:
        self.is_used = is_used
        self._in_progress = in_progress
        self._lock = threading.Lock()
        self._is_busy = False
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def start(self, work: Callable[[], T]) -> Callable[[], T] | None:
        """Start work in the thread, and return a function that waits for the work's result.

        Returns:
            None if the thread is not used or is busy, or if several photographs are being graded.
        """
        if not self.is_used:
            return None
        with self._lock:
            if self._is_busy or self._in_progress.are_several:
                return None
            self._is_busy = True
        try:
            return self._open_pool().submit(self._do_and_become_free, work).result
        except BaseException:
            self._is_busy = False
            raise

    def _do_and_become_free(self, work: Callable[[], T]) -> T:
        try:
            return work()
        finally:
            self._is_busy = False

    def _open_pool(self) -> ThreadPoolExecutor:
        # A process that was forked has a copy of the pool, but not its thread.
        if self._pool is None or self._process != os.getpid():
            from concurrent.futures import ThreadPoolExecutor

            self._pool, self._process = ThreadPoolExecutor(1, "second"), os.getpid()
        return self._pool
