"""Draw the loss and the validation kappa of each epoch."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.errors import requires_extra

if TYPE_CHECKING:
    from pathlib import Path

    from drdeploy.grader.training.checkpoint import History


def draw_history(histories: dict[str, History], file: Path) -> Path:
    """Draw one line for each network and write the picture as SVG.

    Raises:
        MissingExtra: Matplotlib is not installed.
    """
    with requires_extra("study", "Drawing the history of a training"):
        from matplotlib.figure import Figure
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    for name, history in histories.items():
        epochs = range(1, history.epochs + 1)
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
