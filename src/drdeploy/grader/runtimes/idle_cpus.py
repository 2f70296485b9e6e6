"""Predict on all CPUs while only one photograph is being graded, and on fewer otherwise.

A server with two workers on two CPUs gives each worker one thread. Two photographs are finished
sooner if they are graded at the same time, each on one thread, than in turn, each on two threads.
But while only one photograph is being graded, the other worker's CPU is idle. Each worker therefore
loads the model twice, with different numbers of threads. ONNX Runtime cannot change the number of
threads of a loaded model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from drdeploy.grader.runtimes.photographs_in_progress import PhotographsInProgress
    from drdeploy.grader.runtimes.runtime import OpenedModel, Runtime


class ModelForIdleCpus:
    """A loaded model, and the same model with more threads for a photograph that is graded alone.

    Args:
        opened: The model with this worker's share of the CPUs.
        open_wide: Loads the model with a thread for each CPU.
        in_progress: The photographs that are being graded now.
    """

    def __init__(
        self,
        opened: OpenedModel,
        open_wide: Callable[[], OpenedModel],
        in_progress: PhotographsInProgress,
    ) -> None:
        self._opened = opened
        self._open_wide = open_wide
        self._in_progress = in_progress
        self._wide: OpenedModel | None = None

    def load(self) -> None:
        """Load the model with more threads; until then, every prediction uses the first model.

        Raises:
            ModelLoadFailed: The runtime refuses the model.
        """
        self._wide = self._open_wide()

    def run(self, data: NDArray[Any], output: int) -> NDArray[Any]:
        """Predict a batch (see :attr:`OpenedModel.run`)."""
        wide = self._wide
        model = self._opened if wide is None or self._in_progress.are_several else wide
        return model.run(data, output)

    def replace_model_of(self, runtime: Runtime) -> Runtime:
        """Return a runtime that predicts with this model."""
        return replace(runtime, opened=replace(runtime.opened, run=self.run))
