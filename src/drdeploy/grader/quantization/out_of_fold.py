"""What quantization does to photographs that no network has seen.

The exported network was trained on all photographs, on which it hardly errs any more: there,
rounding its weights changes little and proves nothing.  So every fold's network is quantized,
calibrated on its own training photographs, and predicts its validation photographs.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.grader.artifacts import extract, pack
from drdeploy.grader.datasets import grouped_folds
from drdeploy.grader.evaluation.predictions import GradedSet
from drdeploy.grader.networks.convert import convert_to_onnx
from drdeploy.grader.quantization.convert import quantize_onnx
from drdeploy.grader.quantization.quantize import CALIBRATION_IMAGES, calibration_batches
from drdeploy.grader.runtimes.load import load_runtime
from drdeploy.grader.training.train import network_of_fold

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.fundus.transform import FundusTransform
    from drdeploy.grader.quantization.convert import SmallPrecision
    from drdeploy.grader.training.train import TrainingPlan

BATCH = 16


def quantized_out_of_fold(
    plan: TrainingPlan,
    out_dir: Path,
    temperature: float,
    *,
    precision: SmallPrecision = "int8",
    note: Callable[[str], None] = lambda _: None,
) -> GradedSet:
    """Out-of-fold predictions of a finished run, quantized.

    Args:
        plan: Of the run.
        out_dir: Its folder.
        temperature: That its out-of-fold predictions were calibrated with.
        precision: To quantize to.
        note: Told what goes on.
    """
    folds = grouped_folds(plan.dataset, plan.folds, seed=plan.seed)
    probabilities = np.empty((len(plan.dataset), 5))
    for number, fold in enumerate(folds):
        note(f"{precision} of fold {number + 1} of {len(folds)}")
        chosen = np.random.default_rng(number).permutation(fold.train)[:CALIBRATION_IMAGES]
        network = network_of_fold(plan, out_dir, number, temperature)
        calibration = plan.dataset.take(sorted(chosen.tolist()))
        validation = plan.dataset.take(fold.validation.tolist())
        probabilities[fold.validation] = _predict(
            network, plan.architecture.transform, precision, calibration, validation
        )
    return GradedSet.of(plan.dataset, probabilities)


def _predict(
    network: Any,
    transform: FundusTransform,
    precision: SmallPrecision,
    calibration: Dataset,
    validation: Dataset,
) -> NDArray[np.float32]:
    with tempfile.TemporaryDirectory(prefix="drdeploy-quantize-") as scratch:
        folder = Path(scratch)
        small = quantize_onnx(
            convert_to_onnx(network, folder),
            folder / "small.onnx",
            precision,
            calibration_batches(calibration, transform),
        )
        pack(small, folder / "small.tar.gz", name="fold", transform=transform)
        runtime = load_runtime(extract(folder / "small.tar.gz", folder / "small"))
        batches = list(calibration_batches(validation, transform))
    return np.concatenate([
        runtime.predict(np.concatenate(batches[at : at + BATCH]))
        for at in range(0, len(batches), BATCH)
    ])  # fmt: skip
