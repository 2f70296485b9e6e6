"""The folder of a training run, from which an interrupted run continues."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.files import atomic_writer, safe_cell, write_atomically
from drdeploy.grader.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from drdeploy.grader.training.checkpoint import History
    from drdeploy.grader.training.recipe import Recipe


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """Everything that determines what a run computes.

    Attributes:
        architecture: Name of the network.
        weights: What its base starts from.
        recipe: How it is trained.
        side_px: Height and width of its input.
        folds: How many.
        seed: Of whatever is random.
        dataset: Name of the data set.
        dataset_digest: SHA-256 of its contents, labels and order.
    """

    architecture: str
    weights: str
    recipe: Recipe
    side_px: int
    folds: int
    seed: int
    dataset: str
    dataset_digest: str


@dataclass(frozen=True)
class RunFolder:
    """Holds ``settings.json``, ``fold_K.npz`` (predictions), checkpoints, and ``history.csv``.

    Attributes:
        path: Of the folder, which belongs to one run.
    """

    path: Path

    def claim(self, settings: RunSettings) -> None:
        """Reserve the folder for a run, or find that it is that run's already.

        Raises:
            InvalidInput: The folder belongs to a run with other settings.
        """
        file = self.path / "settings.json"
        described = msgspec.json.format(msgspec.json.encode(settings), indent=2)
        if file.is_file() and file.read_bytes() != described:
            raise InvalidInput(
                "The folder holds a run with other settings",
                where=str(file),
                remedy="Name another folder with --out, or remove it",
            )
        write_atomically(file, described)

    def checkpoint(self, name: str) -> Checkpoint:
        """Return the checkpoint of one of the run's networks, whether or not it exists."""
        return Checkpoint(self.path / f"{name}.checkpoint.npz")

    def predictions(self, fold: int) -> NDArray[np.float32] | None:
        """Read the predictions of a fold's validation photographs; None if it is not finished."""
        file = self.path / f"fold_{fold}.npz"
        if not file.is_file():
            return None
        with np.load(file, allow_pickle=False) as kept:
            found: NDArray[np.float32] = kept["probabilities"]
        return found

    def keep_predictions(self, fold: int, probabilities: NDArray[np.float32]) -> None:
        """Keep a fold's predictions, which marks the fold as finished."""
        with atomic_writer(self.path / f"fold_{fold}.npz") as file:
            np.savez(file, probabilities=probabilities)

    def write_history(self, histories: dict[str, History]) -> Path:
        """Write the loss and the validation kappa of every network and epoch as CSV."""
        path = self.path / "history.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["network", "epoch", "train_loss", "validation_kappa"])
            for name, history in histories.items():
                for epoch, (loss, kappa) in enumerate(
                    zip(history.losses, history.kappas, strict=True), start=1
                ):
                    shown = "" if kappa is None else f"{kappa:.4f}"
                    writer.writerow([safe_cell(name), epoch, f"{loss:.5f}", shown])
        return path
