"""Save the state of a training after every epoch, to continue after an interruption."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.files import open_for_atomic_write

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class History:
    """The history of a training.

    Attributes:
        losses: Mean training loss of each epoch.
        kappas: Validation kappa after each epoch. An entry is None if kappa is undefined, or if no
            photographs are held out.
    """

    losses: tuple[float, ...] = ()
    kappas: tuple[float | None, ...] = ()

    @property
    def finished_epochs(self) -> int:
        """The number of finished epochs."""
        return len(self.losses)

    @property
    def best_epoch(self) -> int:
        """The index of the epoch with the highest kappa; if no kappa is known, the last epoch."""
        known = [-1.0 if kappa is None else kappa for kappa in self.kappas]
        return (
            known.index(max(known)) if max(known, default=-1.0) > -1.0 else self.finished_epochs - 1
        )

    @property
    def is_last_epoch_best(self) -> bool:
        """Whether the last epoch has the highest kappa."""
        return self.best_epoch == self.finished_epochs - 1

    def is_kappa_stalled(self, patience: int) -> bool:
        """Whether kappa has not risen for ``patience`` epochs; false if ``patience`` is zero."""
        return 0 < patience <= self.finished_epochs - 1 - self.best_epoch

    def with_epoch(self, loss: float, kappa: float | None) -> History:
        """Return the history with one epoch added."""
        return replace(self, losses=(*self.losses, loss), kappas=(*self.kappas, kappa))


@dataclass(frozen=True)
class Checkpoint:
    """A file with a training's variables and history, from which the training can continue."""

    path: Path

    def save_state(
        self, variables: Sequence[Any], history: History, best: Sequence[Any] | None = None
    ) -> None:
        """Save the variables of a network and its optimizer, and replace the earlier checkpoint.

        ``best`` holds the network's variables after its best epoch. It is None if the training will
        keep the variables of the last epoch instead.
        """
        arrays: dict[str, Any] = {
            f"{kind}{at}": np.asarray(variable)
            for kind, kept in (("v", variables), ("b", best or ()))
            for at, variable in enumerate(kept)
        }
        kappas = [np.nan if kappa is None else kappa for kappa in history.kappas]
        with open_for_atomic_write(self.path) as file:
            np.savez(file, losses=np.array(history.losses), kappas=np.array(kappas), **arrays)

    def read_saved_history(self) -> History:
        """Read the history of a training; empty if nothing was saved."""
        if not self.path.is_file():
            return History()
        with np.load(self.path, allow_pickle=False) as kept:
            return _history_from_arrays(kept)

    def read_best_variables(self) -> list[NDArray[np.generic]] | None:
        """Read the network's variables after the best epoch; None if they were not saved."""
        if not self.path.is_file():
            return None
        with np.load(self.path, allow_pickle=False) as kept:
            return [kept[f"b{at}"] for at in range(_count_arrays_in_file(kept, "b"))] or None

    def restore_state(self, variables: Sequence[Any], *, is_part: bool = False) -> History:
        """Set variables to their saved values, and return the saved history.

        If nothing was saved, the variables stay as they are, and the history is empty. The
        variables must be in the order in which they were saved. If ``is_part`` is true, the caller
        may give only the network's variables, without those of the optimizer.

        Raises:
            InvalidInput: The checkpoint belongs to another network or recipe.
        """
        if not self.path.is_file():
            return History()
        with np.load(self.path, allow_pickle=False) as kept:
            count = _count_arrays_in_file(kept, "v")
            fits = (len(variables) <= count if is_part else len(variables) == count) and all(
                kept[f"v{at}"].shape == tuple(variable.shape)
                for at, variable in enumerate(variables)
            )
            if not fits:
                raise InvalidInput(
                    "The checkpoint belongs to another network",
                    where=str(self.path),
                    remedy="Remove the folder, or choose another folder with --out",
                )
            for at, variable in enumerate(variables):
                variable.assign(kept[f"v{at}"])
            return _history_from_arrays(kept)


def _count_arrays_in_file(kept: Any, kind: str) -> int:
    return sum(name.startswith(kind) for name in kept.files)


def _history_from_arrays(kept: Any) -> History:
    kappas = tuple(None if np.isnan(one) else one for one in kept["kappas"].tolist())
    return History(tuple(kept["losses"].tolist()), kappas)
