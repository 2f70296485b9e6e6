"""Run the model on the photographs of several threads together, in batches.

A GPU needs little more time for sixteen photographs than for one. Each thread of a server asks for
the prediction of one photograph. The first thread waits a short time for other threads, and then
runs the model on the photographs of all these threads in one batch. While the model runs on one
batch, the next batch forms. The first thread waits only if the server is busy: if the previous
batch had photographs of several threads, or if photographs arrived while the model ran on the
previous batch. Therefore, no thread waits if requests come one at a time.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.errors import InvalidInput, PredictionFailed

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from drdeploy.grader.runtimes.runtime import Runtime

    Run = Callable[[NDArray[Any], int], NDArray[Any]]


@dataclass(eq=False)
class _Waiting:
    """A waiting thread's photographs and, once the model has run on them, the outputs or error."""

    data: NDArray[Any]
    output: int
    is_done: bool = False
    outputs: NDArray[Any] = field(default_factory=lambda: np.empty(0))
    error: Exception | None = None


class BatchFormer:
    """Combines photographs of several threads into batches, and runs the model on each batch.

    Args:
        run: Function that runs the model on one batch.
        largest: The largest number of photographs in a batch. The photographs of one thread are
            never split, even if there are more of them.
        wait_s: The longest time in seconds for which a thread waits for photographs of other
            threads.
        clock: Function that returns the time in seconds.
    """

    def __init__(
        self,
        run: Run,
        *,
        largest: int,
        wait_s: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._run = run
        self._largest = largest
        self._wait_s = wait_s
        self._clock = clock
        self._changed = threading.Condition()
        self._waiting: list[_Waiting] = []
        self._is_led = False
        self._was_shared = False

    def predict_in_shared_batch(self, data: NDArray[Any], output: int) -> NDArray[Any]:
        """Predict a batch, together with the waiting photographs of other threads.

        Raises:
            PredictionFailed: The library refuses the whole batch.
        """
        mine = _Waiting(data, output)
        with self._changed:
            self._waiting.append(mine)
            self._changed.notify_all()
        while not mine.is_done:
            batch = self._lead_or_wait(mine)
            if batch:
                self._predict_batch_for_all_threads(batch)
        if mine.error is not None:
            # Each thread needs an exception of its own: a raised one grows a traceback.
            raise PredictionFailed(
                "The model failed on the batch that contains the photograph"
            ) from mine.error
        return mine.outputs

    def _lead_or_wait(self, mine: _Waiting) -> list[_Waiting]:
        """Return a batch for this thread to predict; empty if the thread's photographs are done."""
        with self._changed:
            while self._is_led and not mine.is_done:
                self._changed.wait()
            if mine.is_done:
                return []
            self._is_led = True
            if self._was_shared:
                end = self._clock() + self._wait_s
                while (
                    self._count_waiting_images() < self._largest
                    and (left := end - self._clock()) > 0
                ):
                    self._changed.wait(left)
            return self._take_batch_of_waiting_images(mine)

    def _count_waiting_images(self) -> int:
        return sum(len(one.data) for one in self._waiting)

    def _take_batch_of_waiting_images(self, mine: _Waiting) -> list[_Waiting]:
        """Take this thread's photographs, and those of other threads that fit into the batch."""
        batch = [mine]
        size = len(mine.data)
        for one in self._waiting:
            fits = one.output == mine.output and size + len(one.data) <= self._largest
            if one is not mine and fits:
                batch.append(one)
                size += len(one.data)
        self._waiting = [one for one in self._waiting if one not in batch]
        return batch

    def _predict_batch_for_all_threads(self, batch: list[_Waiting]) -> None:
        error: Exception | None = None
        try:
            data = batch[0].data if len(batch) == 1 else np.concatenate([o.data for o in batch])
            outputs = self._run(data, batch[0].output)
            begin = 0
            for one in batch:
                one.outputs = outputs[begin : begin + len(one.data)]
                begin += len(one.data)
        except Exception as err:  # noqa: BLE001 - every thread of the batch must hear of it
            error = err
        with self._changed:
            for one in batch:
                one.error, one.is_done = error, True
            self._was_shared = len(batch) > 1 or bool(self._waiting)
            self._is_led = False
            self._changed.notify_all()


def form_batches_in_runtime(runtime: Runtime, *, largest: int, wait_s: float) -> Runtime:
    """Return a runtime that combines the photographs of several threads into batches.

    Raises:
        InvalidInput: The model only takes batches of a fixed size.
    """
    size = runtime.signature.batch_size
    if size is not None:
        raise InvalidInput(
            f"No batches can be formed: the model only takes batches of size {size}",
            where="DRDEPLOY_BATCH_WAIT_MS",
            remedy="Export the model for batches of any size, or unset DRDEPLOY_BATCH_WAIT_MS",
        )
    former = BatchFormer(runtime.opened.run, largest=largest, wait_s=wait_s)
    return replace(runtime, opened=replace(runtime.opened, run=former.predict_in_shared_batch))
