"""A LitServe server that grades photographs: FastAPI passes them to worker processes."""

from __future__ import annotations

import litserve
from fastapi import Body

from grader import PORT, WORKERS, Grader


class Grading(litserve.LitAPI):
    """Grades photographs in one of LitServe's worker processes."""

    def setup(self, device: str) -> None:
        """Load the model."""
        del device
        self._grader = Grader()

    def decode_request(self, request):  # noqa: ANN001, ANN201 - annotated below
        """Pass on the photograph unchanged."""
        return request

    def predict(self, x: bytes) -> dict[str, object]:
        """Grade a photograph."""
        return self._grader.grade(x)

    def encode_response(self, output: dict[str, object]) -> dict[str, object]:
        """Pass on the answer unchanged."""
        return output


# LitServe reads the annotation itself, not as text.
Grading.decode_request.__annotations__["request"] = __import__("typing").Annotated[
    bytes, Body(media_type="image/jpeg")
]

if __name__ == "__main__":
    server = litserve.LitServer(
        Grading(api_path="/invocations"), accelerator="cpu", workers_per_device=WORKERS,
        fast_queue=True,
    )  # fmt: skip
    server.run(host="127.0.0.1", port=PORT, log_level="error", generate_client_file=False)
