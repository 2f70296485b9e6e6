"""Train one network: the loop over epochs, the schedule, the checkpoints.

Everything random is drawn from ``(seed, epoch, step)``.  So a training that continues from a
checkpoint ends in the same weights as one that was never interrupted.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.grader.evaluation.metrics import GRADES, confusion_matrix, quadratic_weighted_kappa
from drdeploy.grader.grading.prediction import grades_of
from drdeploy.grader.networks.frameworks import import_frameworks
from drdeploy.grader.networks.network import base_of
from drdeploy.grader.training.augmentation import augment
from drdeploy.grader.training.checkpoint import Checkpoint, History

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from drdeploy.grader.fundus.transform import FundusTransform
    from drdeploy.grader.training.prepared import PreparedPhotographs
    from drdeploy.grader.training.recipe import Recipe

MEDIAN_GRADE = (0.5, 0.5, 0.5, 0.5)
"""Grade thresholds that make the answer the posterior median: the grade that is off by the fewest
grades on average."""

NEIGHBOUR_SPREAD = 0.5
"""Standard deviation, in grades, with which smoothing spreads a label."""


@dataclass(frozen=True, eq=False)
class LabelledPixels:
    """Decoded photographs with their labels.

    Attributes:
        pixels: Shape ``(n, h, w, 3)``, uint8.
        labels: Shape ``(n,)``, 0 to 4.
    """

    pixels: NDArray[np.uint8]
    labels: NDArray[np.intp]


@dataclass(frozen=True, eq=False)
class FoldPhotographs:
    """The photographs of one fold.

    Attributes:
        train: What the network is trained on.
        validation: What its kappa is computed on after every epoch; None if nothing is held out.
    """

    train: LabelledPixels
    validation: LabelledPixels | None

    @classmethod
    def of(
        cls,
        prepared: PreparedPhotographs,
        labels: NDArray[np.intp],
        train: NDArray[np.intp],
        validation: NDArray[np.intp] | None,
    ) -> FoldPhotographs:
        """Pick photographs of a prepared data set by their positions."""
        held_out = (
            None
            if validation is None
            else LabelledPixels(prepared.exact[validation], labels[validation])
        )
        return cls(LabelledPixels(prepared.large[train], labels[train]), held_out)


def fit(
    network: Any,
    transform: FundusTransform,
    parts: FoldPhotographs,
    recipe: Recipe,
    *,
    seed: int,
    checkpoint: Checkpoint | None = None,
    on_epoch: Callable[[History], None] = lambda _: None,
) -> History:
    """Train a network in place.

    Args:
        network: Made by :func:`drdeploy.grader.networks.network.build_network`, with weights.
        transform: The network's, for its size and value range.
        parts: The photographs.
        recipe: Every choice of the training.
        seed: Of the order of the photographs and of the augmentation.
        checkpoint: Continued from if it holds anything, and written after every epoch.
        on_epoch: Called with the history after every epoch.

    Returns:
        Loss and validation kappa of each epoch.
    """
    trainer = _Trainer(network, transform, parts.train, recipe, seed)
    history = History() if checkpoint is None else checkpoint.restore(trainer.state())
    best = None if checkpoint is None else checkpoint.best()
    predict_all = make_predictor(network, transform)
    while history.epochs < recipe.epochs and not history.is_stalled(recipe.patience):
        loss = trainer.run_epoch(history.epochs)
        kappa = None
        if parts.validation is not None:
            grades = grades_of(predict_all(parts.validation.pixels), MEDIAN_GRADE)
            confusion = confusion_matrix(parts.validation.labels, grades)
            kappa = float(quadratic_weighted_kappa(confusion))
            kappa = None if math.isnan(kappa) else kappa
        history = history.with_epoch(loss, kappa)
        if recipe.patience and history.is_best_last:
            best = [variable.numpy() for variable in network.variables]
        if checkpoint is not None:
            checkpoint.save(trainer.state(), history, best)
        on_epoch(history)
    if best is not None:
        for variable, value in zip(network.variables, best, strict=True):
            variable.assign(value)
        if checkpoint is not None:
            checkpoint.save(trainer.state(), history, best)
    return history


def predict(
    network: Any, transform: FundusTransform, pixels: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """Predict probabilities ``(n, 5)`` from pixels ``(n, h, w, 3)`` of the network's own size."""
    return make_predictor(network, transform)(pixels)


def make_predictor(
    network: Any, transform: FundusTransform, *, batch_size: int = 16
) -> Callable[[NDArray[np.uint8]], NDArray[np.float32]]:
    """Make a function that does what :func:`predict` does, for many calls.

    The network is traced once; later calls use its variables as they are then.
    """
    tf = import_frameworks().tensorflow
    step = tf.function(
        lambda batch: network(_scale_values(tf, batch, transform), training=False), autograph=False
    )

    def predict_all(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        answers = [
            step(tf.constant(pixels[at : at + batch_size])).numpy()
            for at in range(0, len(pixels), batch_size)
        ]
        return np.concatenate(answers).astype(np.float32)

    return predict_all


def _scale_values(tf: Any, pixels: Any, transform: FundusTransform) -> Any:
    """Apply value range, channel order, mean and deviation, as ``fundus.apply`` does at its end."""
    low, high = transform.value_range
    scaled = tf.cast(pixels, tf.float32) * ((high - low) / 255.0) + low
    ordered = scaled[..., ::-1] if transform.channel_order == "bgr" else scaled
    return (ordered - tf.constant(transform.mean)) / tf.constant(transform.std)


class _Trainer:
    """Runs epochs: holds a network, its optimizer, and a compiled training step.

    There are two steps, one for the head alone and one for all layers.
    """

    def __init__(
        self,
        network: Any,
        transform: FundusTransform,
        part: LabelledPixels,
        recipe: Recipe,
        seed: int,
    ) -> None:
        self._tf, self._keras = import_frameworks()
        self._network = network
        self._transform = transform
        self._part = part
        self._recipe = recipe
        self._seed = seed
        self._targets = soft_labels(part.labels, recipe.smoothing)
        self._weights = sample_weights(part.labels, recipe.class_weight_power)
        self._steps = max(1, len(part.labels) // recipe.batch_size)
        self._set_trainable(base_too=recipe.trainable == "all")
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
        self._features = self._keras.Model(network.input, last.input)
        base = {id(variable) for variable in base_of(network).variables}
        self._head_variables = [
            variable for variable in self._all_variables if id(variable) not in base
        ]
        self._step_of_head = self._tf.function(
            self._make_step(self._head_variables), autograph=False
        )
        self._step_of_all = self._tf.function(self._make_step(self._all_variables), autograph=False)

    def state(self) -> list[Any]:
        """Return every variable that training changes."""
        return [*self._network.variables, *self._optimizer.variables]

    def run_epoch(self, epoch: int) -> float:
        """Train on every photograph once, and return the mean loss."""
        recipe, part = self._recipe, self._part
        order = np.random.default_rng([self._seed, epoch]).permutation(len(part.labels))
        is_head_only = recipe.trainable == "head" or epoch < recipe.head_epochs
        step = self._step_of_head if is_head_only else self._step_of_all
        losses = []
        for number in range(self._steps):
            chosen = order[number * recipe.batch_size : (number + 1) * recipe.batch_size]
            done = epoch * self._steps + number
            self._optimizer.learning_rate = self._learning_rate(done)
            loss = step(
                self._tf.constant(part.pixels[chosen]),
                self._tf.constant(self._targets[chosen]),
                self._tf.constant(self._weights[chosen]),
                self._tf.constant([self._seed, done], dtype=self._tf.int32),
            )
            losses.append(float(loss))
        return float(np.mean(losses))

    def _learning_rate(self, done: int) -> float:
        """Learning rate after that many steps: a linear rise, then a cosine down to zero."""
        recipe = self._recipe
        warm, total = recipe.warm_up_epochs * self._steps, recipe.epochs * self._steps
        if done < warm:
            return recipe.learning_rate * (done + 1) / warm
        along = (done - warm) / max(1, total - warm)
        return recipe.learning_rate * 0.5 * (1 + math.cos(math.pi * along))

    def _set_trainable(self, *, base_too: bool) -> None:
        """Freeze the base, or all of it but its batch normalisation (see ``Recipe.trainable``)."""
        for layer in base_of(self._network).layers:
            is_norm = isinstance(layer, self._keras.layers.BatchNormalization)
            layer.trainable = base_too and not is_norm

    def _make_step(self, chosen: list[Any]) -> Callable[..., Any]:
        tf, recipe, transform = self._tf, self._recipe, self._transform
        scale = tf.range(GRADES, dtype=tf.float32)

        def step(pixels: Any, targets: Any, weights: Any, seed: Any) -> Any:
            size = (transform.height_px, transform.width_px)
            images = augment(pixels, *size, seed, recipe.augmentation)
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([variable.value for variable in chosen])
                features = self._features(_scale_values(tf, images, transform), training=True)
                logits = tf.cast(features, tf.float32) @ self._last.kernel + self._last.bias
                entropy = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
                expected = tf.linalg.matvec(tf.nn.softmax(logits), scale)
                distance = expected - tf.linalg.matvec(targets, scale)
                loss = tf.reduce_mean(weights * (entropy + recipe.ordinal_weight * distance**2))
                scaled = self._optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, chosen)
            self._optimizer.apply(gradients, chosen)
            return loss

        return step


def soft_labels(labels: NDArray[np.intp], smoothing: float) -> NDArray[np.float32]:
    """Make one-hot labels and spread the share ``smoothing`` over the neighbouring grades.

    Experts who disagree about a photograph are mostly one grade apart.

    Returns:
        Shape ``(n, 5)``; rows sum to one.
    """
    distance = np.arange(GRADES)[None] - labels[:, None]
    near = np.exp(-(distance**2) / (2 * NEIGHBOUR_SPREAD**2))
    near /= near.sum(axis=1, keepdims=True)
    sharp = (distance == 0).astype(np.float64)
    return np.asarray((1 - smoothing) * sharp + smoothing * near, dtype=np.float32)


def sample_weights(labels: NDArray[np.intp], power: float) -> NDArray[np.float32]:
    """Weigh each photograph by the inverse of its grade's share to a power; the mean is 1."""
    share = np.bincount(labels, minlength=GRADES) / len(labels)
    weights = share[labels] ** -power
    return np.asarray(weights / weights.mean(), dtype=np.float32)
