"""The folder that a study's results lie in: ``measurements.csv``, ``environment.json``."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import StudyError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

SET_ASIDE_FOLDER = "earlier"


@dataclass(frozen=True)
class Results:
    """One folder per study; one process writes to it at a time."""

    folder: Path

    @property
    def measurements(self) -> Path:
        """One row per invocation."""
        return self.folder / "measurements.csv"

    @property
    def environment(self) -> Path:
        """The facts of each run."""
        return self.folder / "environment.json"

    @property
    def service_log(self) -> Path:
        """What the local service of the study had to say."""
        return self.folder / "local-service.log"

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Be the only one who writes.

        Raises:
            StudyError: Another process does.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        guard = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            self._take(guard)
            yield
        finally:
            os.close(guard)

    def _take(self, guard: int) -> None:
        try:
            # The kernel lets go of it when the process ends, however it ends.
            fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as err:
            raise StudyError(
                "Another run writes to this folder",
                where=str(self.folder),
                remedy="Wait for it to end, or name another folder with --out",
            ) from err

    def set_aside(self, now: datetime) -> None:
        """Move what was measured into ``earlier/``: a fresh start loses nothing."""
        kept = [path for path in (self.measurements, self.environment) if path.exists()]
        if not kept:
            return
        aside = self.folder / SET_ASIDE_FOLDER / now.strftime("%Y%m%dT%H%M%S%fZ")
        aside.mkdir(parents=True)
        for path in kept:
            path.rename(aside / path.name)
