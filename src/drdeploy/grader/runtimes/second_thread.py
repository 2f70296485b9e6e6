"""Compare a photograph with the training photographs in a second thread, on an idle CPU.

Pillow and NumPy let other threads of Python run while they compute. On two CPUs, a photograph is
therefore compared with the training photographs while its gradability is checked and the model's
input is made. A photograph takes less time, and about as much CPU time as before. If several
photographs are graded at once, no CPU is idle, and each caller does all work itself.
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
    """A thread that takes over a task of the caller, unless other photographs are being graded.

    The thread is started with its first task. Several threads may call the methods at once.

    Args:
        is_used: Whether there is a second CPU; otherwise the caller does all work itself.
        in_progress: The photographs that are being graded now.
    """

    def __init__(self, in_progress: PhotographsInProgress, *, is_used: bool) -> None:
        self.is_used = is_used
        self._in_progress = in_progress
        self._lock = threading.Lock()
        self._is_busy = False
        self._pool: ThreadPoolExecutor | None = None
        self._process = 0

    def start(self, work: Callable[[], T]) -> Callable[[], T]:
        """Start a task, and return a function that waits for its result.

        If the thread is not used or is busy, or if several photographs are being graded, the task
        is not started. The returned function then does the task itself when it is called.
        """
        if not self.is_used:
            return work
        with self._lock:
            if self._is_busy or self._in_progress.are_several:
                return work
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
