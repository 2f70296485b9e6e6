"""Save the state of a training after every epoch, to continue after an interruption."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.files import atomic_writer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray


@dataclass(frozen=True)
class History:
    """The course of a training.

    Attributes:
        losses: Mean training loss of each epoch.
        kappas: Validation kappa after each epoch; None if nothing is held out or it is undefined.
    """

    losses: tuple[float, ...] = ()
    kappas: tuple[float | None, ...] = ()

    @property
    def epochs(self) -> int:
        """How many epochs are finished."""
        return len(self.losses)

    @property
    def best_epoch(self) -> int:
        """Position of the epoch with the highest kappa; the last epoch if there is no kappa."""
        known = [-1.0 if kappa is None else kappa for kappa in self.kappas]
        return known.index(max(known)) if max(known, default=-1.0) > -1.0 else self.epochs - 1

    @property
    def is_best_last(self) -> bool:
        """Whether the last epoch is the best one."""
        return self.best_epoch == self.epochs - 1

    def is_stalled(self, patience: int) -> bool:
        """Whether kappa has not risen for ``patience`` epochs; never if that is zero."""
        return 0 < patience <= self.epochs - 1 - self.best_epoch

    def with_epoch(self, loss: float, kappa: float | None) -> History:
        """Return the history with one epoch added."""
        return replace(self, losses=(*self.losses, loss), kappas=(*self.kappas, kappa))


@dataclass(frozen=True)
class Checkpoint:
    """A file with every variable of a training and its history.

    Attributes:
        path: Where it is written.
    """

    path: Path

    def save(
        self, variables: Sequence[Any], history: History, best: Sequence[Any] | None = None
    ) -> None:
        """Save the state of a training in place of the last one.

        Args:
            variables: Of the network and its optimizer.
            history: So far.
            best: The network's variables after its best epoch, if they are needed at the end.
        """
        arrays: dict[str, Any] = {
            f"{kind}{at}": np.asarray(variable)
            for kind, kept in (("v", variables), ("b", best or ()))
            for at, variable in enumerate(kept)
        }
        kappas = [np.nan if kappa is None else kappa for kappa in history.kappas]
        with atomic_writer(self.path) as file:
            np.savez(file, losses=np.array(history.losses), kappas=np.array(kappas), **arrays)

    def history(self) -> History:
        """Read the history alone; empty if nothing was saved."""
        if not self.path.is_file():
            return History()
        with np.load(self.path, allow_pickle=False) as kept:
            return _history(kept)

    def best(self) -> list[NDArray[np.generic]] | None:
        """Read the network's variables after its best epoch; None if they were not saved."""
        if not self.path.is_file():
            return None
        with np.load(self.path, allow_pickle=False) as kept:
            return [kept[f"b{at}"] for at in range(_count(kept, "b"))] or None

    def restore(self, variables: Sequence[Any], *, is_part: bool = False) -> History:
        """Set variables to their saved values and return the history, empty if nothing was saved.

        Args:
            variables: In the order in which they were saved.
            is_part: They are only the first of the saved ones: a network's without its
                optimizer's.

        Raises:
            InvalidInput: The checkpoint belongs to another network or recipe.
        """
        if not self.path.is_file():
            return History()
        with np.load(self.path, allow_pickle=False) as kept:
            count = _count(kept, "v")
            fits = (len(variables) <= count if is_part else len(variables) == count) and all(
                kept[f"v{at}"].shape == tuple(variable.shape)
                for at, variable in enumerate(variables)
            )
            if not fits:
                raise InvalidInput(
                    "The checkpoint is of another network",
                    where=str(self.path),
                    remedy="Remove the folder, or name another with --out",
                )
            for at, variable in enumerate(variables):
                variable.assign(kept[f"v{at}"])
            return _history(kept)


def _count(kept: Any, kind: str) -> int:
    return sum(name.startswith(kind) for name in kept.files)


def _history(kept: Any) -> History:
    kappas = tuple(None if np.isnan(one) else one for one in kept["kappas"].tolist())
    return History(tuple(kept["losses"].tolist()), kappas)
