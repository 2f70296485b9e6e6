"""Train a grader on a data set and measure its quality.

For each fold, a network is trained on the other folds, and then computes predictions for the
photographs of the fold. The temperature and the operating points are chosen on these out-of-fold
predictions, and all results of the training run are computed from them. Finally a network is
trained in the same way on all photographs, and is exported.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from drdeploy.grader.artifacts import ModelDescription, Provenance
from drdeploy.grader.datasets import (
    Fold,
    set_copies_aside,
    set_undecodable_aside,
    split_into_grouped_folds,
)
from drdeploy.grader.evaluation.predictions import GradedSet
from drdeploy.grader.evaluation.training_photographs import list_short_digests
from drdeploy.grader.fundus.gradability_limits import GradabilityLimits
from drdeploy.grader.networks.architectures import find_architecture
from drdeploy.grader.networks.export import (
    BuiltNetwork,
    export_network_as_archives,
    export_network_as_keras_file,
)
from drdeploy.grader.networks.frameworks import import_tensorflow_and_keras
from drdeploy.grader.networks.network import build_network, convert_network_to_float32
from drdeploy.grader.networks.sample import make_sample_batch
from drdeploy.grader.networks.weights import identifier_of_weights, set_network_weights
from drdeploy.grader.training.calibration import (
    apply_temperature,
    choose_operating_points,
    divide_last_layer_by_temperature,
    fit_temperature,
)
from drdeploy.grader.training.familiarity import choose_familiarity_rule
from drdeploy.grader.training.fit import fit_network, make_prediction_function
from drdeploy.grader.training.frozen_features import compute_frozen_features
from drdeploy.grader.training.prepared_photographs import prepare_photographs
from drdeploy.grader.training.run_folder import RunFolder, write_history_picture
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import Clinical, ModelFormat
    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.networks.architectures import Architecture
    from drdeploy.grader.networks.weights import WeightsSource
    from drdeploy.grader.training.checkpoint import History
    from drdeploy.grader.training.frozen_features import FrozenFeatures
    from drdeploy.grader.training.prepared_photographs import PreparedPhotographs
    from drdeploy.grader.training.recipe import Recipe, TrainingPrecision

FINAL = "final"
"""Name of the network that is trained on all photographs."""
BFLOAT16_FLAGS = frozenset({"amx_bf16", "avx512_bf16"})
"""Names that Linux gives to a processor's instructions for numbers in bfloat16."""


@dataclass(frozen=True)
class TrainingPlan:
    """The network to train, the photographs, and the settings.

    Attributes:
        architecture: The network and its transform.
        dataset: The training photographs, without copies.
        weights: The weights from which the base starts.
        recipe: Every setting of the training.
        folds: Number of folds.
        seed: Seed of the random numbers.
        licence: Licence of the trained weights, for the manifest.
    """

    architecture: Architecture
    dataset: Dataset
    weights: WeightsSource
    recipe: Recipe
    folds: int
    seed: int
    licence: str = ""

    @classmethod
    def for_training_split(
        cls,
        architecture: str,
        dataset: Dataset,
        recipe: Recipe,
        *,
        weights: WeightsSource = "random",
        side_px: int | None = None,
        folds: int = 5,
        seed: int = 0,
        licence: str = "",
    ) -> TrainingPlan:
        """Plan a training on a data set's training split.

        Copied photographs, and those that cannot be decoded, are left out.

        Raises:
            InvalidInput: The architecture is not known, or no photograph of the split is used.
        """
        found = find_architecture(architecture)
        if side_px is not None:
            found = found.with_input_side(side_px)
        photographs = set_undecodable_aside(set_copies_aside(dataset).select_training_part())
        return cls(found, photographs, weights, recipe, folds, seed, licence)

    @property
    def settings_of_run(self) -> dict[str, object]:
        """All settings that determine the result of the run, as in ``settings.json``.

        Raises:
            InvalidInput: The file of weights is missing.
        """
        return {
            "architecture": self.architecture.name,
            # Another file with the same name holds other weights.
            "weights": self.weights
            if isinstance(self.weights, str)
            else f"{self.weights.name}, {identifier_of_weights(self.weights, self.seed)}",
            "recipe": self.recipe,
            "side_px": self.architecture.transform.height_px,
            "folds": self.folds,
            "seed": self.seed,
            "dataset": self.dataset.name,
            "dataset_digest": self.dataset.digest,
        }


@dataclass(frozen=True)
class TrainedGrader:
    """The result of a training run.

    Attributes:
        plan: The plan that was carried out.
        out_of_fold: Calibrated predictions for every photograph, by a network that was not trained
            on the photograph.
        clinical: The temperature and the thresholds that were chosen on ``out_of_fold``.
        archives: The exported artifacts by format.
        keras_file: The exported network for Keras.
    """

    plan: TrainingPlan
    out_of_fold: GradedSet
    clinical: Clinical
    archives: dict[ModelFormat, Path]
    keras_file: Path


def train_grader(
    plan: TrainingPlan,
    out_dir: Path,
    *,
    cache: Path | None = None,
    on_epoch: Callable[[str, History], None] = lambda _name, _history: None,
) -> TrainedGrader:
    """Train a grader, or continue an interrupted run.

    Args:
        plan: The network, the photographs and the settings.
        out_dir: The folder of the run.
        cache: A folder that keeps the decoded photographs.
        on_epoch: Function that is called with the network's name and history after every epoch.

    Raises:
        InvalidInput: The folder belongs to a run with other settings, or the photographs cannot be
            split into this number of folds.
        RequestRefused: A photograph cannot be decoded.
        ModelError: An exported model gives different answers from its network.
    """
    folder = RunFolder(out_dir)
    folder.claim_for_settings(plan.settings_of_run)
    make_training_deterministic(plan.seed)
    prepared = prepare_photographs(plan.dataset, plan.architecture.transform, cache)
    run = _TrainingRun(plan, folder, prepared, on_epoch, {})
    with compute_in_training_precision(plan.recipe.precision):
        raw = run.train_folds_and_predict()
        final = run.train_final_network()
    temperature = fit_temperature(plan.dataset.grades, raw)
    out_of_fold = GradedSet.from_dataset(plan.dataset, apply_temperature(raw, temperature))
    out_of_fold.write_csv(out_dir / "oof.csv")
    clinical = choose_operating_points(
        out_of_fold.labels,
        out_of_fold.probabilities,
        chosen_on=f"out-of-fold predictions of {len(plan.dataset)} photographs of "
        f"{plan.dataset.name} ({plan.folds} folds grouped by capture session)",
        temperature=temperature,
        groups=out_of_fold.groups,
        folds=split_into_grouped_folds(plan.dataset, plan.folds, seed=plan.seed),
    )
    network = convert_network_to_float32(final, plan.architecture)
    divide_last_layer_by_temperature(network, temperature)
    folder.write_history_table(run.histories)
    write_history_picture(run.histories, out_dir / "history.svg")
    sample = make_sample_batch(plan.architecture.transform)
    built = BuiltNetwork(network, _describe_model(plan, clinical), sample)
    exports = out_dir / "exports"
    return TrainedGrader(
        plan,
        out_of_fold,
        clinical,
        export_network_as_archives(built, exports),
        export_network_as_keras_file(built, exports / f"{built.description.name}-fp32.keras"),
    )


def restore_network_of_fold(
    plan: TrainingPlan, out_dir: Path, fold: int, temperature: float
) -> Any:
    """Restore the network of a finished fold, and calibrate it with the run's temperature."""
    network = build_network(plan.architecture)
    RunFolder(out_dir).checkpoint_of_network(f"fold_{fold}").restore_state(
        network.variables, is_part=True
    )
    divide_last_layer_by_temperature(network, temperature)
    return network


@dataclass(frozen=True)
class _TrainingRun:
    """A training run in progress; each trained network adds an entry to ``histories``."""

    plan: TrainingPlan
    folder: RunFolder
    prepared: PreparedPhotographs
    on_epoch: Callable[[str, History], None]
    histories: dict[str, History]

    def train_folds_and_predict(self) -> NDArray[np.float64]:
        """Train every fold, and return uncalibrated probabilities in shape ``(n, 5)``."""
        folds = split_into_grouped_folds(self.plan.dataset, self.plan.folds, seed=self.plan.seed)
        probabilities = np.empty((len(self.plan.dataset), 5))
        for number, fold in enumerate(folds):
            probabilities[fold.validation] = self._train_and_predict_fold(number, fold)
        return probabilities

    def train_final_network(self) -> Any:
        """Train a network on all photographs, for about as many epochs as the folds needed."""
        everything = Fold(np.arange(len(self.plan.dataset)), np.empty(0, dtype=np.intp))
        return self._build_and_fit_network(
            FINAL, everything, self._recipe_without_early_stopping(), seed=self.plan.folds
        )

    def _train_and_predict_fold(self, number: int, fold: Fold) -> NDArray[np.float32]:
        name = f"fold_{number}"
        kept = self.folder.read_predictions_of_fold(number)
        if kept is not None:
            self.histories[name] = self.folder.checkpoint_of_network(name).read_saved_history()
            return kept
        architecture = self.plan.architecture
        network = self._build_and_fit_network(name, fold, self.plan.recipe, seed=number)
        # In the precision of the exported network, whose thresholds these predictions determine.
        single = convert_network_to_float32(network, architecture)
        predict = make_prediction_function(single, architecture.transform)
        probabilities = predict(self.prepared.exact[fold.validation])
        self.folder.write_predictions_of_fold(number, probabilities)
        return probabilities

    def _build_and_fit_network(self, name: str, fold: Fold, recipe: Recipe, *, seed: int) -> Any:
        plan = self.plan
        network = build_network(plan.architecture)
        sample = make_sample_batch(plan.architecture.transform)
        set_network_weights(network, plan.architecture, plan.weights, seed=plan.seed, sample=sample)
        self.histories[name] = fit_network(
            network,
            plan.architecture.transform,
            self.prepared,
            fold,
            recipe,
            seed=1000 * plan.seed + seed,
            frozen=self._read_or_compute_frozen_features(network),
            checkpoint=self.folder.checkpoint_of_network(name),
            on_epoch=lambda history: self.on_epoch(name, history),
        )
        return network

    def _read_or_compute_frozen_features(self, network: Any) -> FrozenFeatures | None:
        """Return the frozen layers' output, which all networks of the run share."""
        if not self.plan.recipe.frozen_up_to:
            return None
        return compute_frozen_features(
            network,
            self.plan.architecture.transform,
            self.prepared,
            self.plan.recipe,
            seed=self.plan.seed,
            folder=self.folder.path / "frozen",
        )

    def _recipe_without_early_stopping(self) -> Recipe:
        """Return the recipe of the final network, whose training is never stopped early.

        If the folds' trainings could stop early, each fold has a best number of epochs: the one
        with the highest kappa. The final network is trained for the median of these numbers.
        Otherwise, the recipe stays as it is.
        """
        if not self.plan.recipe.patience:
            return self.plan.recipe
        best = sorted(history.best_epoch + 1 for history in self.histories.values())
        return msgspec.structs.replace(self.plan.recipe, epochs=best[len(best) // 2], patience=0)


def _describe_model(plan: TrainingPlan, clinical: Clinical) -> ModelDescription:
    name = plan.architecture.name
    start = getattr(plan.weights, "name", plan.weights)
    return ModelDescription(
        name=name.lower(),
        architecture=name,
        weights="trained",
        transform=plan.architecture.transform,
        gradability=GradabilityLimits(),
        familiarity=choose_familiarity_rule(
            plan.dataset, plan.architecture.transform, folds=plan.folds, seed=plan.seed
        ),
        clinical=clinical,
        provenance=Provenance(
            tool_version=VERSION,
            source=f"keras.applications.{name}, base from {start}",
            dataset=f"{plan.dataset.name}, {len(plan.dataset)} photographs, "
            f"sha256:{plan.dataset.digest}",
            trained_on=list_short_digests(plan.dataset),
            licence=plan.licence,
            seed=plan.seed,
            notes="For research use. Not a medical device.",
        ),
    )


def make_training_deterministic(seed: int) -> None:
    """Seed every random generator, and make TensorFlow add numbers in a fixed order.

    Floating-point sums depend on the order, which otherwise differs from run to run, on a CPU and
    on a GPU.
    """
    tf, keras = import_tensorflow_and_keras(accelerator=True)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()


@contextmanager
def compute_in_training_precision(wanted: TrainingPrecision) -> Iterator[None]:
    """Build networks inside this ``with`` block for the precision in which they are trained."""
    policies = import_tensorflow_and_keras(accelerator=True).keras.mixed_precision
    before = policies.dtype_policy()
    policies.set_dtype_policy(choose_dtype_policy(wanted))
    try:
        yield
    finally:
        policies.set_dtype_policy(before)


def choose_dtype_policy(wanted: TrainingPrecision, cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return Keras's name for the precision to train in, given the recipe and this machine.

    A GPU always multiplies numbers of 16 bits. A processor does so only if the recipe asks for it,
    and if Linux lists an instruction for it.
    """
    if import_tensorflow_and_keras(accelerator=True).tensorflow.config.list_physical_devices("GPU"):
        return "mixed_float16"
    words = cpuinfo.read_text("utf-8").split() if cpuinfo.is_file() else []
    has_instructions = not BFLOAT16_FLAGS.isdisjoint(words)
    return "mixed_bfloat16" if wanted == "bfloat16" and has_instructions else "float32"
