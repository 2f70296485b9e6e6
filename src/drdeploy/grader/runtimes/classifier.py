"""Turn a model's raw outputs into predictions, with the settings in the model's manifest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import PredictionFailed
from drdeploy.grader.grading.adjustment import adjust_probabilities
from drdeploy.grader.grading.outputs import are_probability_distributions
from drdeploy.grader.grading.prediction import Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import ModelArtifact, Recalibration
    from drdeploy.grader.runtimes.runtime import Runtime


@dataclass(frozen=True)
class Classifier:
    """A loaded model that returns predictions.

    Usage: ``Classifier(artifact, load_model_in_runtime(artifact)).predict(batch)``.
    """

    artifact: ModelArtifact
    runtime: Runtime

    def predict(self, batch: NDArray[np.float32]) -> list[Prediction]:
        """Classify a batch of shape ``(n, height, width, 3)`` that the manifest's transform made.

        Raises:
            PredictionFailed: The output has the wrong shape, or does not consist of probabilities.
        """
        outputs = self.runtime.predict(batch)
        if outputs.ndim != 2 or len(outputs) != len(batch):
            raise PredictionFailed(
                f"The model gave an output of shape {outputs.shape} for {len(batch)} images"
            )
        manifest = self.artifact.manifest
        if manifest.output == "logits":
            outputs = softmax_of_logits(outputs)
        if (adapted := manifest.recalibration) is not None:
            outputs = _recalibrate_probabilities(outputs, adapted)
        classes = manifest.classes or tuple(f"class_{at}" for at in range(outputs.shape[1]))
        return [Prediction(row, classes, manifest.grade_thresholds) for row in outputs]


def _recalibrate_probabilities(
    probabilities: NDArray[np.float32], adapted: Recalibration
) -> NDArray[np.float32]:
    """Recalibrate probabilities; outputs that are not valid probabilities stay unchanged."""
    if not (
        probabilities.shape[1] == len(adapted.grade_weights)
        and np.all(np.isfinite(probabilities))
        and are_probability_distributions(probabilities)
    ):
        return probabilities
    return adjust_probabilities(
        np.maximum(probabilities, 0), adapted.temperature, adapted.grade_weights
    ).astype(np.float32)


def softmax_of_logits(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn logits of shape ``(n, classes)`` into probabilities."""
    # Without the subtraction, a logit above 88 overflows float32.
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)
