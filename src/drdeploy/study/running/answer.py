"""What a container says about itself in its answer to an invocation."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class ContainerAnswer:
    """The part of a JSON answer that a measurement keeps (see ``hosting/serving/answer.py``).

    Attributes:
        container_latency_s: From request to answer, in the container.
        prediction_s: In the model.
        decode_s: From the image file to pixels.
        transform_s: From pixels to model input.
        container_invocation: Which of the container's invocations this was, from 1.
        is_ungradable: Whether the photograph was answered without a prediction.
    """

    container_latency_s: float | None = None
    prediction_s: float | None = None
    decode_s: float | None = None
    transform_s: float | None = None
    label: str = ""
    grade: int | None = None
    model_digest: str = ""
    container_id: str = ""
    container_invocation: int | None = None
    is_ungradable: bool = False

    @classmethod
    def read(cls, body: bytes) -> Self:
        """Read what an answer holds; never fails.

        A study may measure an image that is not ours, which answers as it likes.  Its latency at
        the client counts all the same, so what is missing or of another type is left empty.
        """
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            return cls()
        if not isinstance(document, dict):
            return cls()
        timing, model, container = (
            _table(document, name) for name in ("timing", "model", "container")
        )
        return cls(
            container_latency_s=_number(document.get("requestLatency")),
            prediction_s=_number(document.get("predictionLatency")),
            decode_s=_number(timing.get("decode_s")),
            transform_s=_number(timing.get("transform_s")),
            label=_text(document.get("label")),
            grade=_integer(document.get("grade")),
            model_digest=_text(model.get("digest")),
            container_id=_text(container.get("id")),
            container_invocation=_integer(container.get("invocation")),
            is_ungradable=document.get("gradable") is False,
        )


def _table(document: dict[str, Any], name: str) -> dict[str, Any]:
    value = document.get(name)
    return value if isinstance(value, dict) else {}


def _number(value: object) -> float | None:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return float(value) if is_number else None  # type: ignore[arg-type]  # checked on the line above


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""
