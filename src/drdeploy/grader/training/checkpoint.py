"""Where a training run stands: enough to go on after the power went out."""

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
    """Training loss and validation kappa by epoch; no kappa where nothing was held out."""

    losses: tuple[float, ...] = ()
    kappas: tuple[float | None, ...] = ()

    @property
    def epochs(self) -> int:
        """Epochs done."""
        return len(self.losses)

    @property
    def best_epoch(self) -> int:
        """Position of the highest kappa, the first of equals; the last where there is none."""
        known = [-1.0 if kappa is None else kappa for kappa in self.kappas]
        return known.index(max(known)) if max(known, default=-1.0) > -1.0 else self.epochs - 1

    @property
    def is_best_last(self) -> bool:
        """Whether the last epoch is the best one."""
        return self.best_epoch == self.epochs - 1

    def is_stalled(self, patience: int) -> bool:
        """Whether kappa has not risen for that many epochs; never with a patience of zero."""
        return 0 < patience <= self.epochs - 1 - self.best_epoch

    def with_epoch(self, loss: float, kappa: float | None) -> History:
        """One epoch more."""
        return replace(self, losses=(*self.losses, loss), kappas=(*self.kappas, kappa))


@dataclass(frozen=True)
class Checkpoint:
    """A file with every variable of a run and its history; replaced as a whole."""

    path: Path

    def save(
        self, variables: Sequence[Any], history: History, best: Sequence[Any] | None = None
    ) -> None:
        """Write it; a reader sees the old one or the new one.

        Args:
            variables: As they are now.
            history: So far.
            best: The network's variables as they were after its best epoch.
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
        """How the run went so far, without its variables."""
        if not self.path.is_file():
            return History()
        with np.load(self.path, allow_pickle=False) as kept:
            return _history(kept)

    def best(self) -> list[NDArray[np.generic]] | None:
        """The network's variables after its best epoch; None where they were not kept."""
        if not self.path.is_file():
            return None
        with np.load(self.path, allow_pickle=False) as kept:
            return [kept[f"b{at}"] for at in range(_count(kept, "b"))] or None

    def restore(self, variables: Sequence[Any], *, is_part: bool = False) -> History:
        """Set the variables to what was saved; an empty history where nothing was.

        Args:
            variables: In the order that they were saved in.
            is_part: Whether they may be the first of those that were saved: a network's, without
                its optimizer's.

        Raises:
            InvalidInput: It belongs to another network or recipe.
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
