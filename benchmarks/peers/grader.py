"""The code with which all servers of other projects (the peers) grade a photograph.

It calls drdeploy's own code, so that the compared programs differ only in their servers.
"""

from __future__ import annotations

import os
from pathlib import Path

from drdeploy.grader.inference import InferenceService

PORT = int(os.environ["PEER_PORT"])
WORKERS = int(os.environ["PEER_WORKERS"])
THREADS = int(os.environ["PEER_THREADS"])


class Grader:
    """A loaded model. Loading includes a first prediction, which is slower than all later ones."""

    def __init__(self) -> None:
        self._service = InferenceService.load(Path(os.environ["PEER_MODEL"]), threads=THREADS)

    def grade(self, photograph: bytes) -> dict[str, object]:
        """Return the grade and its probabilities."""
        prediction = self._service.infer([photograph])[0].prediction
        if prediction is None:
            return {"grade": None}
        return {
            "grade": int(prediction.grade),
            "probabilities": [float(share) for share in prediction.probabilities],
        }
