"""Make readings of a printed number that differ from its definition.

A reading is one way to compute a printed number: it chooses rows, a statistic and a rounding. The
definition is the reading that the study's description suggests. A departure changes one part of the
definition.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.study.published_study.formulas import (
    QUANTITIES,
    Constant,
    Form,
    Formula,
    Rows,
    Term,
    combine_two_amounts,
)
from drdeploy.study.published_study.raw_rows import parse_experiment_name
from drdeploy.study.published_study.row_statistics import ROUNDINGS, ROW_BY_ROW, STATISTICS, SUBSETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from drdeploy.study.published_study.formulas import StudySamples

    Change = Callable[["FigureReading"], "FigureReading | None"]

OTHER_PRICES = {
    0.5: "half the price",
    2.0: "twice the price",
    1.5: "one and a half times the price",
    2 / 3: "two thirds of the price",
}
"""The factors by which a departure multiplies a price, each with a text that describes it.

The factors are ratios between the prices of two memory sizes, because the study's serverless price
is proportional to the memory."""


@dataclass(frozen=True)
class FigureReading:
    """One way to compute a printed number from the rows.

    Attributes:
        statistic: The statistic that turns rows into one number, a key of ``STATISTICS``.
        subset: The rows that are used, a key of ``SUBSETS``.
        rounding: The rounding of the number, a key of ``ROUNDINGS``.
        departures: For each departure from the definition, a text that describes it.
        kinds: For each departure, its kind, for example ``statistic`` or ``price``.
    """

    formula: Formula
    statistic: str = "mean"
    subset: str = "all"
    rounding: str = "none"
    departures: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def compute_value_of_figure(self, samples: StudySamples) -> float:
        """Return the value that this reading gives; NaN if it gives none."""
        if self.statistic == ROW_BY_ROW:
            return self._compute_mean_of_row_ratios(samples)

        def compute_statistic(rows: Rows) -> float:
            chosen = SUBSETS[self.subset][1](samples.seconds[rows])
            return ROUNDINGS[self.rounding][1](STATISTICS[self.statistic][1](chosen))

        with np.errstate(divide="ignore", invalid="ignore"):
            try:
                return self.formula.compute_value_of_figure(compute_statistic)
            except ZeroDivisionError:
                return float("nan")

    def _compute_mean_of_row_ratios(self, samples: StudySamples) -> float:
        """Divide the rows of two experiments one by one, and return the mean of the ratios."""
        if len(self.formula.row_operands) < 2:
            return float("nan")
        pair = [
            SUBSETS[self.subset][1](samples.seconds[rows]) for rows in self.formula.row_operands
        ]
        if len(pair[0]) != len(pair[1]):
            return float("nan")
        priced = [
            seconds * term.usd_per_second
            for seconds, term in zip(pair, self.formula.operands, strict=True)
        ]
        per_row = [
            combine_two_amounts(self.formula.form, *map(float, both))
            for both in zip(*priced, strict=True)
        ]
        return float(self.formula.scale * np.mean(per_row))


@dataclass(frozen=True)
class Departure:
    """One change to a reading, for example another statistic.

    Two changes of the same kind cannot be combined.
    """

    kind: str
    words: str
    change: Change


def apply_departures(formula: Formula, departures: tuple[Departure, ...]) -> FigureReading | None:
    """Return the reading that results from applying all given departures to a definition.

    The result is None if two departures exclude each other, or if a departure changes nothing.
    """
    if len({departure.kind for departure in departures}) < len(departures):
        return None
    reading: FigureReading | None = FigureReading(formula)
    for departure in departures:
        reading = departure.change(reading) if reading else None
    if reading is None:
        return None
    return replace(
        reading,
        departures=tuple(departure.words for departure in departures),
        kinds=tuple(departure.kind for departure in departures),
    )


def list_possible_departures(
    formula: Formula, samples: StudySamples, printed_terms: Mapping[Term, Constant]
) -> Iterator[Departure]:
    """Yield all possible departures from a definition, the most plausible first.

    Args:
        formula: The formula of the definition.
        samples: The rows of all experiments. A reading may use the rows of another experiment than
            the definition does.
        printed_terms: The means that the study printed. The study may have computed other numbers
            from these rounded means.
    """
    yield from list_departures_to_other_rows(formula, samples)
    if any(term in printed_terms for term in formula.operands):
        words = "the printed means in place of the rows"
        change = _make_change_of_terms(
            lambda term: Term(printed_terms[term]) if term in printed_terms else term
        )
        yield Departure("printed inputs", words, change)
    for field, table in (("rounding", ROUNDINGS), ("statistic", STATISTICS), ("subset", SUBSETS)):
        for name, (words, _) in table.items():
            if words:
                yield Departure(field, words, _make_change_of_setting(field, name))
    yield from _list_departures_in_form(formula)
    yield from _list_departures_in_column(formula)
    if any(term.price_source for term in formula.operands):
        for factor, words in OTHER_PRICES.items():
            yield Departure("price", words, _make_change_of_price(factor))


def _make_change_of_setting(field: str, name: str) -> Change:
    changed: dict[str, Any] = {field: name}
    return lambda reading: replace(reading, **changed)


def _make_change_of_price(factor: float) -> Change:
    return _make_change_of_terms(
        lambda term: replace(term, usd_per_second=term.usd_per_second * factor)
    )


def _make_change_of_rows(change: Callable[[Rows], Rows], position: int | None = None) -> Change:
    """Return a function that changes the rows in all terms of a formula, or only in one term."""

    def change_rows_of_term(term: Term) -> Term:
        rows = term.operand
        return replace(term, operand=change(rows)) if isinstance(rows, Rows) else term

    return _make_change_of_terms(change_rows_of_term, position)


def _make_change_of_terms(change: Callable[[Term], Term], position: int | None = None) -> Change:
    """Return a function that changes all terms of a formula, or only the term at one position.

    If no term changes, the returned function gives None.
    """

    def change_terms_of_reading(reading: FigureReading) -> FigureReading | None:
        terms = [
            change(term) if position in {None, at} else term
            for at, term in enumerate(reading.formula.operands)
        ]
        formula = replace(
            reading.formula, first=terms[0], second=terms[1] if len(terms) > 1 else None
        )
        return None if formula == reading.formula else replace(reading, formula=formula)

    return change_terms_of_reading


def list_departures_to_other_rows(formula: Formula, samples: StudySamples) -> Iterator[Departure]:
    """Yield the departures that replace rows by rows of another experiment.

    In some departures, one term gets the rows of another memory size or instance. In others, all
    terms get the rows of the other model.
    """
    for at, term in enumerate(formula.operands):
        if not isinstance(term.operand, Rows):
            continue
        here = parse_experiment_name(term.operand.experiment)
        for name in samples.experiments:
            there = parse_experiment_name(name)
            if not here or not there or name == here.name or there.model != here.model:
                continue
            if bool(here.family) != bool(there.family) or here.start != there.start:
                continue
            other, own = there.memory_or_instance_type, here.memory_or_instance_type
            words = f"{other} in place of {own} ({name})"
            yield Departure(f"rows of term {at}", words, _make_change_of_experiment(at, name))
    models = {one.model for name in samples.experiments if (one := parse_experiment_name(name))}
    for model in sorted(models):
        yield Departure(
            "model", f"the rows of {model}", _make_change_of_model(model, samples.experiments)
        )


def _make_change_of_experiment(position: int, experiment: str) -> Change:
    return _make_change_of_rows(lambda rows: replace(rows, experiment=experiment), position)


def _make_change_of_model(model: str, known: tuple[str, ...]) -> Change:
    def replace_model_in_rows(rows: Rows) -> Rows:
        here = parse_experiment_name(rows.experiment)
        name = here.name.replace(here.model, model) if here else ""
        return replace(rows, experiment=name) if name in known else rows

    return _make_change_of_rows(replace_model_in_rows)


def _list_departures_in_form(formula: Formula) -> Iterator[Departure]:
    others = {
        Form.RATIO: {Form.REDUCTION: "one minus the inverse"},
        Form.REDUCTION: {Form.EXCESS: "relative to the second value, not to the first"},
        Form.EXCESS: {Form.REDUCTION: "relative to the first value, not to the second"},
        Form.AMOUNT: {},
    }
    for form, words in others[formula.form].items():
        yield Departure("form", words, _make_change_of_form(form))
    if formula.second is not None:
        yield Departure("order", "the two exchanged", _exchange_terms_of_formula)


def _make_change_of_form(form: Form) -> Change:
    return lambda reading: replace(reading, formula=replace(reading.formula, form=form))


def _exchange_terms_of_formula(reading: FigureReading) -> FigureReading | None:
    formula = reading.formula
    if formula.second is None:
        return None
    return replace(reading, formula=replace(formula, first=formula.second, second=formula.first))


def _list_departures_in_column(formula: Formula) -> Iterator[Departure]:
    if formula.is_paired:
        words = "time in the container in place of prediction time"
        yield Departure(
            "column", words, _make_change_of_column("prediction_s", "container_latency_s")
        )
        return
    for column in sorted({rows.quantity for rows in formula.row_operands}):
        for other, words in QUANTITIES.items():
            if other != column:
                yield Departure("column", words, _make_change_of_column(column, other))


def _make_change_of_column(column: str, other: str) -> Change:
    return _make_change_of_rows(
        lambda rows: replace(rows, quantity=other) if rows.quantity == column else rows
    )
