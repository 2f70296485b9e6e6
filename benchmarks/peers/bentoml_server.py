"""BentoML: a Starlette application in worker processes.  Run with ``bentoml serve``."""

from pathlib import Path  # the annotations of the service are read when it starts

import bentoml

from grader import WORKERS, Grader


@bentoml.service(workers=WORKERS, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Grading:
    """The service in one worker process."""

    def __init__(self) -> None:
        self._grader = Grader()

    @bentoml.api(route="/invocations")
    def invocations(self, photograph: Path, /) -> dict:  # type: ignore[type-arg]
        """Grade a photograph."""
        return self._grader.grade(photograph.read_bytes())
