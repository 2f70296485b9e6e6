"""Read the times at which photographs arrived from a CSV file, which is called a trace.

A trace has one of two formats:

- The column ``arrived_at`` holds one time of arrival per row, in ISO 8601.
- The columns ``minute`` and ``count`` hold the number of requests that arrived in each minute.  The
  times within a minute are drawn at random.  A missing minute has no arrivals.  A minute that
  occurs twice is an error, because its count is ambiguous.

Rows that are out of order are sorted. A note says whether rows were sorted and whether minutes were
missing.
"""

from __future__ import annotations

import csv
from array import array
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import InvalidInput
from drdeploy.study.recommendation.traffic import HOURS_PER_DAY, MAX_ARRIVALS, WEEK_S, Arrivals
from drdeploy.units import SECONDS_PER_HOUR, SECONDS_PER_MONTH

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

MINUTE_S = 60
DAY_S = HOURS_PER_DAY * SECONDS_PER_HOUR
MAX_DAYS = 3660
"""The largest allowed length of a trace in days: ten years. The simulation counts instances minute
by minute, and a wrong year in one row would make it simulate millennia."""
MOMENT, MINUTE, COUNT = "arrived_at", "minute", "count"


def read_arrivals_from_trace(path: Path, *, seed: int = 0) -> Arrivals:
    """Read the arrivals from a trace, which is a CSV file in one of two formats.

    Args:
        path: The CSV file.
        seed: The seed with which times within a minute are drawn.

    Raises:
        InvalidInput: The file cannot be read, or its columns or a value are not valid. The error is
            also raised if a minute occurs twice, if only some times have a time zone, or if all
            arrivals have the same time. The trace may also have too few arrivals, too many
            arrivals, or too many days.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            return _make_arrivals_from_rows(path, csv.reader(file), seed)
    except (OSError, UnicodeDecodeError, csv.Error) as err:
        reason = err.strerror if isinstance(err, OSError) else err
        if isinstance(err, UnicodeDecodeError):
            reason = "it is not text in UTF-8"
        raise InvalidInput(
            f"The trace cannot be read: {reason}",
            where=str(path),
            remedy="Give a CSV file in UTF-8 with --trace",
        ) from err


def _make_arrivals_from_rows(path: Path, rows: Iterator[list[str]], seed: int) -> Arrivals:
    """Make the arrivals from the rows of a trace.

    The rows are read one by one, because the text of a long trace might not fit into memory.
    """
    columns = next(rows, [])
    if MOMENT in columns:
        if COUNT in columns:
            raise InvalidInput(
                f"The trace has the columns '{MOMENT}' and '{COUNT}', but each row of "
                f"'{MOMENT}' is one arrival, so the counts would have no effect",
                where=str(path),
                remedy=f"If a row stands for several arrivals, rename '{MOMENT}' to '{MINUTE}'; "
                f"otherwise remove '{COUNT}'",
            )
        return _make_arrivals_from_times(path, *_read_times_of_rows(rows, columns, MOMENT, path))
    if {MINUTE, COUNT} <= set(columns):
        counts: list[int] = []
        first, offsets_s = _read_times_of_rows(rows, columns, MINUTE, path, counts)
        return _make_arrivals_from_minute_counts(path, first, offsets_s, counts, seed)
    named = ", ".join(columns)
    raise InvalidInput(
        f"A trace needs the column '{MOMENT}', or the columns '{MINUTE}' and '{COUNT}', but this "
        f"file has {named[:200] or 'no columns'}",
        where=str(path),
        remedy="Rename the columns of the file",
    )


def _make_arrivals_from_times(
    path: Path, first: datetime, offsets_s: NDArray[np.float64]
) -> Arrivals:
    _require_two_arrivals(offsets_s.size, path)
    out_of_order = int((np.diff(offsets_s) < 0).sum())
    notes = []
    if out_of_order:
        many = out_of_order > 1
        notes.append(
            f"{out_of_order} row{'s' * many} of the trace {'were' if many else 'was'} out of "
            "order, so the rows were sorted."
        )
    times = np.sort(offsets_s)
    begin = first + timedelta(seconds=float(times[0]))
    times -= times[0]
    longest_s = float(np.diff(times).max())
    if longest_s > DAY_S:
        notes.append(
            f"The trace has {longest_s / DAY_S:.1f} days in a row without an arrival; the "
            "simulation keeps them."
        )
    return _make_arrivals_within_length(path, times, float(times[-1]), begin, notes)


def _make_arrivals_from_minute_counts(
    path: Path, first: datetime, minutes_s: NDArray[np.float64], counts: list[int], seed: int
) -> Arrivals:
    order = np.argsort(minutes_s, kind="stable")
    offsets_s = minutes_s[order]
    for earlier in offsets_s[:-1][np.diff(offsets_s) == 0][:1]:
        twice = first + timedelta(seconds=float(earlier))
        raise InvalidInput(
            f"The trace contains the minute {twice.isoformat()} twice",
            where=str(path),
            remedy="Write one row with the sum of the two counts, or remove one of the rows",
        )
    _require_two_arrivals(sum(counts), path)
    begin = first + timedelta(seconds=float(offsets_s[0]))
    offsets_s = offsets_s - offsets_s[0]
    notes = []
    if (np.diff(order) < 0).any():
        notes.append("The minutes of the trace were out of order, so they were sorted.")
    horizon_s = float(offsets_s[-1]) + MINUTE_S
    missing = round(horizon_s / MINUTE_S) - offsets_s.size
    if missing > 0:
        notes.append(
            f"The trace lacks {missing} minute{'s' * (missing > 1)}. "
            f"{'These minutes are' if missing > 1 else 'This minute is'} assumed to have no "
            "arrivals."
        )
    per_minute = np.array(counts)[order]
    within = np.random.default_rng(seed).random(int(per_minute.sum())) * MINUTE_S
    times: NDArray[np.float64] = np.sort(np.repeat(offsets_s, per_minute) + within)
    return _make_arrivals_within_length(path, times, horizon_s, begin, notes)


def _make_arrivals_within_length(
    path: Path,
    times: NDArray[np.float64],
    horizon_s: float,
    begin: datetime,
    notes: list[str],
) -> Arrivals:
    if horizon_s <= 0:
        raise InvalidInput(
            "All arrivals of the trace have the same time",
            where=str(path),
            remedy="Give a trace of at least a few minutes; a trace of a few weeks is better",
        )
    if horizon_s > MAX_DAYS * DAY_S:
        raise InvalidInput(
            f"The trace covers {horizon_s / DAY_S:,.0f} days, but at most {MAX_DAYS:,} are "
            "simulated",
            where=str(path),
            remedy="Look for a row with a wrong year, or give a shorter part of the trace",
        )
    if horizon_s < WEEK_S:
        notes.append(
            f"The trace covers {horizon_s / DAY_S:.1f} days. The rest of the week is assumed to "
            "have the same traffic."
        )
    # The simulation begins at a full hour, because schedules on AWS count the hours of the clock.
    full_hour = begin.replace(minute=0, second=0, microsecond=0)
    waited_s = (begin - full_hour).total_seconds()
    return Arrivals(
        times_s=times + waited_s,
        horizon_s=horizon_s + waited_s,
        begins_at_hour=float(begin.weekday() * HOURS_PER_DAY + begin.hour),
        requests_per_month=times.size * SECONDS_PER_MONTH / horizon_s,
        description=f"{times.size:,} arrivals over {horizon_s / DAY_S:.1f} days of {path.name}",
        notes=tuple(notes),
    )


def _read_times_of_rows(
    rows: Iterator[list[str]],
    columns: list[str],
    column: str,
    path: Path,
    counts: list[int] | None = None,
) -> tuple[datetime, NDArray[np.float64]]:
    """Return the time of the first row, and the seconds from this time to each row's time.

    If ``counts`` is a list, the function also appends the number of arrivals of each row to it.
    """
    place = columns.index(column)
    first: datetime | None = None
    offsets_s = array("d")
    for line, row in enumerate(rows, start=2):
        if not row:  # an empty line
            continue
        where = f"{path}, line {line}"
        if len(offsets_s) >= MAX_ARRIVALS:
            raise _make_too_long_error(f"more than {MAX_ARRIVALS:,}", path)
        moment = _parse_time(row[place] if place < len(row) else "", where)
        first = moment if first is None else first
        if (moment.tzinfo is None) != (first.tzinfo is None):
            raise InvalidInput(
                "The trace mixes times with a time zone and times without one",
                where=where,
                remedy="Write all times with a time zone, or all times without one",
            )
        offsets_s.append((moment - first).total_seconds())
        if counts is not None:
            at = columns.index(COUNT)
            counts.append(_parse_count(row[at] if at < len(row) else "", where))
    if counts is not None and sum(counts) > MAX_ARRIVALS:
        raise _make_too_long_error(f"{sum(counts):,}", path)
    if first is None:
        raise _make_too_short_error(0, path)
    return first, np.array(offsets_s, dtype=np.float64)


def _parse_time(text: str, where: str) -> datetime:
    try:
        return datetime.fromisoformat(text.strip())
    except ValueError as err:
        raise InvalidInput(
            f"{text[:100]!r} is not a time in ISO 8601",
            where=where,
            remedy="Write a time like 2025-03-03T09:15:00",
        ) from err


def _parse_count(text: str, where: str) -> int:
    number = text.strip()
    if not number.isdecimal() or len(number) > len(str(MAX_ARRIVALS)):
        raise InvalidInput(
            f"{text[:100]!r} is not a number of arrivals",
            where=where,
            remedy=f"Write a whole number from 0 to {MAX_ARRIVALS:,}",
        )
    return int(number)


def _make_too_long_error(arrivals: str, path: Path) -> InvalidInput:
    return InvalidInput(
        f"The trace has {arrivals} arrivals, but at most {MAX_ARRIVALS:,} are allowed",
        where=str(path),
        remedy="Give a shorter part of the trace",
    )


def _require_two_arrivals(arrivals: int, path: Path) -> None:
    if arrivals < 2:
        raise _make_too_short_error(arrivals, path)


def _make_too_short_error(arrivals: int, path: Path) -> InvalidInput:
    return InvalidInput(
        f"The trace has {arrivals} arrival{'s' * (arrivals != 1)}, but needs at least two",
        where=str(path),
        remedy="Give a longer trace; a trace of a few weeks is best",
    )
