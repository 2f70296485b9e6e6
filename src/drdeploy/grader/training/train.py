"""Train a grader on a data set and measure its quality.

For every fold, a network is trained on the other folds and predicts the photographs of this one.
The temperature and the operating points are chosen on these out-of-fold predictions, and all
figures come from them.  Then one more network is trained on all photographs in the same way, and
that one is exported.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np

from drdeploy.grader.artifacts import Provenance
from drdeploy.grader.datasets import deduplicate, grouped_folds
from drdeploy.grader.evaluation.predictions import GradedSet
from drdeploy.grader.networks.architectures import find_architecture
from drdeploy.grader.networks.export import ModelDescription, export_keras, export_network
from drdeploy.grader.networks.network import build_network, in_float32
from drdeploy.grader.networks.sample import sample_batch
from drdeploy.grader.networks.weights import fill
from drdeploy.grader.training.calibration import fit_temperature, fold_in, with_temperature
from drdeploy.grader.training.determinism import make_deterministic
from drdeploy.grader.training.fit import FoldPhotographs, fit, predict
from drdeploy.grader.training.history_figure import draw_history
from drdeploy.grader.training.operating_points import choose_operating_points
from drdeploy.grader.training.prepared import prepare
from drdeploy.grader.training.run_folder import RunFolder, RunSettings
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from numpy.typing import NDArray

    from drdeploy.grader.artifacts import Clinical, ModelFormat
    from drdeploy.grader.datasets import Dataset, Fold
    from drdeploy.grader.networks.architectures import Architecture
    from drdeploy.grader.networks.weights import WeightsSource
    from drdeploy.grader.training.checkpoint import History
    from drdeploy.grader.training.prepared import PreparedPhotographs
    from drdeploy.grader.training.recipe import Recipe

FINAL = "final"
"""Name of the network that is trained on all photographs."""


@dataclass(frozen=True)
class TrainingPlan:
    """What to train, on which photographs, and how.

    Attributes:
        architecture: The network and its transform.
        dataset: Deduplicated training photographs.
        weights: What the base starts from.
        recipe: Every choice of the training.
        folds: How many.
        seed: Of whatever is random.
        licence: Of the trained weights, for the manifest.
    """

    architecture: Architecture
    dataset: Dataset
    weights: WeightsSource
    recipe: Recipe
    folds: int
    seed: int
    licence: str = ""

    @classmethod
    def make(
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
        """Plan a training on the training split of a data set, each photograph once.

        Raises:
            InvalidInput: There is no such architecture.
        """
        found = find_architecture(architecture)
        if side_px is not None:
            found = found.at_side(side_px)
        photographs = deduplicate(dataset).training_part()
        return cls(found, photographs, weights, recipe, folds, seed, licence)

    @property
    def settings(self) -> RunSettings:
        """Everything that determines what the run computes."""
        return RunSettings(
            architecture=self.architecture.name,
            weights=str(getattr(self.weights, "name", self.weights)),
            recipe=self.recipe,
            side_px=self.architecture.transform.height_px,
            folds=self.folds,
            seed=self.seed,
            dataset=self.dataset.name,
            dataset_digest=self.dataset.digest,
        )


@dataclass(frozen=True)
class TrainedGrader:
    """The result of a training run.

    Attributes:
        plan: What was trained, and how.
        out_of_fold: Calibrated predictions of every photograph by a network that was not trained
            on it.
        clinical: The temperature and the thresholds that were chosen.
        archives: The exported artifacts by format.
        keras_file: The exported network for Keras.
    """

    plan: TrainingPlan
    out_of_fold: GradedSet
    clinical: Clinical
    archives: dict[ModelFormat, Path]
    keras_file: Path


def train(
    plan: TrainingPlan,
    out_dir: Path,
    *,
    cache: Path | None = None,
    on_epoch: Callable[[str, History], None] = lambda _name, _history: None,
) -> TrainedGrader:
    """Train, or continue an interrupted run.

    Args:
        plan: What to train, and how.
        out_dir: The run's folder.
        cache: A folder that keeps the decoded photographs.
        on_epoch: Called with the network's name and its history after every epoch.

    Raises:
        InvalidInput: The folder belongs to a run with other settings.
        RequestRefused: A photograph cannot be decoded.
        ModelError: An exported model disagrees with its network.
    """
    folder = RunFolder(out_dir)
    folder.claim(plan.settings)
    make_deterministic(plan.seed)
    prepared = prepare(plan.dataset, plan.architecture.transform, cache)
    run = _Run(plan, folder, prepared, on_epoch, {})
    raw = run.predict_out_of_fold()
    temperature = fit_temperature(plan.dataset.grades, raw)
    out_of_fold = GradedSet.of(plan.dataset, with_temperature(raw, temperature))
    out_of_fold.write(out_dir / "oof.csv")
    clinical = choose_operating_points(
        out_of_fold.labels,
        out_of_fold.probabilities,
        chosen_on=f"out-of-fold predictions of {len(plan.dataset)} photographs of "
        f"{plan.dataset.name} ({plan.folds} folds grouped by capture session)",
        temperature=temperature,
    )
    network = in_float32(run.train_final(), plan.architecture)
    fold_in(network, temperature)
    folder.write_history(run.histories)
    draw_history(run.histories, out_dir / "history.svg")
    description = _description(plan, clinical)
    sample = sample_batch(plan.architecture.transform)
    exports = out_dir / "exports"
    return TrainedGrader(
        plan,
        out_of_fold,
        clinical,
        export_network(network, description, exports, sample=sample),
        export_keras(network, exports / f"{description.name}-fp32.keras", sample=sample),
    )


def network_of_fold(plan: TrainingPlan, out_dir: Path, fold: int, temperature: float) -> Any:
    """Restore the network of a finished fold, calibrated with the temperature."""
    network = build_network(plan.architecture)
    RunFolder(out_dir).checkpoint(f"fold_{fold}").restore(network.variables, is_part=True)
    fold_in(network, temperature)
    return network


@dataclass(frozen=True)
class _Run:
    """One training run under way; ``histories`` fills up network by network."""

    plan: TrainingPlan
    folder: RunFolder
    prepared: PreparedPhotographs
    on_epoch: Callable[[str, History], None]
    histories: dict[str, History]

    def predict_out_of_fold(self) -> NDArray[np.float64]:
        """Train every fold; return uncalibrated probabilities of all photographs, ``(n, 5)``."""
        folds = grouped_folds(self.plan.dataset, self.plan.folds, seed=self.plan.seed)
        probabilities = np.empty((len(self.plan.dataset), 5))
        for number, fold in enumerate(folds):
            probabilities[fold.validation] = self._predict_fold(number, fold)
        return probabilities

    def train_final(self) -> Any:
        """Train a network on all photographs, for as many epochs as the folds' networks."""
        everything = np.arange(len(self.plan.dataset))
        parts = FoldPhotographs.of(self.prepared, self.plan.dataset.grades, everything, None)
        return self._fit(FINAL, parts, self._final_recipe(), seed=self.plan.folds)

    def _predict_fold(self, number: int, fold: Fold) -> NDArray[np.float32]:
        name = f"fold_{number}"
        kept = self.folder.predictions(number)
        if kept is not None:
            self.histories[name] = self.folder.checkpoint(name).history()
            return kept
        parts = FoldPhotographs.of(
            self.prepared, self.plan.dataset.grades, fold.train, fold.validation
        )
        network = self._fit(name, parts, self.plan.recipe, seed=number)
        transform = self.plan.architecture.transform
        probabilities = predict(network, transform, self.prepared.exact[fold.validation])
        self.folder.keep_predictions(number, probabilities)
        return probabilities

    def _fit(self, name: str, parts: FoldPhotographs, recipe: Recipe, *, seed: int) -> Any:
        plan = self.plan
        network = build_network(plan.architecture)
        sample = sample_batch(plan.architecture.transform)
        fill(network, plan.architecture, plan.weights, seed=plan.seed, sample=sample)
        self.histories[name] = fit(
            network,
            plan.architecture.transform,
            parts,
            recipe,
            seed=1000 * plan.seed + seed,
            checkpoint=self.folder.checkpoint(name),
            on_epoch=lambda history: self.on_epoch(name, history),
        )
        return network

    def _final_recipe(self) -> Recipe:
        """The recipe without early stopping, as nothing is held out to stop by.

        It has as many epochs as the best one of the median fold.
        """
        if not self.plan.recipe.patience:
            return self.plan.recipe
        best = sorted(history.best_epoch + 1 for history in self.histories.values())
        return msgspec.structs.replace(self.plan.recipe, epochs=best[len(best) // 2], patience=0)


def _description(plan: TrainingPlan, clinical: Clinical) -> ModelDescription:
    name = plan.architecture.name
    start = getattr(plan.weights, "name", plan.weights)
    return ModelDescription(
        name=name.lower(),
        architecture=name,
        weights="trained",
        transform=plan.architecture.transform,
        clinical=clinical,
        provenance=Provenance(
            tool_version=VERSION,
            source=f"keras.applications.{name}, base from {start}",
            dataset=f"{plan.dataset.name}, {len(plan.dataset)} photographs, "
            f"sha256:{plan.dataset.digest}",
            licence=plan.licence,
            seed=plan.seed,
            notes="For research use. Not a medical device.",
        ),
    )
