"""Loss and validation kappa by epoch, as a picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.errors import RuntimeUnavailable, install_remedy

if TYPE_CHECKING:
    from pathlib import Path

    from drdeploy.grader.training.checkpoint import History


def draw_history(histories: dict[str, History], file: Path) -> Path:
    """One line per network; SVG.

    Raises:
        RuntimeUnavailable: Matplotlib is not installed.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError as err:
        raise RuntimeUnavailable(
            "Drawing needs Matplotlib", remedy=install_remedy("study")
        ) from err
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
