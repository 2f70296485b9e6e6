"""Grade several studies at the same time in a few threads."""

from __future__ import annotations

import threading
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drdeploy.clinic.background_work import StudyGrader
    from drdeploy.clinic.records.records import WaitingStudy


class GradingPool:
    """Grades several studies at the same time, one in each worker thread."""

    def __init__(self, grader: StudyGrader, workers: int) -> None:
        self._grader = grader
        self._workers = workers

    def grade_due_studies(self) -> None:
        """Grade the studies that are due now, and wait until all of them are done."""
        due = deque(self._grader.list_due_studies())
        errors: list[Exception] = []
        # These are daemon threads. With concurrent.futures, the program could not end while a
        # thread waits for an endpoint that does not answer.
        threads = [
            threading.Thread(
                target=self._grade_until_none_is_due,
                args=(due, errors),
                name=f"grading-{number}",
                daemon=True,
            )
            for number in range(min(self._workers, len(due)))
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for error in errors:
            raise error

    def _grade_until_none_is_due(self, due: deque[WaitingStudy], errors: list[Exception]) -> None:
        while due:
            try:
                self._grader.grade_study(due.popleft())
            except IndexError:  # another thread took the last study
                return
            except Exception as error:  # noqa: BLE001 - the others are still due
                errors.append(error)
