"""The grader that ships with this package: a MobileNet trained on IDRiD, as ONNX, fp32 and int8.

``make model`` makes it; ``MODEL_CARD.md`` beside this file says on what it was trained, how good
it is and what it must not be used for.  For research use. Not a medical device.
"""

from __future__ import annotations

from pathlib import Path

from drdeploy.errors import ArtifactError

FOLDER = Path(__file__).parent
NAME = "mobilenet-idrid"


def box_artifact(precision: str = "fp32") -> Path:
    """Return the archive of the grader in the box, in ``fp32`` or ``int8``.

    Raises:
        ArtifactError: This installation has none.
    """
    path = FOLDER / f"{NAME}-{precision}.tar.gz"
    if not path.is_file():
        raise ArtifactError(
            f"There is no {precision} grader in the box",
            where=str(path),
            remedy="Run `make model`, or name an artifact of your own with --artifact",
        )
    return path
