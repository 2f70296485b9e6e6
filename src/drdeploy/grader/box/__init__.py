"""The packaged grader: a MobileNet trained on IDRiD, as ONNX in fp32 and int8.

``make model`` trains the packaged grader. The file ``MODEL_CARD.md`` describes the grader's
training data, quality and permitted use. The grader is for research use, and is not a medical
device.
"""

from __future__ import annotations

from pathlib import Path

from drdeploy.errors import ArtifactError

FOLDER = Path(__file__).parent
NAME = "mobilenet-idrid"


def box_artifact(precision: str = "fp32") -> Path:
    """Return the archive of the packaged grader, in ``fp32`` or ``int8``.

    Raises:
        ArtifactError: This installation does not contain the archive.
    """
    path = FOLDER / f"{NAME}-{precision}.tar.gz"
    if not path.is_file():
        raise ArtifactError(
            f"This installation has no packaged grader in {precision}",
            where=str(path),
            remedy="Run `make model` in a clone of the project, or give an artifact of your own "
            "with --artifact",
        )
    return path
