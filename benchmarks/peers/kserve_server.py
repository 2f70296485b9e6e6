"""A KServe server that grades photographs in a single process, without gRPC."""

from __future__ import annotations

import asyncio

from kserve import Model, ModelServer

from grader import PORT, Grader


class Grading(Model):
    """The grader as a KServe model."""

    def __init__(self) -> None:
        super().__init__("grader")
        self._grader = Grader()
        self.ready = True

    async def predict(
        self, payload: bytes, headers: object = None, response_headers: object = None
    ) -> dict[str, object]:
        """Grade a photograph in a thread."""
        del headers, response_headers
        return await asyncio.to_thread(self._grader.grade, payload)


if __name__ == "__main__":
    ModelServer(http_port=PORT, enable_grpc=False, enable_latency_logging=False).start([Grading()])
