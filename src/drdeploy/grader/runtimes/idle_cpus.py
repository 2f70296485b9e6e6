"""Predict on all CPUs if only one photograph is being graded, and otherwise on fewer.

A server with two workers on two CPUs gives each worker one thread. Two photographs are finished
sooner if they are graded at the same time, each on one thread, than in turn, each on two threads.
But while only one photograph is being graded, the other CPU is idle. A second thread of Python then
uses the idle CPU to check the photograph during the prediction (see ``second_thread``). For a small
network, these checks take at least as long as the prediction, so both CPUs are busy. A large
network predicts for longer than the checks take. It is therefore loaded twice: once with few
threads, and once with a thread for each CPU. ONNX Runtime cannot change the number of threads of a
loaded model.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from drdeploy.grader.runtimes.photographs_in_progress import PhotographsInProgress
    from drdeploy.grader.runtimes.runtime import OpenedModel, Runtime

LONG_PREDICTION_S = 0.006
"""A prediction that takes longer than this on few threads gets more threads. The checks of a
photograph take 5 ms. On two CPUs, MobileNet in int8 predicts in 3.4 ms on one thread. Grading a
photograph then takes 8.9 ms in all; with two threads for the network, grading takes 10.0 ms.
MobileNet in fp32 predicts in 8 ms on one thread. Grading then takes 14.9 ms, and 12.7 ms with two
threads."""


class ModelForIdleCpus:
    """A loaded model, and the same model with more threads for a photograph that is graded alone.

    Args:
        opened: The model with few threads, for times when several photographs are being graded.
        open_wide: Function that loads the model a second time, with more threads.
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

    def load_if_worthwhile(self, predict_s: float) -> None:
        """Load the model with more threads, unless it predicts too fast to need them.

        Args:
            predict_s: How many seconds a prediction takes on few threads.

        Raises:
            ModelLoadFailed: The runtime refuses the model.
        """
        if predict_s >= LONG_PREDICTION_S:
            self._wide = self._open_wide()

    def run(self, data: NDArray[Any], output: int) -> NDArray[Any]:
        """Predict a batch (see :attr:`OpenedModel.run`)."""
        wide = self._wide
        model = self._opened if wide is None or self._in_progress.are_several else wide
        return model.run(data, output)

    def replace_model_of(self, runtime: Runtime) -> Runtime:
        """Return a copy of a runtime; the copy predicts with this pair of models."""
        return replace(runtime, opened=replace(runtime.opened, run=self.run))
