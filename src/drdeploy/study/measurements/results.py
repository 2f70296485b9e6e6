"""The folder with a study's results: ``measurements.csv``, ``environment.json`` and a log."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from typing import TYPE_CHECKING

from drdeploy.errors import StudyError
from drdeploy.files import delete_abandoned_temporary_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

MEASUREMENTS_FILE = "measurements.csv"
ENVIRONMENT_FILE = "environment.json"
SET_ASIDE_FOLDER = "earlier"


class ResultsFolder:
    """The results folder of one study; only one process at a time writes to it.

    Attributes:
        measurements: The file with one row per invocation.
        environment: The file with the facts of each run.
        service_log: The log of the local service that the study started.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.measurements = folder / MEASUREMENTS_FILE
        self.environment = folder / ENVIRONMENT_FILE
        self.service_log = folder / "local-service.log"

    @contextmanager
    def hold_folder_lock(self) -> Iterator[None]:
        """Hold the folder's lock, so that two runs do not write rows at once.

        Raises:
            StudyError: Another process holds the lock.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        guard = os.open(self.folder / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            try:
                # The kernel releases the lock however the process ends, so no lock file of a killed
                # run must be deleted by hand.
                fcntl.flock(guard, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as err:
                raise StudyError(
                    "Another run is writing to the results folder",
                    where=str(self.folder),
                    remedy="Wait for the other run to end, or choose another folder with --out",
                ) from err
            delete_abandoned_temporary_files(
                self.folder
            )  # left by a run that was killed while it replaced a file
            yield
        finally:
            os.close(guard)

    def move_earlier_files_aside(self, now: datetime) -> None:
        """Move the files of rows and facts into a new folder under ``earlier/``."""
        kept = [path for path in (self.measurements, self.environment) if path.exists()]
        if not kept:
            return
        aside = self.folder / SET_ASIDE_FOLDER / now.strftime("%Y%m%dT%H%M%S%fZ")
        aside.mkdir(parents=True)
        for path in kept:
            path.rename(aside / path.name)
