"""A mosec server that grades photographs: a server in Rust passes them to worker processes."""

from __future__ import annotations

from mosec import Server, Worker

from grader import WORKERS, Grader


class Grading(Worker):
    """Grades photographs in one of mosec's worker processes."""

    def __init__(self) -> None:
        super().__init__()
        self._grader = Grader()

    def deserialize(self, data: bytes) -> bytes:
        """Pass on the photograph unchanged."""
        return data

    def forward(self, data: bytes) -> dict[str, object]:
        """Grade a photograph."""
        return self._grader.grade(data)


if __name__ == "__main__":
    server = Server()
    server.append_worker(Grading, num=WORKERS)
    server.run()
