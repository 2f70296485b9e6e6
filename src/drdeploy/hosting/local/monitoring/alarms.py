"""Decide the state of an alarm from the datapoints of its last periods.

Source: CloudWatch user guide, "Alarm evaluation" and "Configuring how CloudWatch alarms treat
missing data". To decide an alarm's state, this module looks at two more periods than
``EvaluationPeriods`` says, as in the tables of the guide. AWS does not publish whether CloudWatch
always adds two periods.
"""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

AlarmState = Literal["OK", "ALARM", "INSUFFICIENT_DATA"]
EXTRA_PERIODS = 2

COMPARISONS: dict[str, Callable[[float, float], bool]] = {
    "GreaterThanThreshold": operator.gt,
    "GreaterThanOrEqualToThreshold": operator.ge,
    "LessThanThreshold": operator.lt,
    "LessThanOrEqualToThreshold": operator.le,
}
"""The comparisons of a datapoint with a number. Comparisons with an anomaly detection band are not
supported.
"""
MISSING_DATA = ("missing", "notBreaching", "breaching", "ignore")


@dataclass(frozen=True)
class AlarmRule:
    """The rule by which an alarm is raised.

    Attributes:
        comparison: How datapoints are compared with the threshold: a key of ``COMPARISONS``.
        threshold: The number that datapoints are compared with.
        evaluation_periods: The number of datapoints that are evaluated (N).
        datapoints_to_alarm: The number of breaching datapoints that raise the alarm (M).
        treat_missing_data: How a period without data is treated; one of ``MISSING_DATA``.
    """

    comparison: str
    threshold: float
    evaluation_periods: int
    datapoints_to_alarm: int
    treat_missing_data: str

    @property
    def range_periods(self) -> int:
        """The number of past periods that are looked at to decide the alarm's state."""
        return self.evaluation_periods + EXTRA_PERIODS

    def is_breaching(self, value: float) -> bool:
        """Return whether a datapoint breaches the threshold."""
        return COMPARISONS[self.comparison](value, self.threshold)

    def decide_state(self, points: Sequence[float | None], current: AlarmState) -> AlarmState:
        """Return the state of the alarm.

        Args:
            points: The datapoints of the last ``range_periods`` periods, oldest first. A missing
                datapoint is None.
            current: The alarm's state before this evaluation.
        """
        ages = [age for age, value in enumerate(reversed(points)) if value is not None]
        known = [value for value in reversed(points) if value is not None]
        evaluated = known[: self.evaluation_periods]
        breaching = sum(self.is_breaching(value) for value in evaluated)
        missing = self.evaluation_periods - len(evaluated)
        if self.treat_missing_data == "breaching":
            breaching += missing
        if breaching >= self.datapoints_to_alarm:
            return "ALARM"
        if not missing or self.treat_missing_data in {"breaching", "notBreaching"}:
            return "OK"
        if breaching < len(evaluated):
            return "OK"
        # All datapoints breach, but there are too few of them.
        if self.treat_missing_data == "ignore":
            return current
        is_old = bool(ages) and ages[-1] + 1 >= self.datapoints_to_alarm
        return "ALARM" if is_old else "INSUFFICIENT_DATA"
