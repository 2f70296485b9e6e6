"""Readings of a figure, and in what each may depart from the figure's definition.

A reading is one way to compute a figure from the rows: which rows, which statistic, how rounded.
The definition is the reading that the study's words suggest; a departure changes one thing in it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.study.thesis.formulas import QUANTITIES, Constant, Form, Formula, Rows, Term, combine
from drdeploy.study.thesis.raw_rows import experiment_of
from drdeploy.study.thesis.single_numbers import ROUNDINGS, ROW_BY_ROW, STATISTICS, SUBSETS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from drdeploy.study.thesis.formulas import Samples

    Change = Callable[["Reading"], "Reading | None"]

OTHER_PRICES = {
    0.5: "half the price",
    2.0: "twice the price",
    1.5: "one and a half times the price",
    2 / 3: "two thirds of the price",
}
"""The prices of the other sizes: the study's serverless price is proportional to the memory."""


@dataclass(frozen=True)
class Reading:
    """One way to compute a figure from the rows.

    Attributes:
        statistic: How rows become one number, a key of ``STATISTICS``.
        subset: Which rows are used, a key of ``SUBSETS``.
        rounding: How that number is rounded, a key of ``ROUNDINGS``.
        departures: What differs from the definition, in words.
        kinds: The kind of each departure.
    """

    formula: Formula
    statistic: str = "mean"
    subset: str = "all"
    rounding: str = "none"
    departures: tuple[str, ...] = ()
    kinds: tuple[str, ...] = ()

    def value(self, samples: Samples) -> float:
        """The figure computed this way; not a number where that makes no sense."""
        if self.statistic == ROW_BY_ROW:
            return self._row_by_row(samples)

        def summary(rows: Rows) -> float:
            chosen = SUBSETS[self.subset][1](samples.seconds[rows])
            return ROUNDINGS[self.rounding][1](STATISTICS[self.statistic][1](chosen))

        with np.errstate(divide="ignore", invalid="ignore"):
            try:
                return self.formula.value(summary)
            except ZeroDivisionError:
                return float("nan")

    def _row_by_row(self, samples: Samples) -> float:
        """Mean of the ratios of rows that have the same number in their files."""
        if len(self.formula.rows) < 2:
            return float("nan")
        pair = [SUBSETS[self.subset][1](samples.seconds[rows]) for rows in self.formula.rows]
        if len(pair[0]) != len(pair[1]):
            return float("nan")
        priced = [
            seconds * term.usd_per_second
            for seconds, term in zip(pair, self.formula.terms, strict=True)
        ]
        per_row = [
            combine(self.formula.form, *map(float, both)) for both in zip(*priced, strict=True)
        ]
        return float(self.formula.scale * np.mean(per_row))


@dataclass(frozen=True)
class Departure:
    """One change to a reading; two of the same kind exclude each other."""

    kind: str
    words: str
    change: Change


def apply_departures(formula: Formula, departures: tuple[Departure, ...]) -> Reading | None:
    """Apply departures to the definition; None where they exclude each other or change nothing."""
    if len({departure.kind for departure in departures}) < len(departures):
        return None
    reading: Reading | None = Reading(formula)
    for departure in departures:
        reading = departure.change(reading) if reading else None
    if reading is None:
        return None
    return replace(
        reading,
        departures=tuple(departure.words for departure in departures),
        kinds=tuple(departure.kind for departure in departures),
    )


def departures_of(
    formula: Formula, samples: Samples, printed_terms: Mapping[Term, Constant]
) -> Iterator[Departure]:
    """Yield every possible departure from a definition, the most natural ones first.

    Args:
        formula: The definition.
        samples: The experiments whose rows could be used instead.
        printed_terms: Means that the study printed, from which it may have computed others.
    """
    yield from other_rows(formula, samples)
    if any(term in printed_terms for term in formula.terms):
        words = "the printed figures in place of the rows"
        change = _with_terms(
            lambda term: Term(printed_terms[term]) if term in printed_terms else term
        )
        yield Departure("printed inputs", words, change)
    for field, table in (("rounding", ROUNDINGS), ("statistic", STATISTICS), ("subset", SUBSETS)):
        for name, (words, _) in table.items():
            if words:
                yield Departure(field, words, _setting(field, name))
    yield from _other_forms(formula)
    yield from _other_columns(formula)
    if any(term.price for term in formula.terms):
        for factor, words in OTHER_PRICES.items():
            yield Departure("price", words, _with_price(factor))


def _setting(field: str, name: str) -> Change:
    changed: dict[str, Any] = {field: name}
    return lambda reading: replace(reading, **changed)


def _with_price(factor: float) -> Change:
    return _with_terms(lambda term: replace(term, usd_per_second=term.usd_per_second * factor))


def _with_rows(change: Callable[[Rows], Rows], position: int | None = None) -> Change:
    """Change the rows of every term that has some, or of the term at that position alone."""

    def of_term(term: Term) -> Term:
        rows = term.operand
        return replace(term, operand=change(rows)) if isinstance(rows, Rows) else term

    return _with_terms(of_term, position)


def _with_terms(change: Callable[[Term], Term], position: int | None = None) -> Change:
    """Make a departure that changes each term; it gives None where no term changes."""

    def apply(reading: Reading) -> Reading | None:
        terms = [
            change(term) if position in {None, at} else term
            for at, term in enumerate(reading.formula.terms)
        ]
        formula = replace(
            reading.formula, first=terms[0], second=terms[1] if len(terms) > 1 else None
        )
        return None if formula == reading.formula else replace(reading, formula=formula)

    return apply


def other_rows(formula: Formula, samples: Samples) -> Iterator[Departure]:
    """Yield departures that use another size or instance in one term, or another model in all."""
    for at, term in enumerate(formula.terms):
        if not isinstance(term.operand, Rows):
            continue
        here = experiment_of(term.operand.experiment)
        for name in samples.experiments:
            there = experiment_of(name)
            if not here or not there or name == here.name or there.model != here.model:
                continue
            if bool(here.family) != bool(there.family) or here.start != there.start:
                continue
            words = f"{there.size} in place of {here.size} ({name})"
            yield Departure(f"rows of term {at}", words, _to_experiment(at, name))
    models = {one.model for name in samples.experiments if (one := experiment_of(name))}
    for model in sorted(models):
        yield Departure("model", f"the rows of {model}", _of_model(model, samples.experiments))


def _to_experiment(position: int, experiment: str) -> Change:
    return _with_rows(lambda rows: replace(rows, experiment=experiment), position)


def _of_model(model: str, known: tuple[str, ...]) -> Change:
    def change(rows: Rows) -> Rows:
        here = experiment_of(rows.experiment)
        name = here.name.replace(here.model, model) if here else ""
        return replace(rows, experiment=name) if name in known else rows

    return _with_rows(change)


def _other_forms(formula: Formula) -> Iterator[Departure]:
    others = {
        Form.RATIO: {Form.REDUCTION: "one minus the inverse"},
        Form.REDUCTION: {Form.EXCESS: "relative to the second, not to the first"},
        Form.EXCESS: {Form.REDUCTION: "relative to the first, not to the second"},
        Form.AMOUNT: {},
    }
    for form, words in others[formula.form].items():
        yield Departure("form", words, _in_form(form))
    if formula.second is not None:
        yield Departure("order", "the two exchanged", _exchanged)


def _in_form(form: Form) -> Change:
    return lambda reading: replace(reading, formula=replace(reading.formula, form=form))


def _exchanged(reading: Reading) -> Reading | None:
    formula = reading.formula
    if formula.second is None:
        return None
    return replace(reading, formula=replace(formula, first=formula.second, second=formula.first))


def _other_columns(formula: Formula) -> Iterator[Departure]:
    if formula.is_paired:
        words = "time in the container in place of prediction time"
        yield Departure("column", words, _in_column("prediction_s", "container_latency_s"))
        return
    for column in sorted({rows.quantity for rows in formula.rows}):
        for other, words in QUANTITIES.items():
            if other != column:
                yield Departure("column", words, _in_column(column, other))


def _in_column(column: str, other: str) -> Change:
    return _with_rows(
        lambda rows: replace(rows, quantity=other) if rows.quantity == column else rows
    )
