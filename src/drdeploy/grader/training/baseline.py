"""Train the study's head on a frozen network.

The network stays as it is, so its pooled features are computed once for each photograph, and
training a head on them takes seconds.
"""

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
    """Predict each fold with a head that was trained on the others.

    Args:
        features: Of a frozen network, shape ``(n, d)``.
        labels: Shape ``(n,)``, 0 to 4.
        folds: Every photograph validates once.
        seed: Of the heads' weights and the order of the photographs.

    Returns:
        Probabilities, shape ``(n, 5)``.
    """
    probabilities = np.zeros((len(labels), GRADES))
    for fold in folds:
        head = _train_head(features[fold.train], labels[fold.train], seed)
        # A head has no output for a grade that the other folds lack; its probability stays zero.
        columns = np.ix_(fold.validation, head.classes_)
        probabilities[columns] = head.predict_proba(features[fold.validation])
    return probabilities


def _train_head(features: NDArray[np.float32], labels: NDArray[np.intp], seed: int) -> Any:
    """Train two dense layers and a softmax by the preset ``study``.

    scikit-learn's network is the same as Keras's here (ReLU, uniform Glorot initialisation, Adam,
    cross-entropy) and many times faster at this size, a hundred thousand parameters.  Features are
    first scaled to unit deviation, because networks differ by orders of magnitude.  The scaling
    could be folded into the first dense layer, so the head still has the study's shape.
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
    # One thread: the matrix products are so small that a second thread waits longer than it works.
    with threadpool_limits(1), warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # the recipe says how many epochs
        return make_pipeline(StandardScaler(), head).fit(features, labels)
