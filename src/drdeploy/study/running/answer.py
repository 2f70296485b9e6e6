"""What a container says of itself in its answer; nothing is known of one that does not."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, Self


@dataclass(frozen=True)
class ContainerAnswer:
    """The part of the JSON answer that a measurement keeps (see ``hosting/serving/answer.py``).

    A container that is not ours may answer as it likes; what it does not tell is None.
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
        """Read an answer; never fails."""
        try:
            document = json.loads(body)
        except ValueError:
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
