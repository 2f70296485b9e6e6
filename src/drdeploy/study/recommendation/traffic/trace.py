"""Moments of arrival, read from a CSV file: one a row, or counts per minute.

The column ``arrived_at`` holds moments in ISO 8601; rows that are out of order are sorted, and a
note says so.  The columns ``minute,count`` hold how many requests arrived in each minute; within
the minute they are spread at random.  A missing minute counts as one without arrivals, and a note
says so; a minute that stands twice is an error, because nobody knows which count is meant.
"""

from __future__ import annotations

import csv
import itertools
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.study.recommendation.traffic.arrivals import WEEK_S, Arrivals
from drdeploy.study.recommendation.traffic.shape import HOURS_PER_DAY
from drdeploy.units import SECONDS_PER_HOUR, SECONDS_PER_MONTH

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray

MINUTE_S = 60
DAY_S = HOURS_PER_DAY * SECONDS_PER_HOUR
MAX_ARRIVALS = 50_000_000
"""Arrivals of a trace: more than a year of one each second, in 400 MB of memory."""
MOMENT, MINUTE, COUNT = "arrived_at", "minute", "count"


def read_trace(path: Path, *, seed: int = 0) -> Arrivals:
    """Read the arrivals of a trace, in either form.

    Args:
        path: The CSV file.
        seed: Of the moments within a minute.

    Raises:
        InvalidInput: The file cannot be read, has other columns or a value that makes no sense,
            repeats a minute, mixes times with and without a zone, or has fewer than two arrivals.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            reader = csv.DictReader(file)
            columns, rows = reader.fieldnames or [], list(reader)
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        raise InvalidInput(
            f"The trace cannot be read: {err}", where=str(path), remedy="Name a CSV file in UTF-8"
        ) from err
    if MOMENT in columns:
        return _of_moments(path, _moments(rows, MOMENT, path))
    if {MINUTE, COUNT} <= set(columns):
        return _of_counts(path, _moments(rows, MINUTE, path), _counts(rows, path), seed)
    raise InvalidInput(
        f"A trace needs the column {MOMENT}, or the columns {MINUTE} and {COUNT}; "
        f"this one has {', '.join(columns) or 'none'}",
        where=str(path),
        remedy="Rename its columns",
    )


def _of_moments(path: Path, moments: list[datetime]) -> Arrivals:
    ordered = sorted(moments)
    steps = itertools.pairwise(moments)
    out_of_order = sum(earlier > later for earlier, later in steps)
    notes = []
    if out_of_order:
        notes.append(f"{out_of_order} rows of the trace came before an earlier one; sorted.")
    _require_two(len(ordered), path)
    times = np.array([(moment - ordered[0]).total_seconds() for moment in ordered])
    longest_s = float(np.diff(times).max())
    if longest_s > DAY_S:
        notes.append(
            f"The longest time without an arrival is {longest_s / DAY_S:.1f} days; it is kept."
        )
    return _arrivals(path, times, float(times[-1]), ordered[0], notes)


def _of_counts(path: Path, minutes: list[datetime], counts: list[int], seed: int) -> Arrivals:
    order = sorted(range(len(minutes)), key=minutes.__getitem__)
    begins = [minutes[index] for index in order]
    for earlier, later in itertools.pairwise(begins):
        if earlier == later:
            raise InvalidInput(
                f"The minute {earlier.isoformat()} stands twice",
                where=str(path),
                remedy="Add the two counts up, or remove one",
            )
    _require_two(sum(counts), path)
    offsets_s = np.array([(begin - begins[0]).total_seconds() for begin in begins])
    notes = []
    if order != list(range(len(order))):
        notes.append("The minutes of the trace were out of order; sorted.")
    horizon_s = float(offsets_s[-1]) + MINUTE_S
    missing = round(horizon_s / MINUTE_S) - len(begins)
    if missing > 0:
        notes.append(f"{missing} minutes are missing from the trace; they count as empty.")
    per_minute = np.array([counts[index] for index in order])
    within = np.random.default_rng(seed).random(int(per_minute.sum())) * MINUTE_S
    times: NDArray[np.float64] = np.sort(np.repeat(offsets_s, per_minute) + within)
    return _arrivals(path, times, horizon_s, begins[0], notes)


def _arrivals(
    path: Path,
    times: NDArray[np.float64],
    horizon_s: float,
    begin: datetime,
    notes: list[str],
) -> Arrivals:
    if horizon_s <= 0:
        raise InvalidInput(
            "All arrivals of the trace have the same moment",
            where=str(path),
            remedy="Give a trace of some minutes at least, better of some weeks",
        )
    if horizon_s < WEEK_S:
        notes.append(
            f"The trace spans {horizon_s / DAY_S:.1f} days; other days are assumed to be like them."
        )
    hour = begin.weekday() * HOURS_PER_DAY + begin.hour + begin.minute / 60 + begin.second / 3600
    return Arrivals(
        times_s=times,
        horizon_s=horizon_s,
        begins_at_hour=hour,
        requests_per_month=times.size * SECONDS_PER_MONTH / horizon_s,
        description=f"{times.size:,} arrivals over {horizon_s / DAY_S:.1f} days of {path.name}",
        notes=tuple(notes),
    )


def _moments(rows: Sequence[dict[str, str]], column: str, path: Path) -> list[datetime]:
    moments = []
    for line, row in enumerate(rows, start=2):
        try:
            moments.append(datetime.fromisoformat((row[column] or "").strip()))
        except ValueError as err:
            raise InvalidInput(
                f"{row[column]!r} is not a moment in ISO 8601",
                where=f"{path}, line {line}",
                remedy="Write it like 2025-03-03T09:15:00",
            ) from err
    if len({moment.tzinfo is None for moment in moments}) > 1:
        raise InvalidInput(
            "Some moments have a time zone and some have none",
            where=str(path),
            remedy="Write all of them in one way",
        )
    return moments


def _counts(rows: Sequence[dict[str, str]], path: Path) -> list[int]:
    counts = []
    for line, row in enumerate(rows, start=2):
        text = (row[COUNT] or "").strip()
        if not text.isdecimal() or len(text) > len(str(MAX_ARRIVALS)):
            raise InvalidInput(
                f"{row[COUNT]!r} is not a count",
                where=f"{path}, line {line}",
                remedy=f"Write a whole number from 0 to {MAX_ARRIVALS:,}",
            )
        counts.append(int(text))
    if sum(counts) > MAX_ARRIVALS:
        raise InvalidInput(
            f"The trace has {sum(counts):,} arrivals, with at most {MAX_ARRIVALS:,} allowed",
            where=str(path),
            remedy="Give a shorter part of it",
        )
    return counts


def _require_two(arrivals: int, path: Path) -> None:
    if arrivals < 2:
        raise InvalidInput(
            f"The trace has {arrivals} arrival{'s' * (arrivals != 1)}",
            where=str(path),
            remedy="A trace needs at least two, and some weeks of them for a decision",
        )
