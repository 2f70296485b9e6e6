"""One invocation, one row.  Units stand in the names; warm-ups and failures are kept."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal, get_type_hints

from drdeploy.errors import StudyError
from drdeploy.hosting.sagemaker import InvocationOutcome

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Platform = Literal["local", "aws"]
Start = Literal["cold", "warm", ""]
Outcome = InvocationOutcome | Literal["wrong_start", "ungradable"]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """What was asked, of what, and what came of it.

    Attributes:
        study: Name of the study.
        trial: Stable id, for example ``mobilenet-fp32-lean-1024mb-cold``.
        platform: ``local`` or ``aws``.
        isolation: What held the container to its size: ``container``, ``process+cgroup-v1``,
            ``process+cgroup-v2``, ``process`` (nothing did), or ``managed`` on AWS.
        model: Name in the study.
        architecture: The network, from the manifest.
        weights: ``trained``, ``imagenet``, ``random`` or ``unknown``, from the manifest.
        precision: Of the artifact.
        profile: ``lean`` or ``classic``.
        image: Tag or URI of the container image.
        endpoint_kind: ``serverless`` or ``realtime``.
        memory_mb: Of a serverless endpoint.
        instance_type: Of a real-time endpoint.
        vcpu: That the endpoint is taken to have.
        scenario: ``warm``, ``cold``, ``real-time`` or ``open-loop``.
        sequence: From 1; 0 for the uncounted request.
        is_warmup: Not to be counted.
        start: Whether the container had answered before; empty where that is not known.
        outcome: ``ok``, the kind of failure, ``wrong_start`` (an answer of the other start than
            the scenario asks for) or ``ungradable`` (a photograph that was answered without a
            prediction); ``ok`` alone is to be counted.
        status: HTTP status, 0 where no answer came.
        error: One line for a failure, otherwise empty.
        scheduled_at: When the request was due, UTC.
        started_at: When it was sent, UTC.
        total_latency_s: At the client; in an open loop from ``scheduled_at``.
        container_latency_s: From request to answer within the container.
        prediction_s: In the model.
        decode_s: JPEG to pixels.
        transform_s: Pixels to model input.
        model_setup_s: CloudWatch ``ModelSetupTime``; only for a cold start.
        model_latency_s: CloudWatch ``ModelLatency``; empty where it is not certain whose it is.
        overhead_latency_s: CloudWatch ``OverheadLatency``, set-up included; likewise.
        photograph: File name.
        payload_bytes: Size of the request's body.
        label: Predicted class.
        grade: Predicted ICDR grade; only from an ICDR grader.
        model_digest: Of the artifact that answered.
        container_id: Which container answered.
        container_invocation: Which of its invocations this was, from 1.
        run_id: Which run of the study measured it; its facts are in ``environment.json``.
    """

    study: str
    trial: str
    platform: Platform
    isolation: str
    model: str
    architecture: str
    weights: str
    precision: str
    profile: str
    image: str
    endpoint_kind: str
    memory_mb: int | None = None
    instance_type: str = ""
    vcpu: float | None = None
    scenario: str
    sequence: int
    is_warmup: bool
    start: Start = ""
    outcome: Outcome
    status: int
    error: str = ""
    scheduled_at: datetime
    started_at: datetime
    total_latency_s: float
    container_latency_s: float | None = None
    prediction_s: float | None = None
    decode_s: float | None = None
    transform_s: float | None = None
    model_setup_s: float | None = None
    model_latency_s: float | None = None
    overhead_latency_s: float | None = None
    photograph: str
    payload_bytes: int
    label: str = ""
    grade: int | None = None
    model_digest: str = ""
    container_id: str = ""
    container_invocation: int | None = None
    run_id: str


COLUMNS: tuple[str, ...] = tuple(field.name for field in fields(Measurement))
"""Of ``measurements.csv``, in order."""

ADDED_LATER = ("model_latency_s", "overhead_latency_s")
"""Columns that older files lack; there they are empty."""


def encode_header() -> bytes:
    """The first line."""
    return _line(COLUMNS)


def encode_row(measurement: Measurement) -> bytes:
    """One line, always: a line break within a text becomes a space."""
    return _line([_to_text(getattr(measurement, name)) for name in COLUMNS])


def decode_rows(lines: Iterable[str], *, where: str) -> list[Measurement]:
    """Read complete lines, the header first.

    Raises:
        StudyError: The columns are others, or a value does not fit its column.
    """
    reader = csv.reader(lines)
    header = tuple(next(reader, ()))
    columns = tuple(name for name in COLUMNS if name in header or name not in ADDED_LATER)
    if header != columns:
        raise StudyError(
            f"These are not the columns of measurements: {_difference(header)}",
            where=where,
            remedy="Keep that file elsewhere, or name another folder with --out",
        )
    return [
        _decode_row(header, row, f"{where}, row {number}") for number, row in enumerate(reader, 1)
    ]


def _decode_row(columns: Sequence[str], row: Sequence[str], where: str) -> Measurement:
    try:
        values: dict[str, Any] = {
            name: _from_text(text, _COLUMN_TYPES[name])
            for name, text in zip(columns, row, strict=True)
        }
    except ValueError as err:
        raise StudyError(f"The row cannot be read: {err}", where=where) from err
    return Measurement(**values)


def _column_types() -> dict[str, str]:
    hints = get_type_hints(Measurement)
    return {name: _kind_of(hints[name]) for name in COLUMNS}


def _kind_of(hint: object) -> str:
    """``float?`` for ``float | None``; ``str`` for a literal."""
    for kind in (bool, int, float, datetime):
        if hint is kind:
            return kind.__name__
        if hint == kind | None:
            return f"{kind.__name__}?"
    return "str"


_COLUMN_TYPES = _column_types()

_LINE_BREAKS = str.maketrans(dict.fromkeys("\r\n\0", " "))


def _to_text(value: object) -> str:
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case datetime():
            return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
        case float():
            return repr(value)
        case _:
            return str(value).translate(_LINE_BREAKS)


def _from_text(text: str, kind: str) -> object:
    if kind.endswith("?") and not text:
        return None
    match kind.removesuffix("?"):
        case "bool":
            return _boolean(text)
        case "int":
            return int(text)
        case "float":
            return float(text)
        case "datetime":
            return datetime.fromisoformat(text)
        case _:
            return text


def _boolean(text: str) -> bool:
    if text not in {"true", "false"}:
        raise ValueError(f"{text!r} is neither true nor false")
    return text == "true"


def _line(values: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(values)
    return text.getvalue().encode()


def _difference(header: Sequence[str]) -> str:
    missing = [name for name in COLUMNS if name not in {*header, *ADDED_LATER}]
    foreign = [name for name in header if name not in COLUMNS]
    parts = [f"missing {', '.join(missing)}"] if missing else []
    parts += [f"unknown {', '.join(foreign)}"] if foreign else []
    return "; ".join(parts) or "another order"
