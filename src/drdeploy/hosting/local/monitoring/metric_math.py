"""Compute expressions of metric math.

Source: CloudWatch user guide, "Using math expressions with CloudWatch metrics". If an operation
combines two series, and only one of them has a value in a period, the missing value counts as 0. A
point of the result is left out if it would need a division by 0. The guide does not say whether
``STDDEV`` is the standard deviation of a population or of a sample. This module computes that of a
population.
"""

from __future__ import annotations

import math
import operator
import statistics
from collections.abc import Callable, Sequence  # noqa: TC003 - annotations of a dataclass
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

from drdeploy.hosting.local.monitoring.expression_parser import (
    Call,
    Group,
    Name,
    Node,
    Number,
    Operation,
    Text,
    parse_expression,
)
from drdeploy.hosting.local.monitoring.monitoring_errors import (
    MonitoringError,
    make_validation_error,
)
from drdeploy.hosting.local.monitoring.time_series import TimeRange, TimeSeries, Value

if TYPE_CHECKING:
    from collections.abc import Mapping

T = TypeVar("T")

NOT_SERVED = {
    "ANOMALY_DETECTION_BAND",
    "DB_PERF_INSIGHTS",
    "INSIGHT_RULE_METRIC",
    "LAMBDA",
    "SERVICE_QUOTA",
}
"""Functions of CloudWatch that the local service refuses; the error names the function."""
DEFAULT_PERIOD_S = 60


POINTS_MAX = 100_800
"""The largest number of values of a series that an expression makes. The limit of CloudWatch for
one answer is the same.
"""


@dataclass(frozen=True)
class MathContext:
    """The metrics and settings that the expressions of one request may use.

    Attributes:
        range: The range of time that the request asks for.
        metrics: The metrics of the request by id, in the order of the request.
        expressions: The text of each expression of the request, by id.
        search: A function that takes the text, the statistic and the period of ``SEARCH``, and
            returns the series that it finds. None in an alarm, where ``SEARCH`` is forbidden.
        period_s: The period of a series that is computed without a metric, for example by
            ``TIME_SERIES(1)``.
    """

    range: TimeRange
    metrics: Mapping[str, TimeSeries]
    expressions: Mapping[str, str]
    search: Callable[[str, str, int], list[TimeSeries]] | None
    period_s: int = DEFAULT_PERIOD_S
    computed: dict[str, Value] = field(default_factory=dict)
    """The results of the expressions so far, so that each expression is computed once."""


def evaluate_expression(query_id: str, context: MathContext) -> TimeSeries | list[TimeSeries]:
    """Compute the expression that has the given id in the request.

    Raises:
        MonitoringError: The expression cannot be read or computed, or its value is a single number
            instead of a time series.
    """
    try:
        value = _evaluate_by_id(query_id, context, ())
        if isinstance(value, float):
            raise make_validation_error(
                "The result is a number, but must be a time series. Use TIME_SERIES()"
            )
    except MonitoringError as err:
        raise make_validation_error(f"Error in expression '{query_id}': {err.message}") from err
    except RecursionError as err:
        raise make_validation_error(f"Expression '{query_id}' is nested too deeply") from err
    except (OverflowError, ValueError) as err:
        raise make_validation_error(f"Expression '{query_id}' has a value out of range") from err
    return value


def _evaluate_by_id(query_id: str, context: MathContext, pending: tuple[str, ...]) -> Value:
    if query_id in context.metrics:
        return context.metrics[query_id]
    if query_id in context.computed:
        return context.computed[query_id]
    if query_id in pending:
        raise make_validation_error(f"'{query_id}' refers to itself")
    if query_id not in context.expressions:
        raise make_validation_error(f"'{query_id}' is not the Id of a metric or expression")
    text = context.expressions[query_id]
    if text.lstrip().upper().startswith("SELECT"):
        raise make_validation_error(
            "The local service does not serve queries of Metrics Insights (SELECT). Use SEARCH()"
        )
    value = _ExpressionEvaluation(context, (*pending, query_id)).evaluate(parse_expression(text))
    context.computed[query_id] = value
    return value


class _ExpressionEvaluation:
    """Computes one expression.

    ``pending`` holds the ids of this expression and of the expressions that need its result. If
    this expression refers to one of them, the expressions form a circle, and are refused.
    """

    def __init__(self, context: MathContext, pending: tuple[str, ...]) -> None:
        self._context = context
        self._pending = pending

    def evaluate(self, node: Node) -> Value:
        match node:
            case Number(value):
                return value
            case Name(name):
                return _evaluate_by_id(name, self._context, self._pending)
            case Group(members):
                return [one for member in members for one in _as_list(self.evaluate(member))]
            case Operation(sign, (operand,)):
                return _apply_to_each_value(lambda value: -value, self.evaluate(operand), sign)
            case Operation(sign, (left, right)):
                return _apply_operator(sign, self.evaluate(left), self.evaluate(right))
            case Call(function, arguments):
                return self._call_function(function, arguments)
        raise make_validation_error("A string can only be an argument of a function")

    def _call_function(self, function: str, arguments: tuple[Node, ...]) -> Value:
        if function in NOT_SERVED:
            raise make_validation_error(f"The local service does not serve {function}()")
        special = {
            "METRICS": self._select_metrics,
            "SEARCH": self._search_metrics,
            "SORT": self._sort_series,
            "FILL": self._fill_gaps,
            "PERIOD": self._read_period,
            "IF": self._choose_by_condition,
        }
        if function in special:
            return special[function](arguments)
        values = [self.evaluate(argument) for argument in arguments]
        if function == "TIME_SERIES":
            (value,) = _check_argument_count(function, values, 1)
            number = _as_number(value, function)
            return self._make_full_series(lambda _: number)
        if function in CALENDAR:
            (value,) = _check_argument_count(function, values, 1)
            series = _as_series(value, function)
            return self._make_full_series(CALENDAR[function], series)
        if function == "SLICE":
            return _slice_list_of_series(values)
        if function in FUNCTIONS:
            (value,) = _check_argument_count(function, values, 1)
            return FUNCTIONS[function](value)
        raise make_validation_error(f"'{function}' is not a function of metric math")

    def _list_period_starts(self, period_s: int) -> range:
        starts = self._context.range.list_period_starts(period_s)
        if len(starts) > POINTS_MAX:
            raise make_validation_error(f"the range has more than {POINTS_MAX} periods")
        return starts

    def _make_full_series(
        self, compute: Callable[[int], float], like: TimeSeries | None = None
    ) -> TimeSeries:
        """Return a series that has a value in each period of the request."""
        series = like or TimeSeries(period_s=self._context.period_s)
        starts = self._list_period_starts(series.period_s)
        return series.with_points({at: compute(at) for at in starts})

    def _select_metrics(self, arguments: tuple[Node, ...]) -> Value:
        wanted = "".join(_read_text(one, "METRICS") for one in arguments)
        return [one for name, one in self._context.metrics.items() if wanted in name]

    def _search_metrics(self, arguments: tuple[Node, ...]) -> Value:
        if self._context.search is None:
            raise make_validation_error("SEARCH() is not allowed in an alarm")
        given = _check_argument_count("SEARCH", arguments, 2, 3)
        text, statistic = (_read_text(one, "SEARCH") for one in given[:2])
        period = self._context.period_s
        if len(given) > 2:
            period = round(_as_number(self.evaluate(given[2]), "SEARCH"))
        return self._context.search(text, statistic, period)

    def _sort_series(self, arguments: tuple[Node, ...]) -> Value:
        given = _check_argument_count("SORT", arguments, 3, 4)
        function, order = (_read_word(one, "SORT") for one in given[1:3])
        if function not in {"AVG", "MIN", "MAX", "SUM"} or order not in {"ASC", "DESC"}:
            raise make_validation_error("SORT() takes AVG, MIN, MAX or SUM, and ASC or DESC")
        compute = AGGREGATES[function]
        series = _as_list(self.evaluate(given[0]))
        limit = None
        if len(given) > 3:
            limit = round(_as_number(self.evaluate(given[3]), "SORT"))

        def compute_sort_key_of_series(one: TimeSeries) -> float:
            return compute(list(one.points.values())) if one.points else -math.inf

        return sorted(series, key=compute_sort_key_of_series, reverse=order == "DESC")[:limit]

    def _fill_gaps(self, arguments: tuple[Node, ...]) -> Value:
        value, filler = _check_argument_count("FILL", arguments, 2)
        given = self.evaluate(value)
        word = filler.value if isinstance(filler, Name) else ""
        other = None if word in {"REPEAT", "LINEAR"} else self.evaluate(filler)
        filled = [self._fill_gaps_of_series(one, word, other) for one in _as_list(given)]
        return filled if isinstance(given, list) else filled[0]

    def _fill_gaps_of_series(
        self, series: TimeSeries, word: str, other: Value | None
    ) -> TimeSeries:
        starts = self._list_period_starts(series.period_s)
        points = dict(series.points)
        missing = [at for at in starts if at not in points]
        known = list(series.points.items())
        for at in missing:
            if isinstance(other, float):
                points[at] = other
            elif isinstance(other, TimeSeries):
                if at in other.points:
                    points[at] = other.points[at]
            elif other is not None:
                raise make_validation_error(
                    "The second argument of FILL() must not be several time series"
                )
            else:
                before = [one for one in known if one[0] < at]
                after = [one for one in known if one[0] > at]
                if word == "REPEAT" and before:
                    points[at] = before[-1][1]
                elif word == "LINEAR" and before and after:
                    points[at] = _interpolate_linearly(at, before[-1], after[0])
        return replace(series.with_points(points), id=series.id)

    def _read_period(self, arguments: tuple[Node, ...]) -> Value:
        (given,) = _check_argument_count("PERIOD", arguments, 1)
        if not isinstance(given, Name) or given.value not in self._context.metrics:
            raise make_validation_error("PERIOD() takes the Id of a metric")
        return float(self._context.metrics[given.value].period_s)

    def _choose_by_condition(self, arguments: tuple[Node, ...]) -> Value:
        given = _check_argument_count("IF", arguments, 2, 3)
        condition, chosen, *rest = (self.evaluate(one) for one in given)
        other = rest[0] if rest else None
        if any(isinstance(one, list) for one in (condition, chosen, other)):
            raise make_validation_error("An argument of IF() must be a number or one time series")
        if isinstance(condition, float):
            picked = chosen if condition else other
            return TimeSeries() if picked is None else picked
        series = _as_series(condition, "IF")
        points = {}
        for at, value in series.points.items():
            found = (
                _find_value_at_time(chosen, at, 0.0)
                if value
                else _find_value_at_time(other, at, None)
            )
            if found is not None:
                points[at] = found
        return series.with_points(points)


def _find_value_at_time(value: Value | None, at: int, default: float | None) -> float | None:
    if isinstance(value, TimeSeries):
        return value.points.get(at, default)
    return value if isinstance(value, float) else None


def _interpolate_linearly(at: int, before: tuple[int, float], after: tuple[int, float]) -> float:
    part = (at - before[0]) / (after[0] - before[0])
    return before[1] + part * (after[1] - before[1])


# -- arguments -----------------------------------------------------------------------------


def _check_argument_count(
    function: str, given: Sequence[T], least: int, most: int = 0
) -> Sequence[T]:
    if not least <= len(given) <= max(least, most):
        wanted = f"{least} or {most}" if most else str(least)
        raise make_validation_error(f"{function}() takes {wanted} arguments, not {len(given)}")
    return given


def _read_text(node: Node, function: str) -> str:
    if not isinstance(node, Text):
        raise make_validation_error(f"{function}() takes a string in quotation marks")
    return node.value


def _read_word(node: Node, function: str) -> str:
    if not isinstance(node, Name):
        raise make_validation_error(f"{function}() takes a word, such as AVG or DESC")
    return node.value


def _as_list(value: Value) -> list[TimeSeries]:
    if isinstance(value, list):
        return value
    return [_as_series(value, "An array")]


def _as_series(value: Value, function: str) -> TimeSeries:
    if not isinstance(value, TimeSeries):
        raise make_validation_error(f"{function} needs a time series at this place")
    return value


def _as_number(value: Value, function: str) -> float:
    if not isinstance(value, float):
        raise make_validation_error(f"{function} needs a number at this place")
    return value


# -- operators -----------------------------------------------------------------------------


def _divide_or_none(left: float, right: float) -> float | None:
    return left / right if right else None


def _raise_to_power(left: float, right: float) -> float | None:
    try:
        value = left**right
    except (OverflowError, ZeroDivisionError):
        return None
    return value if isinstance(value, float) else None  # a root of a negative number is complex


OPERATORS: dict[str, Callable[[float, float], float | None]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": _divide_or_none,
    "^": _raise_to_power,
    "==": lambda left, right: float(left == right),
    "!=": lambda left, right: float(left != right),
    "<": lambda left, right: float(left < right),
    ">": lambda left, right: float(left > right),
    "<=": lambda left, right: float(left <= right),
    ">=": lambda left, right: float(left >= right),
    "&&": lambda left, right: float(bool(left) and bool(right)),
    "||": lambda left, right: float(bool(left) or bool(right)),
}


def _apply_operator(sign: str, left: Value, right: Value) -> Value:
    if isinstance(left, list) and isinstance(right, list):
        raise make_validation_error(f"'{sign}' takes at most one array of time series")
    compute = OPERATORS[sign]
    if isinstance(right, float):
        number = right
        return _apply_to_each_value(lambda value: compute(value, number), left, sign)
    if isinstance(left, float):
        number = left
        return _apply_to_each_value(lambda value: compute(number, value), right, sign)
    if isinstance(left, list):
        return [_combine_two_series(compute, one, _as_series(right, sign)) for one in left]
    if isinstance(right, list):
        return [_combine_two_series(compute, left, one) for one in right]
    return _combine_two_series(compute, left, right)


def _apply_to_each_value(
    compute: Callable[[float], float | None], value: Value, sign: str
) -> Value:
    if isinstance(value, list):
        return [one.map_values(compute) for one in value]
    if isinstance(value, TimeSeries):
        return value.map_values(compute)
    result = compute(value)
    if result is None:
        raise make_validation_error(f"'{sign}' has no result for these numbers")
    return float(result)


def _combine_two_series(
    compute: Callable[[float, float], float | None], left: TimeSeries, right: TimeSeries
) -> TimeSeries:
    points = {}
    for at in left.points.keys() | right.points.keys():
        value = compute(left.points.get(at, 0.0), right.points.get(at, 0.0))
        if value is not None:
            points[at] = value
    return left.with_points(points)


# -- functions -----------------------------------------------------------------------------


AGGREGATES: dict[str, Callable[[list[float]], float]] = {
    "SUM": math.fsum,
    "AVG": statistics.fmean,
    "MIN": min,
    "MAX": max,
    "STDDEV": statistics.pstdev,
    "DATAPOINT_COUNT": lambda values: float(len(values)),
}


def _make_aggregate_function(name: str) -> Callable[[Value], Value]:
    """Return a function such as AVG: one series becomes a number, several become one series."""
    compute = AGGREGATES[name]

    def aggregate_time_series(value: Value) -> Value:
        if isinstance(value, float):
            raise make_validation_error(f"{name}() takes a time series")
        if isinstance(value, TimeSeries):
            points = list(value.points.values())
            return compute(points) if points else 0.0
        moments = sorted({at for one in value for at in one.points})
        found = {at: [one.points[at] for one in value if at in one.points] for at in moments}
        if name == "AVG":  # a missing value counts as 0
            return _make_series_with_longest_period(
                value, {at: math.fsum(one) / len(value) for at, one in found.items()}
            )
        return _make_series_with_longest_period(
            value, {at: compute(one) for at, one in found.items()}
        )

    return aggregate_time_series


def _make_series_with_longest_period(
    series: list[TimeSeries], points: dict[int, float]
) -> TimeSeries:
    return TimeSeries(points, max((one.period_s for one in series), default=DEFAULT_PERIOD_S))


def _make_elementwise_function(
    compute: Callable[[float], float | None],
) -> Callable[[Value], Value]:
    return lambda value: _apply_to_each_value(compute, value, "The function")


def _make_series_function(
    compute: Callable[[dict[int, float]], dict[int, float]],
) -> Callable[[Value], Value]:
    def compute_each_series(value: Value) -> Value:
        if isinstance(value, list):
            return [one.with_points(compute(one.points)) for one in value]
        series = _as_series(value, "The function")
        return series.with_points(compute(series.points))

    return compute_each_series


def _compute_running_sum(points: dict[int, float]) -> dict[int, float]:
    total, sums = 0.0, {}
    for at, value in points.items():
        total += value
        sums[at] = total
    return sums


def _make_change_function(
    compute: Callable[[float, int], float],
) -> Callable[[dict[int, float]], dict[int, float]]:
    """Return a function that compares each value of a series with the value before.

    The returned function calls ``compute`` with the difference of the two values, and the seconds
    between them.
    """
    return lambda points: {
        at: compute(value - before, at - at_before)
        for (at_before, before), (at, value) in pairwise(points.items())
    }


def _make_logarithm_function(compute: Callable[[float], float]) -> Callable[[float], float | None]:
    return lambda value: compute(value) if value > 0 else None


def _slice_list_of_series(values: Sequence[Value]) -> Value:
    given = _check_argument_count("SLICE", values, 2, 3)
    bounds = [round(_as_number(one, "SLICE")) for one in given[1:]]
    return _as_list(given[0])[bounds[0] : bounds[1] if len(bounds) > 1 else None]


def _make_member_function(place: int) -> Callable[[Value], Value]:
    def take_series_at_place(value: Value) -> Value:
        members = _as_list(value)
        return members[place] if members else TimeSeries()

    return take_series_at_place


FUNCTIONS: dict[str, Callable[[Value], Value]] = {
    **{name: _make_aggregate_function(name) for name in AGGREGATES},
    "ABS": _make_elementwise_function(abs),
    "CEIL": _make_elementwise_function(lambda value: float(math.ceil(value))),
    "FLOOR": _make_elementwise_function(lambda value: float(math.floor(value))),
    "LOG": _make_elementwise_function(_make_logarithm_function(math.log)),
    "LOG10": _make_elementwise_function(_make_logarithm_function(math.log10)),
    "DIFF": _make_series_function(_make_change_function(lambda difference, _: difference)),
    "DIFF_TIME": _make_series_function(_make_change_function(lambda _, seconds: float(seconds))),
    "RATE": _make_series_function(
        _make_change_function(lambda difference, seconds: difference / seconds)
    ),
    "RUNNING_SUM": _make_series_function(_compute_running_sum),
    "FIRST": _make_member_function(0),
    "LAST": _make_member_function(-1),
    "METRIC_COUNT": lambda value: float(len(_as_list(value))),
    "REMOVE_EMPTY": lambda value: [one for one in _as_list(value) if one.points],
}


def _make_calendar_function(read: Callable[[datetime], float]) -> Callable[[int], float]:
    return lambda at: float(read(datetime.fromtimestamp(at, UTC)))


CALENDAR: dict[str, Callable[[int], float]] = {
    "MINUTE": _make_calendar_function(lambda at: at.minute),
    "HOUR": _make_calendar_function(lambda at: at.hour),
    "DAY": _make_calendar_function(lambda at: at.isoweekday()),
    "DATE": _make_calendar_function(lambda at: at.day),
    "MONTH": _make_calendar_function(lambda at: at.month),
    "YEAR": _make_calendar_function(lambda at: at.year),
    "EPOCH": float,
}
