"""Measure quantization on photographs that the quantized network was not trained on.

The exported network was trained on all photographs, and makes almost no errors on them. On these
photographs, quantizing the network changes few answers, but this says nothing about new
photographs. Therefore, the network of every fold is quantized instead, and calibrated on the
photographs that it was trained on. It then grades the fold's validation photographs, which it has
not seen.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.grader.artifacts import ModelDescription, open_artifact, pack_archive
from drdeploy.grader.datasets import split_into_grouped_folds
from drdeploy.grader.evaluation.predictions import GradedSet, predict_dataset
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.networks.convert import save_as_onnx
from drdeploy.grader.quantization.convert import write_quantized_onnx
from drdeploy.grader.quantization.quantize import CALIBRATION_IMAGES, iterate_calibration_inputs
from drdeploy.grader.training.train import restore_network_of_fold

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.grader.quantization.convert import SmallPrecision
    from drdeploy.grader.training.train import TrainingPlan


def quantized_out_of_fold(
    plan: TrainingPlan,
    out_dir: Path,
    temperature: float,
    *,
    precision: SmallPrecision = "int8",
    note: Callable[[str], None] = lambda _: None,
) -> GradedSet:
    """Quantize each fold's network of a finished training run, and grade the fold with it.

    Args:
        plan: Plan of the run.
        out_dir: Folder of the run.
        temperature: The temperature with which the run's out-of-fold predictions were calibrated.
        precision: Number format to quantize to.
        note: A function that shows progress. It is called with a line of text for each fold.
    """
    folds = split_into_grouped_folds(plan.dataset, plan.folds, seed=plan.seed)
    probabilities = np.empty((len(plan.dataset), 5))
    for number, fold in enumerate(folds):
        note(f"{precision} of fold {number + 1} of {len(folds)}")
        chosen = np.random.default_rng(number).permutation(fold.train)[:CALIBRATION_IMAGES]
        network = restore_network_of_fold(plan, out_dir, number, temperature)
        calibration = plan.dataset.select_by_index(sorted(chosen.tolist()))
        validation = plan.dataset.select_by_index(fold.validation.tolist())
        with tempfile.TemporaryDirectory(prefix="drdeploy-quantize-") as scratch:
            fp32 = open_artifact(_packed(save_as_onnx(network, Path(scratch)), plan))
            small = write_quantized_onnx(
                fp32.entry_path,
                Path(scratch) / "small.onnx",
                precision,
                iterate_calibration_inputs(fp32, calibration),
            )
            service = InferenceService.load(_packed(small, plan))
            probabilities[fold.validation] = predict_dataset(service, validation).probabilities
    return GradedSet.from_dataset(plan.dataset, probabilities)


def _packed(model: Path, plan: TrainingPlan) -> Path:
    """Pack the model of a fold into an archive that a server can load."""
    archive = model.with_suffix(".tar.gz")
    description = ModelDescription(
        name=model.stem,
        architecture=plan.architecture.name,
        weights="trained",
        transform=plan.architecture.transform,
    )
    pack_archive(model, archive, description)
    return archive
