"""A printed figure as arithmetic on samples.

A figure is an amount (a mean, perhaps times a price), a ratio of two amounts, or the reduction from
one amount to another.  Its interval is that of the rows; prices are taken as exact.
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

    from numpy.typing import NDArray

    from drdeploy.study.measurements.load import Measurements

    Floats = NDArray[np.float64]

QUANTITIES = {
    "total_latency_s": "total latency",
    "prediction_s": "prediction time",
    "container_latency_s": "time in the container",
}
"""The study's columns in the measurements, and their names in sentences."""


class Form(StrEnum):
    """How one or two amounts make a figure."""

    AMOUNT = "amount"
    RATIO = "ratio"
    REDUCTION = "reduction"
    EXCESS = "excess"
    """How much the first is above the second, which is sometimes called a reduction."""


@dataclass(frozen=True)
class Rows:
    """The rows of one experiment, in one column."""

    experiment: str
    quantity: str

    def __str__(self) -> str:
        return f"{QUANTITIES[self.quantity]} of {self.experiment}"


@dataclass(frozen=True)
class Constant:
    """A number that is known from print.

    Attributes:
        source: Where it was printed.
        is_measured: Whether it was measured, so that there should be rows.
    """

    value: float
    source: str
    is_measured: bool = False

    def __str__(self) -> str:
        return f"{self.value:.7g} ({self.source})"


@dataclass(frozen=True)
class Term:
    """An operand times a price.

    Attributes:
        usd_per_second: The price; 1 where there is none.
        price: Where the price was printed, for sentences.
    """

    operand: Rows | Constant
    usd_per_second: float = 1.0
    price: str = ""

    def __str__(self) -> str:
        priced = f" x {self.usd_per_second:.7g} USD/s ({self.price})" if self.price else ""
        return f"{self.operand}{priced}"


@dataclass(frozen=True)
class Formula:
    """The arithmetic that gives a figure.

    Attributes:
        second: None for an amount.
        scale: 100 for a figure in percent.
        is_paired: Whether both terms come from the same invocations.
    """

    form: Form
    first: Term
    second: Term | None = None
    scale: float = 1.0
    is_paired: bool = False

    @property
    def terms(self) -> tuple[Term, ...]:
        """The one or two terms."""
        return (self.first,) if self.second is None else (self.first, self.second)

    @property
    def rows(self) -> tuple[Rows, ...]:
        """The operands that have rows."""
        return tuple(term.operand for term in self.terms if isinstance(term.operand, Rows))

    @property
    def rests_on_printed_measurements(self) -> bool:
        """Whether a term is a measured number of which there are no rows."""
        constants = [t.operand for t in self.terms if isinstance(t.operand, Constant)]
        return any(constant.is_measured for constant in constants)

    def value(self, summary: Callable[[Rows], float]) -> float:
        """The figure, where ``summary`` turns an operand's rows into one number."""
        amounts = [
            term.usd_per_second
            * (summary(term.operand) if isinstance(term.operand, Rows) else term.operand.value)
            for term in self.terms
        ]
        return float(self.scale * combine(self.form, *amounts))

    def __str__(self) -> str:
        first, *others = (
            f"mean {term}" if isinstance(term.operand, Rows) else str(term) for term in self.terms
        )
        second = "".join(others)
        match self.form:
            case Form.AMOUNT:
                return first
            case Form.RATIO:
                return f"{first} over {second}"
            case Form.REDUCTION:
                return f"1 - ({second}) / ({first})"
            case Form.EXCESS:
                return f"({first}) / ({second}) - 1"
            case unexpected:
                assert_never(unexpected)


@dataclass(frozen=True, eq=False)
class Samples:
    """The measured seconds of every experiment and column."""

    seconds: Mapping[Rows, Floats]

    @classmethod
    def of(cls, measurements: Measurements) -> Samples:
        """Take the rows that count, in the order in which they were measured."""
        return cls(
            {
                Rows(str(trial), quantity): rows[quantity].to_numpy(dtype=np.float64)
                for trial, rows in measurements.counted.groupby("trial")
                for quantity in QUANTITIES
            }
        )

    @property
    def experiments(self) -> tuple[str, ...]:
        """Names of the experiments that have rows."""
        return tuple(sorted({rows.experiment for rows in self.seconds}))

    def mean(self, rows: Rows) -> float:
        """Arithmetic mean of the rows."""
        return float(self.seconds[rows].mean())


def combine(form: Form, first: float, second: float = 1.0) -> float:
    """Compute a figure of that form from its amounts."""
    match form:
        case Form.AMOUNT:
            return first
        case Form.RATIO:
            return first / second
        case Form.REDUCTION:
            return 1 - second / first
        case Form.EXCESS:
            return first / second - 1
        case unexpected:
            assert_never(unexpected)


def estimate(formula: Formula, samples: Samples) -> Estimate:
    """The figure with its 95 % interval, from the means of its rows.

    Figures of constants alone have no interval and say so.
    """
    means = _of_means(formula, samples)
    if means is None:
        reason = "no interval: computed from printed prices, which are exact"
        return Estimate(formula.value(samples.mean), None, None, 0, "arithmetic", reason=reason)
    match formula.form:
        case Form.AMOUNT | Form.RATIO:
            return means.scaled(formula.scale)
        case Form.REDUCTION:  # means is second over first
            flipped = replace(means, low=means.high, high=means.low)  # the limits change sides
            return _mapped(flipped, lambda limit: 1 - limit).scaled(formula.scale)
        case Form.EXCESS:
            return _mapped(means, lambda limit: limit - 1).scaled(formula.scale)
        case unexpected:
            assert_never(unexpected)


def _mapped(ratio: Estimate, change: Callable[[float], float]) -> Estimate:
    limits = (ratio.value, ratio.low, ratio.high)
    value, low, high = (None if limit is None else change(limit) for limit in limits)
    return replace(ratio, value=value, low=low, high=high)


def _of_means(formula: Formula, samples: Samples) -> Estimate | None:
    """Estimate the mean of the one term, or the ratio of the two (inverted for a reduction)."""
    if not formula.rows:
        return None
    if formula.second is None:
        return statistics.mean(_seconds(formula.first, samples)).scaled(
            formula.first.usd_per_second
        )
    is_turned = formula.form is Form.REDUCTION
    top, bottom = (formula.second, formula.first) if is_turned else (formula.first, formula.second)
    of_two = statistics.share_of if formula.is_paired else statistics.ratio_of_means
    ratio = of_two(_seconds(top, samples), _seconds(bottom, samples))
    return ratio.scaled(top.usd_per_second / bottom.usd_per_second)


def _seconds(term: Term, samples: Samples) -> Floats:
    if isinstance(term.operand, Constant):
        return np.array([term.operand.value])
    return samples.seconds[term.operand]
