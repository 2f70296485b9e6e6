"""Train the last convolution without labels, before a network is trained with them.

The convolution learns to give two augmented passes of a photograph nearly the same features, while
the features of different photographs stay different (VICReg: Bardes, Ponce and LeCun, ICLR 2022).
"""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from recipe_optimizer import OnePassAdamW

from drdeploy.grader.networks.frameworks import import_tensorflow_and_keras

if TYPE_CHECKING:
    from numpy.typing import NDArray

EPOCHS: Final = 10
PAIRS: Final = 32
"""Photographs in a step, each with two passes."""
EXPANDED: Final = 256
"""Numbers in the vector, computed from the features, that the loss compares."""
LEARNING_RATE: Final = 3e-4
WEIGHT_DECAY: Final = 1e-4
CLIP_NORM: Final = 1.0
INVARIANCE, VARIANCE, COVARIANCE = 25.0, 25.0, 1.0
"""Weights of the three parts of the loss, as in the paper."""
SMALLEST_VARIANCE: Final = 1e-4


class FeaturePretraining:
    """Trains the layers between the frozen layers and the pooled features, again and again."""

    def __init__(self, pooled: Any) -> None:
        """Take a Keras model from the frozen layers' outputs to the pooled features."""
        self._tf, keras = import_tensorflow_and_keras()
        self._pooled = pooled
        widths = (pooled.output_shape[-1], EXPANDED, EXPANDED)
        self._expanders = [
            keras.Variable(np.zeros(shape), dtype="float32") for shape in pairwise(widths)
        ]
        self._variables = [*pooled.trainable_variables, *self._expanders]
        self._optimizer = OnePassAdamW(self._variables, WEIGHT_DECAY, CLIP_NORM)
        self._optimizer.learning_rate.assign(LEARNING_RATE)
        self._step = self._tf.function(self._train_on_one_batch, autograph=False)

    def train(self, passes: NDArray[np.float16], chosen: NDArray[np.intp], *, seed: int) -> None:
        """Change the weights of the layers.

        Args:
            passes: The frozen layers' outputs, shape ``(passes, n, height, width, channels)``.
            chosen: Places of the photographs to train on.
            seed: Seed of the first weights, of the order and of the choice of passes.
        """
        rng = np.random.default_rng([seed, 2])
        for one in self._expanders:
            limit = np.sqrt(6 / sum(one.shape))
            one.assign(rng.uniform(-limit, limit, size=one.shape))
        self._optimizer.forget()
        for _ in range(EPOCHS):
            order = rng.permutation(chosen)
            for at in range(0, len(order) - PAIRS + 1, PAIRS):
                batch = order[at : at + PAIRS]
                two = np.array([rng.choice(len(passes), 2, replace=False) for _ in batch])
                self._step(*(self._tf.constant(passes[two[:, one], batch]) for one in range(2)))

    def _train_on_one_batch(self, first: Any, second: Any) -> Any:
        tf = self._tf
        with tf.GradientTape(watch_accessed_variables=False) as tape:
            tape.watch([variable.value for variable in self._variables])
            loss = self._loss(self._expand(first), self._expand(second))
        self._optimizer.apply(tape.gradient(loss, self._variables), self._variables)
        return loss

    def _expand(self, batch: Any) -> Any:
        tf = self._tf
        features = self._pooled(tf.cast(batch, tf.float32), training=False)
        first, second = self._expanders
        return tf.nn.relu(tf.cast(features, tf.float32) @ first) @ second

    def _loss(self, first: Any, second: Any) -> Any:
        tf = self._tf
        loss = INVARIANCE * tf.reduce_mean((first - second) ** 2)
        for one in (first, second):
            centred = one - tf.reduce_mean(one, axis=0)
            deviations = tf.sqrt(tf.math.reduce_variance(one, axis=0) + SMALLEST_VARIANCE)
            loss += VARIANCE / 2 * tf.reduce_mean(tf.nn.relu(1 - deviations))
            covariance = tf.matmul(centred, centred, transpose_a=True) / (PAIRS - 1)
            covariance -= tf.linalg.diag(tf.linalg.diag_part(covariance))
            loss += COVARIANCE * tf.reduce_sum(covariance**2) / EXPANDED
        return loss
