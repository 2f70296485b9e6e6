"""A BentoML server that grades photographs; ``bentoml serve`` starts its worker processes."""

from pathlib import Path  # the annotations of the service are read when it starts

import bentoml

from grader import WORKERS, Grader


@bentoml.service(workers=WORKERS, traffic={"timeout": 60}, logging={"access": {"enabled": False}})
class Grading:
    """Grades photographs in one of BentoML's worker processes."""

    def __init__(self) -> None:
        self._grader = Grader()

    @bentoml.api(route="/invocations")
    def invocations(self, photograph: Path, /) -> dict:  # type: ignore[type-arg]
        """Grade a photograph."""
        return self._grader.grade(photograph.read_bytes())
