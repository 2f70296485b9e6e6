"""Train new last layers on a frozen network, with the structure that the 2023 study used.

The network is frozen, so its pooled features are computed only once for each photograph. Training
the last layers on the pooled features takes seconds.
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


def train_heads_and_predict_out_of_fold(
    features: NDArray[np.float32],
    labels: NDArray[np.intp],
    folds: Sequence[Fold],
    *,
    seed: int,
) -> NDArray[np.float64]:
    """For each fold, train last layers on the other folds, and use them to grade the fold.

    Args:
        features: Pooled features of a frozen network, shape ``(n, d)``.
        labels: Shape ``(n,)``, 0 to 4.
        folds: Folds in which every photograph is in exactly one validation part.
        seed: Seed of the weights of the last layers and of the order of the photographs.

    Returns:
        Probabilities, shape ``(n, 5)``.
    """
    probabilities = np.zeros((len(labels), GRADES))
    for fold in folds:
        head = _train_last_layers_of_2023_study(features[fold.train], labels[fold.train], seed)
        # A head has no output for a grade that the other folds lack; its probability stays zero.
        columns = np.ix_(fold.validation, head.classes_)
        probabilities[columns] = head.predict_proba(features[fold.validation])
    return probabilities


def _train_last_layers_of_2023_study(
    features: NDArray[np.float32], labels: NDArray[np.intp], seed: int
) -> Any:
    """Train two dense layers and a softmax with the settings of the preset ``study``.

    The layers are trained with scikit-learn, which is many times faster than Keras for a hundred
    thousand parameters. The method is the same in both libraries: ReLU, uniform Glorot
    initialisation, Adam and cross-entropy. Features are first scaled to unit standard deviation,
    because the features of different networks differ by orders of magnitude. This does not change
    the structure of the network: the scaling can be merged into the weights of the first dense
    layer.
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
