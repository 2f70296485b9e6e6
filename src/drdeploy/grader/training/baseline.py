"""The study's head on a frozen network: trained on pooled features, so it takes seconds."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.grader.evaluation.metrics import GRADES
from drdeploy.grader.networks.network import HIDDEN_UNITS
from drdeploy.grader.training.recipe import STUDY

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from drdeploy.grader.datasets import Fold


def predict_out_of_fold(
    features: NDArray[np.float32],
    labels: NDArray[np.intp],
    folds: Sequence[Fold],
    *,
    seed: int,
) -> NDArray[np.float64]:
    """Train a head on all folds but one, and predict that one; for each.

    Args:
        features: Of a frozen network, shape ``(n, d)``.
        labels: Shape ``(n,)``, 0 to 4.
        folds: Every photograph is validated once.
        seed: Of the heads' weights and the order of the photographs.

    Returns:
        Probabilities, shape ``(n, 5)``.
    """
    probabilities = np.zeros((len(labels), GRADES))
    for fold in folds:
        head = _train_head(features[fold.train], labels[fold.train], seed)
        # A grade that no other fold has is never answered.
        columns = np.ix_(fold.validation, head.classes_)
        probabilities[columns] = head.predict_proba(features[fold.validation])
    return probabilities


def _train_head(features: NDArray[np.float32], labels: NDArray[np.intp], seed: int) -> Any:
    """Two dense layers and a softmax, by the preset ``study``.

    scikit-learn's network is the same as Keras's here (ReLU, Glorot's uniform start, Adam, cross
    entropy) and, for a hundred thousand parameters, many times faster.  Features are scaled to
    unit deviation first, as networks differ by orders of magnitude; that scaling could be folded
    into the first dense layer, so the graph is still the study's.
    """
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.neural_network import MLPClassifier
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from threadpoolctl import threadpool_limits

    head = MLPClassifier(
        (HIDDEN_UNITS, HIDDEN_UNITS),
        alpha=STUDY.weight_decay,
        batch_size=min(STUDY.batch_size, len(labels)),
        learning_rate_init=STUDY.learning_rate,
        max_iter=STUDY.epochs,
        n_iter_no_change=STUDY.epochs,
        random_state=seed,
    )
    # One thread: the products are small, and a second thread waits longer than it works.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the recipe says how many epochs
        return make_pipeline(StandardScaler(), head).fit(features, labels)
