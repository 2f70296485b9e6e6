"""Read the schedule of a scheduled action: ``at(...)``, ``rate(...)`` or ``cron(...)``.

Source: Application Auto Scaling user guide, "Schedule recurring scaling actions", and EventBridge
user guide, "Cron expressions reference".
"""

from __future__ import annotations

import calendar
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

from drdeploy.units import SECONDS_PER_DAY, SECONDS_PER_HOUR, SECONDS_PER_MINUTE

if TYPE_CHECKING:
    from collections.abc import Callable

AT = re.compile(r"at\((\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d)?)\)")
RATE = re.compile(r"rate\((\d{1,9}) (minute|hour|day)s?\)")
CRON = re.compile(r"cron\(([^()]*)\)")
UNIT_S = {"minute": SECONDS_PER_MINUTE, "hour": SECONDS_PER_HOUR, "day": SECONDS_PER_DAY}
MONTHS = {name.upper(): number for number, name in enumerate(calendar.month_abbr) if name}
WEEKDAYS = {
    name: number for number, name in enumerate(["SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT"], 1)
}
FIELDS: tuple[tuple[str, int, int, dict[str, int]], ...] = (
    ("minutes", 0, 59, {}),
    ("hours", 0, 23, {}),
    ("day of month", 1, 31, {}),
    ("month", 1, 12, MONTHS),
    ("day of week", 1, 7, WEEKDAYS),
    ("year", 1970, 2199, {}),
)
"""The fields of a cron expression. Each entry has the name of the field, its lowest value, its
highest value, and words such as ``MON`` that may stand for numbers.
"""
DAY_OF_MONTH, DAY_OF_WEEK = 2, 4
NEAREST_WEEKDAY = re.compile(r"(\d{1,2})W")
NUMBERED_WEEKDAY = re.compile(r"(\w{1,3})#([1-5])")
LAST_WEEKDAY = re.compile(r"(\w{1,3})L")
CATCH_UP_S_MAX = SECONDS_PER_HOUR
"""The longest time in seconds by which an action with ``cron(...)`` may be late and still run. The
computer may have been asleep at the action's time. A run that is later than this is skipped.
"""


class ScheduleRefused(Exception):
    """A schedule cannot be read; the message says why."""


@dataclass(frozen=True)
class Schedule:
    """The times at which a scheduled action runs.

    Attributes:
        once_s: The only time of ``at(...)``, in seconds since 1970; None for other schedules.
        every_s: The seconds between two runs of ``rate(...)``; None for other schedules.
        matches: For ``cron(...)``, a function that takes a time and returns whether the action runs
            in that minute; None for other schedules.
        zone: The time zone of ``cron(...)``.
    """

    once_s: float | None = None
    every_s: int | None = None
    matches: Callable[[datetime], bool] | None = None
    zone: tzinfo = UTC

    @classmethod
    def parse(cls, text: str, timezone: str | None = None) -> Schedule:
        """Read a schedule.

        Raises:
            ScheduleRefused: The schedule or the time zone is not valid.
        """
        zone = _find_time_zone(timezone)
        if found := AT.fullmatch(text):
            try:
                moment = datetime.fromisoformat(found[1]).replace(tzinfo=zone)
            except ValueError as err:
                raise ScheduleRefused(f"{text} names a date that does not exist.") from err
            return cls(once_s=moment.timestamp())
        if found := RATE.fullmatch(text):
            if int(found[1]) < 1:
                raise ScheduleRefused(f"The value of {text} must be at least 1.")
            return cls(every_s=int(found[1]) * UNIT_S[found[2]])
        if found := CRON.fullmatch(text):
            return cls(matches=_parse_cron(found[1]), zone=zone)
        raise ScheduleRefused(
            f"Schedule must be at(yyyy-mm-ddThh:mm:ss), rate(VALUE UNIT) with the unit minutes, "
            f"hours or days, or cron(FIELDS), not {text}."
        )

    def is_due(
        self,
        after_s: float,
        now_s: float,
        created_s: float,
        start_s: float | None = None,
        end_s: float | None = None,
    ) -> bool:
        """Return whether the scheduled action must run now.

        It must run if one of its times has passed since the last check: the time is later than
        ``after_s``, and not later than ``now_s``.

        Args:
            after_s: When schedules were last checked, in seconds since 1970.
            now_s: The present time.
            created_s: When the scheduled action was created.
            start_s: The ``StartTime`` of a recurring action. The action runs for the first time at
                the ``StartTime``, even if this is not one of the times of the schedule.
            end_s: The ``EndTime``, after which the action no longer runs.
        """
        if end_s is not None:
            now_s = min(now_s, end_s)
        if self.once_s is not None:
            return after_s < self.once_s <= now_s
        if start_s is not None:
            if after_s < start_s <= now_s:
                return True
            after_s = max(after_s, start_s)
        if now_s <= after_s:
            return False
        if self.every_s is not None:
            base_s = created_s if start_s is None else start_s
            return (now_s - base_s) // self.every_s > max(0, (after_s - base_s) // self.every_s)
        return self._is_cron_minute_between(max(after_s, now_s - CATCH_UP_S_MAX), now_s)

    def _is_cron_minute_between(self, after_s: float, now_s: float) -> bool:
        assert self.matches is not None  # noqa: S101  the two other kinds have returned
        minutes = range(int(after_s // 60 + 1) * 60, int(now_s) + 1, 60)
        return any(self.matches(datetime.fromtimestamp(one, self.zone)) for one in minutes)


def _find_time_zone(name: str | None) -> tzinfo:
    if name is None:
        return UTC
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError) as err:
        raise ScheduleRefused(f"Timezone {name} is not a time zone of the IANA database.") from err


def _parse_cron(text: str) -> Callable[[datetime], bool]:
    parts = text.upper().split()
    if len(parts) != len(FIELDS):
        raise ScheduleRefused(
            f"cron({text}) must have six fields: minutes, hours, day of month, month, day of week "
            "and year."
        )
    if (parts[DAY_OF_MONTH] == "?") == (parts[DAY_OF_WEEK] == "?"):
        raise ScheduleRefused(
            f"cron({text}) must have ? in exactly one of the fields day of month and day of week."
        )
    conditions = [_parse_cron_field(number, part) for number, part in enumerate(parts)]
    return lambda moment: all(condition(moment) for condition in conditions)


def _parse_cron_field(number: int, text: str) -> Callable[[datetime], bool]:
    special = {
        DAY_OF_MONTH: _parse_special_day_of_month,
        DAY_OF_WEEK: _parse_special_day_of_week,
    }.get(number)
    condition = special(text) if special else None
    if condition is not None:
        return condition
    name, low, high, names = FIELDS[number]
    values: set[int] = set()
    for item in text.split(","):
        try:
            values |= _parse_cron_values(item, low, high, names)
        except ValueError as err:
            raise ScheduleRefused(
                f"{item} is not allowed in the field {name} of a cron expression."
            ) from err
    return lambda moment: _find_cron_value_of_moment(moment, number) in values


def _parse_cron_values(item: str, low: int, high: int, names: dict[str, int]) -> set[int]:
    span, _, step = item.partition("/")
    if span == "*":
        first, last = low, high
    elif "-" in span:
        first, last = (_parse_cron_value(one, names) for one in span.split("-"))
    else:
        first = _parse_cron_value(span, names)
        last = high if step else first
    width = int(step) if step else 1
    if not (low <= first <= high and low <= last <= high and width > 0):
        raise ValueError(item)
    if last < first:  # for example FRI-MON
        return set(range(first, high + 1, width)) | set(range(low, last + 1, width))
    return set(range(first, last + 1, width))


def _parse_cron_value(text: str, names: dict[str, int]) -> int:
    return names[text] if text in names else int(text)


def _find_cron_value_of_moment(moment: datetime, number: int) -> int:
    weekday = moment.isoweekday() % 7 + 1  # Sunday is 1
    fields = (moment.minute, moment.hour, moment.day, moment.month, weekday, moment.year)
    return fields[number]


def _parse_special_day_of_month(text: str) -> Callable[[datetime], bool] | None:
    """Return a function that tests whether a date is a day such as ``L`` (last day of the month).

    The special forms are ``?`` (every day), ``L``, ``LW`` (the month's last working day) and ``3W``
    (the working day nearest to the 3rd). Return None if the field has none of these forms.
    """
    if text == "?":
        return lambda _: True
    if text == "L":
        return lambda moment: moment.day == _count_days_of_month(moment)
    found = NEAREST_WEEKDAY.fullmatch(text)
    if found and not 1 <= int(found[1]) <= 31:
        return None  # the caller refuses it as an ordinary field
    if text == "LW" or found:
        day = int(found[1]) if found else 31
        return lambda moment: moment.day == _find_nearest_weekday(moment, day)
    return None


def _parse_special_day_of_week(text: str) -> Callable[[datetime], bool] | None:
    """Return a function that tests whether a date is a day such as ``FRI#2`` (second Friday).

    The special forms are ``?`` (every day), ``L`` (Saturday), ``6L`` (the month's last Friday) and
    ``FRI#2``. Return None if the field has none of these forms.
    """
    if text == "?":
        return lambda _: True
    if text == "L":
        return lambda moment: _find_cron_value_of_moment(moment, DAY_OF_WEEK) == WEEKDAYS["SAT"]
    numbered, last = NUMBERED_WEEKDAY.fullmatch(text), LAST_WEEKDAY.fullmatch(text)
    found = numbered or last
    if found is None:
        return None
    (weekday,) = _parse_cron_weekday(found[1])

    def is_on_weekday(moment: datetime) -> bool:
        if _find_cron_value_of_moment(moment, DAY_OF_WEEK) != weekday:
            return False
        if numbered:
            return (moment.day - 1) // 7 + 1 == int(numbered[2])
        return moment.day + 7 > _count_days_of_month(moment)

    return is_on_weekday


def _parse_cron_weekday(text: str) -> set[int]:
    try:
        return _parse_cron_values(text, 1, 7, WEEKDAYS)
    except ValueError as err:
        raise ScheduleRefused(
            f"{text} is not allowed in the field day of week of a cron expression."
        ) from err


def _count_days_of_month(moment: datetime) -> int:
    return calendar.monthrange(moment.year, moment.month)[1]


def _find_nearest_weekday(moment: datetime, day: int) -> int:
    """Return the working day (Monday to Friday) of a month that is nearest to ``day``."""
    days = _count_days_of_month(moment)
    wanted = moment.replace(day=min(day, days))
    shift = {6: -1, 7: 1}.get(wanted.isoweekday(), 0)
    nearest = wanted + timedelta(days=shift)
    if nearest.month != moment.month:
        nearest = wanted - timedelta(days=2 * shift)
    return nearest.day
