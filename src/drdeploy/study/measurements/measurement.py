"""One invocation, one row.  Units stand in the names; warm-ups and failures are kept."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the schema reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal

from drdeploy.errors import StudyError
from drdeploy.files import cell_text, safe_cell
from drdeploy.hosting.sagemaker import InvocationOutcome
from drdeploy.study.measurements.schema import (
    ADDED_LATER,
    ONE_PER_TRIAL,
    OPTIONAL,
    columns_of,
    encode,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Platform = Literal["local", "aws"]
Start = Literal["cold", "warm", ""]
Outcome = InvocationOutcome | Literal["wrong_start", "ungradable"]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One invocation: what was asked, of what, and what came of it.

    Each field declares a column of ``measurements.csv``: its type, its meaning, and its rules
    (see :mod:`~drdeploy.study.measurements.schema`).
    """

    study: Annotated[str, "Name of the study."]
    trial: Annotated[str, "Stable id, for example `mobilenet-fp32-lean-1024mb-cold`."]
    platform: Annotated[Platform, "Where the endpoint was: the local service, or AWS."]
    isolation: Annotated[
        str,
        "What held the container to its memory and CPU: `container`, `process+cgroup-v1`, "
        "`process+cgroup-v2`, `process` (nothing did), or `managed` on AWS.",
    ]
    model: Annotated[str, "Name of the model in the study.", ONE_PER_TRIAL]
    architecture: Annotated[str, "The network, from the manifest.", OPTIONAL, ONE_PER_TRIAL]
    weights: Annotated[
        str,
        "Where the weights come from: `trained`, `imagenet`, `random` or `unknown`, from the "
        "manifest.",
        ONE_PER_TRIAL,
    ]
    precision: Annotated[str, "Precision of the weights, `fp32` for example.", ONE_PER_TRIAL]
    profile: Annotated[str, "Profile of the server: `lean` or `classic`.", ONE_PER_TRIAL]
    image: Annotated[str, "Tag or URI of the container image.", OPTIONAL]
    endpoint_kind: Annotated[str, "`serverless` or `realtime`.", ONE_PER_TRIAL]
    memory_mb: Annotated[int | None, "Memory of a serverless endpoint.", ONE_PER_TRIAL] = None
    instance_type: Annotated[str, "Instance type of a real-time endpoint.", ONE_PER_TRIAL] = ""
    vcpu: Annotated[
        float | None, "CPUs that the endpoint is taken to have.", OPTIONAL, ONE_PER_TRIAL
    ] = None
    scenario: Annotated[str, "`warm`, `cold`, `real-time` or `open-loop`.", ONE_PER_TRIAL]
    sequence: Annotated[int, "Number in the trial, from 1; 0 is the uncounted first request."]
    is_warmup: Annotated[bool, "Whether the row is not to be counted."]
    start: Annotated[
        Start,
        "Whether the container had answered before (`warm`) or not (`cold`); empty where that is "
        "not known.",
    ] = ""
    outcome: Annotated[
        Outcome,
        "`ok` (the only one that is counted), the kind of failure, `wrong_start` (an answer of "
        "the other start than the scenario asks for) or `ungradable` (a photograph that was "
        "answered without a prediction).",
    ]
    status: Annotated[int, "HTTP status; 0 where no answer came."]
    error: Annotated[str, "One line that explains a failure, otherwise empty.", OPTIONAL] = ""
    scheduled_at: Annotated[datetime, "When the request was due.", OPTIONAL]
    started_at: Annotated[datetime, "When the request was sent."]
    total_latency_s: Annotated[
        float, "From request to answer, at the client; in an open loop from `scheduled_at`."
    ]
    container_latency_s: Annotated[float | None, "From request to answer, in the container."] = None
    prediction_s: Annotated[float | None, "Time in the model."] = None
    decode_s: Annotated[float | None, "From the image file to pixels.", OPTIONAL] = None
    transform_s: Annotated[float | None, "From pixels to model input.", OPTIONAL] = None
    model_setup_s: Annotated[
        float | None, "CloudWatch `ModelSetupTime`; only for a cold start.", OPTIONAL
    ] = None
    model_latency_s: Annotated[
        float | None,
        "CloudWatch `ModelLatency`; empty where it is not certain whose it is.",
        OPTIONAL,
        ADDED_LATER,
    ] = None
    overhead_latency_s: Annotated[
        float | None,
        "CloudWatch `OverheadLatency`, set-up included; empty likewise.",
        OPTIONAL,
        ADDED_LATER,
    ] = None
    photograph: Annotated[str, "File name of the photograph.", OPTIONAL]
    payload_bytes: Annotated[int, "Size of the request's body.", OPTIONAL]
    label: Annotated[str, "Predicted class.", OPTIONAL] = ""
    grade: Annotated[int | None, "Predicted ICDR grade, from an ICDR grader.", OPTIONAL] = None
    model_digest: Annotated[str, "SHA-256 of the artifact that answered.", OPTIONAL] = ""
    container_id: Annotated[str, "Which container answered.", OPTIONAL] = ""
    container_invocation: Annotated[
        int | None, "Which of the container's invocations this was, from 1.", OPTIONAL
    ] = None
    run_id: Annotated[
        str,
        "Which run of the study measured the row; its facts are in `environment.json`.",
        OPTIONAL,
    ]


SCHEMA = columns_of(Measurement)
"""The columns of ``measurements.csv``, in order."""

COLUMNS = tuple(column.name for column in SCHEMA)
REQUIRED = tuple(column.name for column in SCHEMA if OPTIONAL not in column.rules)
"""What a file needs to be analysed, whoever wrote it."""


def encode_header() -> bytes:
    """Return the first line of ``measurements.csv``."""
    return _line(COLUMNS)


def encode_row(measurement: Measurement) -> bytes:
    """Return a row as one line: a line break within a text becomes a space."""
    return _line([encode(getattr(measurement, name)) for name in COLUMNS])


def decode_rows(lines: Iterable[str], *, where: str) -> list[Measurement]:
    """Read complete lines, the header first.

    Raises:
        StudyError: The columns are others, or a value does not fit its column.
    """
    reader = csv.reader(lines)
    header = tuple(next(reader, ()))
    columns = [one for one in SCHEMA if one.name in header or ADDED_LATER not in one.rules]
    if header != tuple(column.name for column in columns):
        raise StudyError(
            f"These are not the columns of measurements: {_difference(header)}",
            where=where,
            remedy="Keep that file elsewhere, or name another folder with --out",
        )
    rows = []
    for number, row in enumerate(reader, 1):
        try:
            values: dict[str, Any] = {
                column.name: column.decode(cell_text(cell))
                for column, cell in zip(columns, row, strict=True)
            }
        except ValueError as err:
            raise StudyError(
                f"The row cannot be read: {err}", where=f"{where}, row {number}"
            ) from err
        rows.append(Measurement(**values))
    return rows


def _line(values: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(map(safe_cell, values))
    return text.getvalue().encode()


def _difference(header: Sequence[str]) -> str:
    missing = [
        column.name
        for column in SCHEMA
        if column.name not in header and ADDED_LATER not in column.rules
    ]
    foreign = [name for name in header if name not in COLUMNS]
    parts = [f"missing {', '.join(missing)}"] if missing else []
    parts += [f"unknown {', '.join(foreign)}"] if foreign else []
    return "; ".join(parts) or "another order"
