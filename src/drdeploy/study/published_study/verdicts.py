"""Recompute every printed number from the rows, and search for explanations of differences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.study.published_study.definitions import (
    Definition,
    PublishedStudy,
    define_printed_figure,
)
from drdeploy.study.published_study.formulas import (
    Constant,
    Form,
    StudySamples,
    estimate_figure_with_interval,
)
from drdeploy.study.published_study.printed_figures import ReproductionVerdict, read_printed_figures
from drdeploy.study.published_study.raw_rows import STUDY_FOLDER, load_raw_rows_of_study
from drdeploy.study.published_study.readings import (
    find_close_readings_with_other_rows,
    search_other_readings,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from drdeploy.statistics.estimate import Estimate
    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.published_study.departures import FigureReading
    from drdeploy.study.published_study.formulas import Term
    from drdeploy.study.published_study.printed_figures import PrintedFigure
    from drdeploy.study.published_study.readings import ReadingSearch


@dataclass(frozen=True, eq=False)
class CrossCheck:
    """A check of a printed number whose own rows were not published.

    For the check, the number is computed from other rows and from another printed number.
    """

    value: float
    verdict: ReproductionVerdict


@dataclass(frozen=True, eq=False)
class RecomputedFigure:
    """A printed number that is recomputed from the rows.

    Attributes:
        estimate: The recomputed number with its interval. None if the number cannot be recomputed.
        search: The search for another way to compute the printed number (a reading). None if the
            number is reproduced, or cannot be recomputed.
        check: A check that uses another printed number, for a number whose own rows were not
            published.
        near: Readings that use other rows and give a value within 1 % of the printed number. They
            are searched for only if the recomputed number differs from the printed one.
    """

    printed: PrintedFigure
    definition: Definition
    verdict: ReproductionVerdict
    estimate: Estimate | None = None
    search: ReadingSearch | None = None
    check: CrossCheck | None = None
    near: tuple[tuple[FigureReading, float], ...] = ()

    @property
    def value(self) -> float | None:
        """The value computed from the rows, or None if it cannot be recomputed."""
        return self.estimate.value if self.estimate else None

    @property
    def departure_percent(self) -> float | None:
        """The difference of the recomputed value from the printed value, in per cent."""
        if self.value is None or not self.printed.value:
            return None
        return 100 * (self.value / self.printed.value - 1)


def recompute_all_figures(
    measurements: Measurements, printed: Sequence[PrintedFigure]
) -> tuple[RecomputedFigure, ...]:
    """Recompute every printed number, in the order of the file."""
    samples = StudySamples.from_measurements(measurements)
    study = PublishedStudy(printed, samples)
    definitions = [define_printed_figure(figure, study) for figure in printed]
    # The means that the study printed. It may have computed other numbers from these rounded means.
    amounts = {
        definition.formula.first: Constant(figure.value, f"printed in {figure.where}")
        for figure, definition in zip(printed, definitions, strict=True)
        if definition.formula and definition.formula.form is Form.AMOUNT and not definition.why_not
    }
    return tuple(
        _recompute_figure(figure, definition, samples, amounts)
        for figure, definition in zip(printed, definitions, strict=True)
    )


def _recompute_figure(
    figure: PrintedFigure,
    definition: Definition,
    samples: StudySamples,
    amounts: Mapping[Term, Constant],
) -> RecomputedFigure:
    formula = definition.formula
    if formula is None or definition.why_not:
        check = None
        if formula is not None:
            value = formula.compute_value_of_figure(samples.compute_mean_s)
            check = CrossCheck(value, figure.classify_recomputed_value(value))
        return RecomputedFigure(
            figure, definition, ReproductionVerdict.NOT_RECOMPUTABLE, check=check
        )
    found = estimate_figure_with_interval(formula, samples)
    if found.value is None:
        unknown = Definition(formula, found.reason or "the rows give no value", definition.note)
        return RecomputedFigure(figure, unknown, ReproductionVerdict.NOT_RECOMPUTABLE)
    verdict = figure.classify_recomputed_value(found.value)
    if verdict is ReproductionVerdict.REPRODUCED:
        return RecomputedFigure(figure, definition, verdict, found)
    searched = search_other_readings(figure, formula, samples, amounts)
    # Other rows are not tried for a number that is close. A result within 1 % does not suggest that
    # the study names the wrong rows.
    close = (
        find_close_readings_with_other_rows(figure, formula, samples)
        if verdict is ReproductionVerdict.DIFFERS
        else ()
    )
    return RecomputedFigure(figure, definition, verdict, found, searched, near=close)


@dataclass(frozen=True, eq=False)
class Reproduction:
    """The rows of the study, and all printed numbers with their verdicts."""

    measurements: Measurements
    figures: tuple[RecomputedFigure, ...]


def reproduce_published_study(folder: Path = STUDY_FOLDER) -> Reproduction:
    """Recompute every number that the study printed.

    Args:
        folder: The folder with raw rows and printed numbers; by default the one in the package.

    Raises:
        AnalysisError: Raw rows or printed numbers are missing or not valid.
    """
    measurements = load_raw_rows_of_study(folder)
    return Reproduction(
        measurements, recompute_all_figures(measurements, read_printed_figures(folder))
    )
