"""Compare every printed figure with the rows, and search explanations where they differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.study.thesis.definitions import Definition, PublishedStudy, define
from drdeploy.study.thesis.formulas import Constant, Form, Samples, estimate
from drdeploy.study.thesis.printed import ReproductionVerdict
from drdeploy.study.thesis.readings import near, search

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drdeploy.statistics.estimate import Estimate
    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.thesis.departures import Reading
    from drdeploy.study.thesis.formulas import Term
    from drdeploy.study.thesis.printed import Printed
    from drdeploy.study.thesis.readings import Search


@dataclass(frozen=True, eq=False)
class CrossCheck:
    """A figure recomputed from rows and from a printed measurement that has none.

    Attributes:
        value: The figure computed from both.
        verdict: How it compares with the printed figure.
    """

    value: float
    verdict: ReproductionVerdict


@dataclass(frozen=True, eq=False)
class Recomputed:
    """A printed figure, recomputed from the rows.

    Attributes:
        estimate: The figure from the rows; None where it cannot be recomputed.
        search: The search for another reading; None where the figure is reproduced.
        check: A check of a figure that cannot be recomputed but rests on known numbers.
        near: Where the figure differs, readings with other rows that come within 1 % of it.
    """

    printed: Printed
    definition: Definition
    verdict: ReproductionVerdict
    estimate: Estimate | None
    search: Search | None
    check: CrossCheck | None
    near: tuple[tuple[Reading, float], ...] = ()

    @property
    def value(self) -> float | None:
        """The figure from the rows."""
        return self.estimate.value if self.estimate else None

    @property
    def departure_percent(self) -> float | None:
        """How far the recomputed value is above the printed one, in per cent."""
        if self.value is None or not self.printed.value:
            return None
        return 100 * (self.value / self.printed.value - 1)


def recompute(measurements: Measurements, printed: Sequence[Printed]) -> tuple[Recomputed, ...]:
    """Recompute every printed figure, in the order of the file."""
    samples = Samples.of(measurements)
    study = PublishedStudy(printed, samples)
    definitions = [define(figure, study) for figure in printed]
    # Means that were printed themselves: another figure may have been computed from the print.
    amounts = {
        definition.formula.first: Constant(figure.value, f"printed in {figure.where}")
        for figure, definition in zip(printed, definitions, strict=True)
        if definition.formula and definition.formula.form is Form.AMOUNT and not definition.why_not
    }
    return tuple(
        _recomputed(figure, definition, samples, amounts)
        for figure, definition in zip(printed, definitions, strict=True)
    )


def _recomputed(
    figure: Printed, definition: Definition, samples: Samples, amounts: Mapping[Term, Constant]
) -> Recomputed:
    formula = definition.formula
    if formula is None or definition.why_not:
        check = None
        if formula is not None:
            value = formula.value(samples.mean)
            check = CrossCheck(value, figure.verdict_on(value))
        return Recomputed(
            figure, definition, ReproductionVerdict.NOT_RECOMPUTABLE, None, None, check
        )
    found = estimate(formula, samples)
    if found.value is None:
        unknown = Definition(formula, found.reason or "the rows give no value", definition.note)
        return Recomputed(figure, unknown, ReproductionVerdict.NOT_RECOMPUTABLE, None, None, None)
    verdict = figure.verdict_on(found.value)
    if verdict is ReproductionVerdict.REPRODUCED:
        return Recomputed(figure, definition, verdict, found, None, None)
    searched = search(figure, formula, samples, amounts)
    # A figure that is close needs no other rows: they would explain more than there is to explain.
    close = near(figure, formula, samples) if verdict is ReproductionVerdict.DIFFERS else ()
    return Recomputed(figure, definition, verdict, found, searched, None, close)
