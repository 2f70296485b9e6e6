"""The folder of a training run, from which an interrupted run continues."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np

from drdeploy.errors import InvalidInput, turn_import_error_into_missing_extra
from drdeploy.files import (
    escape_formula_in_csv_cell,
    open_for_atomic_write,
    open_text_for_atomic_write,
    write_file_atomically,
)
from drdeploy.grader.training.checkpoint import Checkpoint

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from numpy.typing import NDArray

    from drdeploy.grader.training.checkpoint import History


@dataclass(frozen=True)
class RunFolder:
    """The folder with a training run's settings, checkpoints, history and predictions."""

    path: Path

    def claim_for_settings(self, settings: Mapping[str, object]) -> None:
        """Reserve the folder for a run with these settings; refuse a folder with other settings.

        Raises:
            InvalidInput: The folder belongs to a run with other settings.
        """
        file = self.path / "settings.json"
        described = msgspec.json.format(msgspec.json.encode(settings), indent=2)
        if file.is_file() and file.read_bytes() != described:
            raise InvalidInput(
                "The folder holds a training run with other settings",
                where=str(file),
                remedy="Choose another folder with --out, or remove the folder",
            )
        write_file_atomically(file, described)

    def checkpoint_of_network(self, name: str) -> Checkpoint:
        """Return the checkpoint of one of the run's networks; the file may not exist yet."""
        return Checkpoint(self.path / f"{name}.checkpoint.npz")

    def read_predictions_of_fold(self, fold: int) -> NDArray[np.float32] | None:
        """Read the predictions for a fold's validation photographs; None for an unfinished fold."""
        file = self.path / f"fold_{fold}.npz"
        if not file.is_file():
            return None
        with np.load(file, allow_pickle=False) as kept:
            found: NDArray[np.float32] = kept["probabilities"]
        return found

    def write_predictions_of_fold(self, fold: int, probabilities: NDArray[np.float32]) -> None:
        """Store a fold's predictions, which marks the fold as finished."""
        with open_for_atomic_write(self.path / f"fold_{fold}.npz") as file:
            np.savez(file, probabilities=probabilities)

    def write_history_table(self, histories: dict[str, History]) -> Path:
        """Write the loss and the validation kappa of every network and epoch as CSV."""
        path = self.path / "history.csv"
        with open_text_for_atomic_write(path) as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["network", "epoch", "train_loss", "validation_kappa"])
            for name, history in histories.items():
                for epoch, (loss, kappa) in enumerate(
                    zip(history.losses, history.kappas, strict=True), start=1
                ):
                    shown = "" if kappa is None else f"{kappa:.4f}"
                    writer.writerow([escape_formula_in_csv_cell(name), epoch, f"{loss:.5f}", shown])
        return path


def write_history_picture(histories: dict[str, History], file: Path) -> Path:
    """Draw the loss and the validation kappa of each network, and write the picture as SVG.

    Raises:
        MissingExtra: Matplotlib is not installed.
    """
    with turn_import_error_into_missing_extra("study", "Drawing the history of a training run"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, history in histories.items():
        epochs = range(1, history.finished_epochs + 1)
        left.plot(epochs, history.losses, label=name.replace("_", " "))
        if None not in history.kappas:
            right.plot(epochs, [kappa or 0.0 for kappa in history.kappas])
    left.set(xlabel="epoch", ylabel="training loss")
    right.set(xlabel="epoch", ylabel="validation kappa", ylim=(None, 1))
    left.legend(frameon=False, fontsize=8)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, metadata={"Date": None})
    return file
