"""Grade the studies that are due in a pool of a few threads."""

from __future__ import annotations

from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drdeploy.clinic.intake import StudyGrader


class GradingPool:
    """Grades as many studies at once as it has workers, the oldest first."""

    def __init__(self, grader: StudyGrader, workers: int) -> None:
        self._grader = grader
        self._pool = ThreadPoolExecutor(workers, thread_name_prefix="grading")

    def grade_due_studies(self) -> None:
        """Grade the studies that are due now, and wait until all of them are done."""
        tasks = [
            self._pool.submit(self._grader.grade_study, study)
            for study in self._grader.list_due_studies()
        ]
        errors: list[BaseException | None] = []
        for task in tasks:  # an error in one must not leave others running: they are still due
            with suppress(CancelledError):  # the program ends
                errors.append(task.exception())
        for error in filter(None, errors):
            raise error

    def stop(self) -> None:
        """Begin no further study."""
        self._pool.shutdown(wait=True, cancel_futures=True)
