"""Turn a model's raw outputs into predictions, as its manifest says."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import PredictionFailed
from drdeploy.grader.grading.prediction import Prediction

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import ModelArtifact
    from drdeploy.grader.runtimes.protocol import Runtime


@dataclass(frozen=True)
class Classifier:
    """A loaded model that answers with predictions.

    Usage: ``Classifier(artifact, load_runtime(artifact)).predict(batch)``.

    Attributes:
        artifact: The model's files and manifest.
        runtime: What loaded them.
    """

    artifact: ModelArtifact
    runtime: Runtime

    def predict(self, batch: NDArray[np.float32]) -> list[Prediction]:
        """Classify a batch ``(n, height, width, 3)`` that the manifest's transform made.

        Raises:
            PredictionFailed: The answer has the wrong shape, or is not probabilities.
        """
        outputs = self.runtime.predict(batch)
        if outputs.ndim != 2 or len(outputs) != len(batch):
            raise PredictionFailed(
                f"The model answered with shape {outputs.shape} for {len(batch)} images"
            )
        manifest = self.artifact.manifest
        if manifest.output == "logits":
            outputs = softmax(outputs)
        classes = manifest.classes or unnamed_classes(outputs.shape[1])
        return [Prediction(row, classes, manifest.grade_thresholds) for row in outputs]


def softmax(logits: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn logits ``(n, classes)`` into probabilities."""
    # Without the subtraction, a logit above 88 overflows float32.
    powers = np.exp(logits - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True), dtype=np.float32)


def unnamed_classes(count: int) -> tuple[str, ...]:
    """Name the outputs of a model whose manifest has no class names."""
    return tuple(f"class_{index}" for index in range(count))
