"""Compute a printed number from the rows of experiments.

A printed number is an amount (a mean, possibly times a price), a ratio of two amounts, or the
relative difference of two amounts. The interval of a printed number accounts for the scatter of the
rows. Prices are taken as exact.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, assert_never

import numpy as np

from drdeploy.statistics import means as statistics
from drdeploy.statistics.estimate import Estimate

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from drdeploy.arrays import Floats
    from drdeploy.study.measurements.load import Measurements

QUANTITIES = {
    "total_latency_s": "total latency",
    "prediction_s": "prediction time",
    "container_latency_s": "time in the container",
}
"""The columns that the study measured, each with the name that sentences use for it."""


class Form(StrEnum):
    """How a printed number is computed from one or two amounts."""

    AMOUNT = "amount"
    RATIO = "ratio"
    REDUCTION = "reduction"
    EXCESS = "excess"
    """How much larger the first amount is than the second, as a share of the second; some authors
    call this share a reduction."""


@dataclass(frozen=True)
class Rows:
    """The values that one experiment measured in one column, for example the total latency."""

    experiment: str
    quantity: str

    def __str__(self) -> str:
        return f"{QUANTITIES[self.quantity]} of {self.experiment}"


@dataclass(frozen=True)
class Constant:
    """A constant that the study printed.

    Attributes:
        source: The place in the study where the constant was printed.
        is_measured: Whether the study computed the constant, a mean or a ratio, from measurements
            whose rows it did not publish.
    """

    value: float
    source: str
    is_measured: bool = False

    def __str__(self) -> str:
        return f"{self.value:.7g} ({self.source})"


@dataclass(frozen=True)
class Term:
    """One of the one or two inputs of a formula: rows or a constant, possibly times a price.

    Attributes:
        operand: The rows or the constant.
        usd_per_second: The price; 1 if the term has no price.
        price_source: The place in the study where the price was printed; empty if the term has no
            price.
    """

    operand: Rows | Constant
    usd_per_second: float = 1.0
    price_source: str = ""

    def __str__(self) -> str:
        if not self.price_source:
            return str(self.operand)
        return f"{self.operand} x {self.usd_per_second:.7g} USD/s ({self.price_source})"


@dataclass(frozen=True)
class Formula:
    """The arithmetic that gives a printed number.

    Attributes:
        second: The second term; None for an amount.
        scale: The factor by which the result is multiplied; 100 for a percentage.
        is_paired: Whether both terms come from the same invocations.
    """

    form: Form
    first: Term
    second: Term | None = None
    scale: float = 1.0
    is_paired: bool = False

    @property
    def operands(self) -> tuple[Term, ...]:
        """The one or two terms of the formula."""
        return (self.first,) if self.second is None else (self.first, self.second)

    @property
    def row_operands(self) -> tuple[Rows, ...]:
        """The rows that the formula uses; terms with a constant are left out."""
        return tuple(term.operand for term in self.operands if isinstance(term.operand, Rows))

    @property
    def rests_on_printed_measurements(self) -> bool:
        """Whether the rows of a term were not published, so that only a printed number is known."""
        constants = [t.operand for t in self.operands if isinstance(t.operand, Constant)]
        return any(constant.is_measured for constant in constants)

    def compute_value_of_figure(self, summary: Callable[[Rows], float]) -> float:
        """Return the result of the formula.

        ``summary`` is a function that turns rows into one number, for example their mean.
        """
        amounts = [
            term.usd_per_second
            * (summary(term.operand) if isinstance(term.operand, Rows) else term.operand.value)
            for term in self.operands
        ]
        return float(self.scale * combine_two_amounts(self.form, *amounts))

    def __str__(self) -> str:
        first, *others = (
            f"mean {term}" if isinstance(term.operand, Rows) else str(term)
            for term in self.operands
        )
        words, _ = _ARITHMETIC[self.form]
        return words.format(first, "".join(others))


@dataclass(frozen=True, eq=False)
class StudySamples:
    """The measured seconds of every experiment and column."""

    seconds: Mapping[Rows, Floats]

    @classmethod
    def from_measurements(cls, measurements: Measurements) -> StudySamples:
        """Collect the counted rows of each experiment, in the order of measurement."""
        return cls(
            {
                Rows(str(trial), quantity): rows[quantity].to_numpy(dtype=np.float64)
                for trial, rows in measurements.counted.groupby("trial")
                for quantity in QUANTITIES
            }
        )

    @property
    def experiments(self) -> tuple[str, ...]:
        """The names of the experiments that have rows."""
        return tuple(sorted({rows.experiment for rows in self.seconds}))

    def compute_mean_s(self, rows: Rows) -> float:
        """Return the arithmetic mean of the rows."""
        return float(self.seconds[rows].mean())


_ARITHMETIC: Mapping[Form, tuple[str, Callable[[float, float], float]]] = {
    Form.AMOUNT: ("{0}", lambda first, _: first),
    Form.RATIO: ("{0} over {1}", lambda first, second: first / second),
    Form.REDUCTION: ("1 - ({1}) / ({0})", lambda first, second: 1 - second / first),
    Form.EXCESS: ("({0}) / ({1}) - 1", lambda first, second: first / second - 1),
}
"""For each form, the formula as text, and the function that computes the number from its
amounts."""


def combine_two_amounts(form: Form, first: float, second: float = 1.0) -> float:
    """Compute a printed number from its one or two amounts."""
    _, compute = _ARITHMETIC[form]
    return compute(first, second)


def estimate_figure_with_interval(formula: Formula, samples: StudySamples) -> Estimate:
    """Estimate a printed number with its 95 % interval, from the means of its rows.

    A number that is computed only from constants has no interval; the estimate then says why.
    """
    means = _estimate_mean_or_ratio_of_means(formula, samples)
    if means is None:
        reason = "no interval, because the value is computed from exact prices"
        return Estimate(
            formula.compute_value_of_figure(samples.compute_mean_s),
            None,
            None,
            0,
            "arithmetic",
            reason=reason,
        )
    match formula.form:
        case Form.AMOUNT | Form.RATIO:
            return means.multiplied_by(formula.scale)
        case Form.REDUCTION:  # means is second over first
            flipped = replace(means, low=means.high, high=means.low)  # 1 - x reverses their order
            return _apply_to_value_and_limits(flipped, lambda limit: 1 - limit).multiplied_by(
                formula.scale
            )
        case Form.EXCESS:
            return _apply_to_value_and_limits(means, lambda limit: limit - 1).multiplied_by(
                formula.scale
            )
        case unexpected:
            assert_never(unexpected)


def _apply_to_value_and_limits(ratio: Estimate, change: Callable[[float], float]) -> Estimate:
    limits = (ratio.value, ratio.low, ratio.high)
    value, low, high = (None if limit is None else change(limit) for limit in limits)
    return replace(ratio, value=value, low=low, high=high)


def _estimate_mean_or_ratio_of_means(formula: Formula, samples: StudySamples) -> Estimate | None:
    """Estimate the mean of a single term, or the ratio of two terms.

    For a reduction, the result is the ratio of the second term to the first.
    """
    if not formula.row_operands:
        return None
    if formula.second is None:
        return statistics.estimate_mean(_get_seconds_of_term(formula.first, samples)).multiplied_by(
            formula.first.usd_per_second
        )
    is_turned = formula.form is Form.REDUCTION
    top, bottom = (formula.second, formula.first) if is_turned else (formula.first, formula.second)
    of_two = (
        statistics.estimate_share_of_whole
        if formula.is_paired
        else statistics.estimate_ratio_of_means
    )
    ratio = of_two(_get_seconds_of_term(top, samples), _get_seconds_of_term(bottom, samples))
    return ratio.multiplied_by(top.usd_per_second / bottom.usd_per_second)


def _get_seconds_of_term(term: Term, samples: StudySamples) -> Floats:
    if isinstance(term.operand, Constant):
        return np.array([term.operand.value])
    return samples.seconds[term.operand]
