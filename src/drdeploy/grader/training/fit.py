"""Train one network with a learning-rate schedule and checkpoints.

All random numbers are drawn from ``(seed, epoch, step)``. Therefore a training that continues from
a checkpoint ends with the same weights as a training without interruption.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.grader.evaluation.metrics import (
    GRADES,
    compute_quadratic_weighted_kappa,
    count_confusion_matrix,
)
from drdeploy.grader.grading.prediction import grades_from_probabilities
from drdeploy.grader.networks.frameworks import import_tensorflow_and_keras
from drdeploy.grader.networks.network import extract_pooled_feature_network
from drdeploy.grader.training.augmentation import augment_photographs
from drdeploy.grader.training.checkpoint import Checkpoint, History
from drdeploy.grader.training.frozen_features import FrozenFeatures, split_network_at_layer
from drdeploy.grader.training.scaling import scale_pixel_values

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from drdeploy.grader.datasets import Fold
    from drdeploy.grader.fundus.transform import FundusTransform
    from drdeploy.grader.training.prepared_photographs import PreparedPhotographs
    from drdeploy.grader.training.recipe import Recipe

MEDIAN_GRADE = (0.5, 0.5, 0.5, 0.5)
"""With these thresholds, a photograph's grade is the posterior median. This is the grade whose
expected distance from the true grade is smallest.
"""

NEIGHBOUR_SPREAD = 0.5
"""How far smoothing spreads a label over neighbouring grades: a standard deviation in grades."""


def fit_network(
    network: Any,
    transform: FundusTransform,
    prepared: PreparedPhotographs,
    fold: Fold,
    recipe: Recipe,
    *,
    seed: int,
    frozen: FrozenFeatures | None = None,
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[History], None] = lambda _: None,
) -> History:
    """Train a network in place.

    Args:
        network: A network with weights, from
            :func:`drdeploy.grader.networks.network.build_network`.
        transform: The network's transform, for its size and value range.
        prepared: The photographs.
        fold: The photographs for training, and the photographs on which kappa is computed after
            every epoch. The second part may be empty.
        recipe: All settings of the training.
        seed: Seed of the order of the photographs and of the augmentation.
        frozen: The output of the frozen layers, if the recipe freezes layers. It was computed on
            photographs that are already augmented, so ``seed`` then affects only their order.
        checkpoint: File that is written after every epoch; if it exists, the training continues
            from it.
        on_epoch: Function that is called with the history after every epoch.

    Returns:
        Loss and validation kappa of each epoch.
    """
    trainer = _Trainer(
        network, transform, prepared, recipe, positions=fold.train, frozen=frozen, seed=seed
    )
    history = (
        History() if checkpoint is None else checkpoint.restore_state(trainer.list_variables())
    )
    best = None if checkpoint is None else checkpoint.read_best_variables()
    predict = _make_validation_function(network, transform, prepared, recipe, frozen)
    while history.finished_epochs < recipe.epochs and not history.is_kappa_stalled(recipe.patience):
        loss = trainer.train_one_epoch(history.finished_epochs)
        kappa = None
        if fold.validation.size:
            grades = grades_from_probabilities(predict(fold.validation), MEDIAN_GRADE)
            confusion = count_confusion_matrix(prepared.labels[fold.validation], grades)
            kappa = float(compute_quadratic_weighted_kappa(confusion))
            kappa = None if math.isnan(kappa) else kappa
        history = history.with_epoch(loss, kappa)
        if recipe.patience and history.is_last_epoch_best:
            best = [variable.numpy() for variable in network.variables]
        if checkpoint is not None:
            checkpoint.save_state(trainer.list_variables(), history, best)
        on_epoch(history)
    if best is not None:
        for variable, value in zip(network.variables, best, strict=True):
            variable.assign(value)
        if checkpoint is not None:
            checkpoint.save_state(trainer.list_variables(), history, best)
    return history


def make_prediction_function(
    network: Any, transform: FundusTransform, *, batch_size: int = 16
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Return a function that computes a network's output from pixels ``(n, h, w, 3)``.

    TensorFlow compiles the network only once, but each call uses the current values of the
    network's variables.
    """
    tf = import_tensorflow_and_keras().tensorflow
    step = tf.function(
        lambda batch: network(scale_pixel_values(batch, transform), training=False),
        autograph=False,
    )

    return lambda pixels: predict_in_batches(step, pixels, batch_size)


def predict_in_batches(
    step: Callable[[Any], Any], inputs: NDArray[np.generic], batch_size: int = 16
) -> NDArray[np.float32]:
    """Compute a network's output for many rows of input, batch by batch."""
    tf = import_tensorflow_and_keras().tensorflow
    answers = [
        step(tf.constant(inputs[at : at + batch_size])).numpy()
        for at in range(0, len(inputs), batch_size)
    ]
    return np.concatenate(answers).astype(np.float32)


def _make_validation_function(
    network: Any,
    transform: FundusTransform,
    prepared: PreparedPhotographs,
    recipe: Recipe,
    frozen: FrozenFeatures | None,
) -> Callable[[NDArray[np.intp]], NDArray[np.float32]]:
    """Return a function that computes predictions for the photographs at given positions."""
    if frozen is None:
        predict = make_prediction_function(network, transform)
        return lambda positions: predict(prepared.exact[positions])
    tf = import_tensorflow_and_keras().tensorflow
    _, upper = split_network_at_layer(network, recipe.frozen_up_to)
    step = tf.function(lambda batch: upper(batch, training=False), autograph=False)
    return lambda positions: predict_in_batches(step, frozen.exact[positions])


class _Trainer:
    """Runs epochs of training with a network, its optimizer, and a compiled training step.

    Training has two stages: first only the last layers are trained, then all layers that are not
    frozen.
    """

    def __init__(
        self,
        network: Any,
        transform: FundusTransform,
        prepared: PreparedPhotographs,
        recipe: Recipe,
        *,
        positions: NDArray[np.intp],
        frozen: FrozenFeatures | None,
        seed: int,
    ) -> None:
        self._tf, self._keras = import_tensorflow_and_keras()
        self._network = network
        self._transform = transform
        self._prepared = prepared
        self._positions = positions
        self._frozen = frozen
        self._recipe = recipe
        self._seed = seed
        labels = prepared.labels[positions]
        self._targets = smooth_labels_to_neighbours(labels, recipe.smoothing)
        self._weights = compute_sample_weights(labels, recipe.class_weight_power)
        self._steps = max(1, len(labels) // recipe.batch_size)
        self._freeze_or_train_base_network(base_too=recipe.trainable == "all")
        self._optimizer = self._keras.optimizers.AdamW(
            recipe.learning_rate, weight_decay=recipe.weight_decay, clipnorm=recipe.clip_norm
        )
        # Small gradients are zero in half precision unless the loss is scaled up first.
        if self._keras.mixed_precision.dtype_policy().name == "mixed_float16":
            self._optimizer = self._keras.optimizers.LossScaleOptimizer(self._optimizer)
        self._all_variables = list(network.trainable_variables)
        self._optimizer.build(self._all_variables)
        last = network.get_layer("grades")
        self._last = last
        start = network.input
        if frozen is not None:
            start = network.get_layer(recipe.frozen_up_to).output
        self._features = self._keras.Model(start, last.input)
        base = {id(variable) for variable in extract_pooled_feature_network(network).variables}
        self._head_variables = [
            variable for variable in self._all_variables if id(variable) not in base
        ]
        self._step_of_head = self._tf.function(
            self._make_training_step(self._head_variables), autograph=False
        )
        self._step_of_all = self._tf.function(
            self._make_training_step(self._all_variables), autograph=False
        )

    def list_variables(self) -> list[Any]:
        """Return all variables that training changes."""
        return [*self._network.variables, *self._optimizer.variables]

    def train_one_epoch(self, epoch: int) -> float:
        """Train on the photographs once, in random order, and return the mean loss.

        If the last batch is not full, it is left out, unless it is the only one.
        """
        recipe = self._recipe
        order = np.random.default_rng([self._seed, epoch]).permutation(len(self._positions))
        is_head_only = recipe.trainable == "head" or epoch < recipe.head_epochs
        step = self._step_of_head if is_head_only else self._step_of_all
        losses = []
        for number in range(self._steps):
            chosen = order[number * recipe.batch_size : (number + 1) * recipe.batch_size]
            done = epoch * self._steps + number
            self._optimizer.learning_rate = learning_rate_at_step(done, self._steps, recipe)
            loss = step(
                self._tf.constant(self._read_inputs(epoch, chosen)),
                self._tf.constant(self._targets[chosen]),
                self._tf.constant(self._weights[chosen]),
                self._tf.constant([self._seed, done], dtype=self._tf.int32),
            )
            losses.append(float(loss))
        return float(np.mean(losses))

    def _read_inputs(self, epoch: int, chosen: NDArray[np.intp]) -> NDArray[np.generic]:
        """Return the photographs' pixels or, if layers are frozen, the frozen layers' output."""
        positions = self._positions[chosen]
        if self._frozen is None:
            return self._prepared.large[positions]
        return self._frozen.augmented[epoch][positions]

    def _freeze_or_train_base_network(self, *, base_too: bool) -> None:
        """Freeze the whole base, or its batch normalisation and the layers up to a given one."""
        is_frozen = bool(self._recipe.frozen_up_to)
        for layer in extract_pooled_feature_network(self._network).layers:
            is_norm = isinstance(layer, self._keras.layers.BatchNormalization)
            layer.trainable = base_too and not is_norm and not is_frozen
            # The layers of a base are in the order in which they compute.
            is_frozen = is_frozen and layer.name != self._recipe.frozen_up_to

    def _make_training_step(self, chosen: list[Any]) -> Callable[..., Any]:
        tf, recipe, transform = self._tf, self._recipe, self._transform
        scale = tf.range(GRADES, dtype=tf.float32)

        def make_network_input(pixels: Any, seed: Any) -> Any:
            size = (transform.height_px, transform.width_px)
            images = augment_photographs(pixels, *size, seed, recipe.augmentation)
            return scale_pixel_values(images, transform)

        def train_on_one_batch(given: Any, targets: Any, weights: Any, seed: Any) -> Any:
            inputs = given if self._frozen is not None else make_network_input(given, seed)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([variable.value for variable in chosen])
                features = self._features(inputs, training=True)
                logits = tf.cast(features, tf.float32) @ self._last.kernel + self._last.bias
                entropy = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
                expected = tf.linalg.matvec(tf.nn.softmax(logits), scale)
                distance = expected - tf.linalg.matvec(targets, scale)
                loss = tf.reduce_mean(weights * (entropy + recipe.ordinal_weight * distance**2))
                scaled = self._optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, chosen)
            self._optimizer.apply(gradients, chosen)
            return loss

        return train_on_one_batch


def learning_rate_at_step(done: int, steps_per_epoch: int, recipe: Recipe) -> float:
    """Return the learning rate after ``done`` steps: a linear rise, then a fall along a cosine.

    If the recipe has a ``head_learning_rate``, the first ``head_epochs`` epochs have this rate.
    """
    warm, total = recipe.warm_up_epochs * steps_per_epoch, recipe.epochs * steps_per_epoch
    if recipe.head_learning_rate:
        head = recipe.head_epochs * steps_per_epoch
        if done < head:
            return recipe.head_learning_rate
        done, total = done - head, total - head
    if done < warm:
        return recipe.learning_rate * (done + 1) / warm
    along = (done - warm) / max(1, total - warm)
    return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * along))


def smooth_labels_to_neighbours(labels: NDArray[np.intp], smoothing: float) -> NDArray[np.float32]:
    """Make one-hot labels, and spread the share ``smoothing`` over the grade and its neighbours.

    The nearest grades get the most, because experts who disagree mostly differ by one grade.

    Returns:
        Shape ``(n, 5)``; rows sum to one.
    """
    distance = np.arange(GRADES)[None] - labels[:, None]
    near = np.exp(-(distance**2) / (2 * NEIGHBOUR_SPREAD**2))
    near /= near.sum(axis=1, keepdims=True)
    sharp = (distance == 0).astype(np.float64)
    return np.asarray((1 - smoothing) * sharp + smoothing * near, dtype=np.float32)


def compute_sample_weights(labels: NDArray[np.intp], power: float) -> NDArray[np.float32]:
    """Give photographs of rare grades more weight than photographs of frequent grades.

    The weight is the inverse share of the grade, raised to ``power``. Then all weights are scaled
    to a mean of 1.
    """
    share = np.bincount(labels, minlength=GRADES) / len(labels)
    weights = share[labels] ** -power
    return np.asarray(weights / weights.mean(), dtype=np.float32)
