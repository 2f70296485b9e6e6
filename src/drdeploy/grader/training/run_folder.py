"""What a training run leaves on disk, and finds there when it is started again."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.files import atomic_writer, write_atomically
from drdeploy.grader.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from drdeploy.grader.training.checkpoint import History
    from drdeploy.grader.training.recipe import Recipe


class RunSettings(msgspec.Struct, frozen=True, kw_only=True):
    """All that decides what a run computes.  A folder holds one run."""

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
    """``settings.json``, ``fold_K.npz`` (predictions), checkpoints, ``history.csv``, exports."""

    path: Path

    def claim(self, settings: RunSettings) -> None:
        """Make the folder this run's, or find that it is already.

        Raises:
            InvalidInput: It holds another run.
        """
        file = self.path / "settings.json"
        wanted = msgspec.json.format(msgspec.json.encode(settings), indent=2)
        if file.is_file() and file.read_bytes() != wanted:
            raise InvalidInput(
                "The folder holds a run with other settings",
                where=str(file),
                remedy="Name another folder with --out, or remove it",
            )
        write_atomically(file, wanted)

    def checkpoint(self, name: str) -> Checkpoint:
        """Where a network of this run stands."""
        return Checkpoint(self.path / f"{name}.checkpoint.npz")

    def predictions(self, fold: int) -> NDArray[np.float32] | None:
        """What a finished fold predicted for its validation photographs, or None."""
        file = self.path / f"fold_{fold}.npz"
        if not file.is_file():
            return None
        with np.load(file, allow_pickle=False) as kept:
            found: NDArray[np.float32] = kept["probabilities"]
        return found

    def keep_predictions(self, fold: int, probabilities: NDArray[np.float32]) -> None:
        """A fold is finished."""
        with atomic_writer(self.path / f"fold_{fold}.npz") as file:
            np.savez(file, probabilities=probabilities)

    def write_history(self, histories: dict[str, History]) -> Path:
        """Loss and validation kappa of every network and epoch, as CSV."""
        path = self.path / "history.csv"
        with path.open("w", encoding="utf-8", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["network", "epoch", "train_loss", "validation_kappa"])
            for name, history in histories.items():
                for epoch, (loss, kappa) in enumerate(
                    zip(history.losses, history.kappas, strict=True), start=1
                ):
                    shown = "" if kappa is None else f"{kappa:.4f}"
                    writer.writerow([name, epoch, f"{loss:.5f}", shown])
        return path
