"""The row of ``measurements.csv`` for one invocation, and its encoding as a line of text.

Warm-up requests and failed requests have rows too.
"""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from datetime import datetime  # noqa: TC003 - the schema reads the annotations
from typing import TYPE_CHECKING, Annotated, Any, Literal

from drdeploy.errors import StudyError
from drdeploy.files import escape_formula_in_csv_cell, unescape_formula_in_csv_cell
from drdeploy.hosting.sagemaker import InvocationOutcome
from drdeploy.hosting.sagemaker.platforms import HostingPlatform  # noqa: TC001 - read at run time
from drdeploy.study.measurements.schema import (
    ADDED_LATER,
    ONE_PER_TRIAL,
    OPTIONAL,
    encode_cell,
    list_declared_columns,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Start = Literal["cold", "warm", ""]
MeasuredOutcome = InvocationOutcome | Literal["wrong_start", "ungradable"]


@dataclass(frozen=True, kw_only=True)
class Measurement:
    """One invocation: the request, the endpoint, and the result.

    Each field declares a column of ``measurements.csv``, with its type, its meaning and rules for
    its values (see :mod:`~drdeploy.study.measurements.schema`).
    """

    study: Annotated[str, "Name of the study."]
    trial: Annotated[str, "Stable id, for example `mobilenet-fp32-lean-1024mb-cold`."]
    platform: Annotated[HostingPlatform, "Where the endpoint was: the local service, or AWS."]
    isolation: Annotated[
        str,
        "What enforced the memory and CPU limits of the endpoint: `container`, "
        "`process+cgroup-v1` or `process+cgroup-v2`. The value is `process` if nothing enforced "
        "the limits, and `managed` on AWS.",
    ]
    model: Annotated[str, "Name of the model in the study.", ONE_PER_TRIAL]
    architecture: Annotated[str, "Name of the network, from the manifest.", OPTIONAL, ONE_PER_TRIAL]
    weights: Annotated[
        str,
        "Origin of the weights, from the manifest: `trained`, `imagenet`, `random` or `unknown`.",
        ONE_PER_TRIAL,
    ]
    precision: Annotated[str, "Precision of the weights, for example `fp32`.", ONE_PER_TRIAL]
    profile: Annotated[str, "Profile of the server: `lean` or `classic`.", ONE_PER_TRIAL]
    image: Annotated[str, "Tag or URI of the container image.", OPTIONAL]
    endpoint_kind: Annotated[
        str, "`serverless`, `realtime`, `asynchronous` or `batch`.", ONE_PER_TRIAL
    ]
    memory_mb: Annotated[int | None, "Memory of a serverless endpoint.", ONE_PER_TRIAL] = None
    instance_type: Annotated[
        str, "Instance type of an endpoint with instances, or of transform jobs.", ONE_PER_TRIAL
    ] = ""
    instance_count: Annotated[
        int | None,
        "Number of instances with which an endpoint or a transform job starts.",
        OPTIONAL,
        ADDED_LATER,
        ONE_PER_TRIAL,
    ] = None
    vcpu: Annotated[
        float | None,
        "The number of CPUs that the endpoint is assumed to have.",
        OPTIONAL,
        ONE_PER_TRIAL,
    ] = None
    scenario: Annotated[
        str,
        "`warm`, `cold`, `real-time`, `open-loop`, `asynchronous` or `batch`. A row of `batch` is "
        "a transform job.",
        ONE_PER_TRIAL,
    ]
    sequence: Annotated[
        int, "Number of the measurement in the trial, from 1; 0 for the warm-up request."
    ]
    is_warmup: Annotated[bool, "Whether the row is a warm-up, which is left out of all results."]
    start: Annotated[
        Start,
        "`warm` if the container had answered before, and `cold` if it had not. Empty if the "
        "state of the container is not known.",
    ] = ""
    outcome: Annotated[
        MeasuredOutcome,
        "`ok` for a success, otherwise the kind of failure. `wrong_start` means a warm "
        "start where the scenario needs a cold one, or the reverse. `ungradable` means an answer "
        "without a prediction.",
    ]
    status: Annotated[
        int,
        "HTTP status. 0: no answer arrived; 202: an asynchronous request was queued; 200: a "
        "transform job has ended.",
    ]
    error: Annotated[str, "One line that explains a failure; empty for a success.", OPTIONAL] = ""
    scheduled_at: Annotated[datetime, "When the request was due.", OPTIONAL]
    started_at: Annotated[datetime, "When the request was sent."]
    total_latency_s: Annotated[
        float,
        "Time from sending the request to the answer, measured at the client. In an open loop: "
        "time from `scheduled_at` to the answer. For an asynchronous request: time from "
        "`scheduled_at` until the client sees the result in S3. For a transform job: time from "
        "its creation to its end, as SageMaker reports it.",
    ]
    requests_ahead: Annotated[
        int | None,
        "Number of the trial's asynchronous requests without a result when this request was sent.",
        OPTIONAL,
        ADDED_LATER,
    ] = None
    startup_s: Annotated[
        float | None,
        "Time from the creation of a transform job until its instances and containers are ready "
        "to work, as SageMaker reports it. Empty if they were never ready.",
        OPTIONAL,
        ADDED_LATER,
    ] = None
    photograph_count: Annotated[
        int | None, "Number of photographs of a transform job.", OPTIONAL, ADDED_LATER
    ] = None
    container_latency_s: Annotated[
        float | None, "Time from the request to the answer, measured in the container."
    ] = None
    prediction_s: Annotated[float | None, "Time that the model takes to predict."] = None
    decode_s: Annotated[float | None, "Time to decode the image file into pixels.", OPTIONAL] = None
    transform_s: Annotated[
        float | None, "Time to turn the pixels into the model's input.", OPTIONAL
    ] = None
    model_setup_s: Annotated[
        float | None, "CloudWatch's `ModelSetupTime`; only for a cold start.", OPTIONAL
    ] = None
    model_latency_s: Annotated[
        float | None,
        "CloudWatch's `ModelLatency`; empty if it may belong to another request.",
        OPTIONAL,
        ADDED_LATER,
    ] = None
    overhead_latency_s: Annotated[
        float | None,
        "CloudWatch's `OverheadLatency`, which includes the set-up of the container; empty if it "
        "may belong to another request.",
        OPTIONAL,
        ADDED_LATER,
    ] = None
    photograph: Annotated[
        str,
        "Name of the photograph: a keyed hash, or, with `--names`, its file name; empty for a "
        "transform job.",
        OPTIONAL,
    ]
    payload_bytes: Annotated[
        int, "Size of the request's body, or of all photographs of a transform job.", OPTIONAL
    ]
    label: Annotated[str, "Predicted class.", OPTIONAL] = ""
    grade: Annotated[int | None, "Predicted ICDR grade, from an ICDR grader.", OPTIONAL] = None
    model_digest: Annotated[str, "SHA-256 of the artifact that answered.", OPTIONAL] = ""
    container_id: Annotated[str, "Id of the container that answered.", OPTIONAL] = ""
    container_invocation: Annotated[
        int | None,
        "Position of the invocation among all invocations of its container, from 1.",
        OPTIONAL,
    ] = None
    run_id: Annotated[
        str,
        "Id of the run that measured the row; `environment.json` holds the facts of each run.",
        OPTIONAL,
    ]


SCHEMA = list_declared_columns(Measurement)
"""The columns of ``measurements.csv``, in order."""

COLUMNS = tuple(column.name for column in SCHEMA)
REQUIRED = tuple(column.name for column in SCHEMA if OPTIONAL not in column.rules)
"""The columns that a file must have to be analysed, even if another tool wrote the file."""


def encode_header() -> bytes:
    """Return the first line of ``measurements.csv``."""
    return _encode_csv_line(COLUMNS)


def encode_row(measurement: Measurement) -> bytes:
    """Return a row as one line, in which a line break within a string becomes a space."""
    return _encode_csv_line([encode_cell(getattr(measurement, name)) for name in COLUMNS])


def decode_rows(lines: Iterable[str], *, where: str) -> list[Measurement]:
    """Read rows from complete lines; the first line is the header.

    Raises:
        StudyError: The header has other columns, or a value does not fit its column.
    """
    reader = csv.reader(lines)
    header = tuple(next(reader, ()))
    columns = [one for one in SCHEMA if one.name in header or ADDED_LATER not in one.rules]
    if header != tuple(column.name for column in columns):
        raise StudyError(
            "The file does not have the columns of measurements: "
            f"{_describe_difference_of_columns(header)}",
            where=where,
            remedy="Move the file to another folder, or choose another results folder with --out",
        )
    rows = []
    for number, row in enumerate(reader, 1):
        place = f"{where}, row {number}"
        if len(row) != len(columns):
            raise _make_bad_row_error(
                f"it has {len(row)} cells, but there are {len(columns)} columns", place
            )
        values: dict[str, Any] = {}
        for column, cell in zip(columns, row, strict=True):
            try:
                values[column.name] = column.decode_cell(unescape_formula_in_csv_cell(cell))
            except ValueError as err:
                raise _make_bad_row_error(
                    f"the column {column.name} needs a value of the kind "
                    f"'{column.type_in_plain_words}', not {cell[:100]!r}",
                    place,
                ) from err
        rows.append(Measurement(**values))
    return rows


def _make_bad_row_error(why: str, where: str) -> StudyError:
    return StudyError(
        f"The row cannot be read: {why}",
        where=where,
        remedy="Correct or remove the row, or choose another results folder with --out",
    )


def _encode_csv_line(values: Sequence[str]) -> bytes:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerow(map(escape_formula_in_csv_cell, values))
    return text.getvalue().encode()


def _describe_difference_of_columns(header: Sequence[str]) -> str:
    missing = [
        column.name
        for column in SCHEMA
        if column.name not in header and ADDED_LATER not in column.rules
    ]
    foreign = [name for name in header if name not in COLUMNS]
    parts = [f"missing columns {', '.join(missing)}"] if missing else []
    parts += [f"unknown columns {', '.join(foreign)}"] if foreign else []
    return "; ".join(parts) or "the columns are in another order"
