"""What does not hold of the printed figures, and what may explain it, in sentences."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from drdeploy.statistics import notation
from drdeploy.study.thesis.document import reading_in_words
from drdeploy.study.thesis.printed import ReproductionVerdict

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from drdeploy.study.thesis.verdicts import Recomputed


def counts_of(figures: Iterable[Recomputed]) -> dict[ReproductionVerdict, int]:
    """Count the figures that have each of the four verdicts."""
    counted = Counter(figure.verdict for figure in figures)
    return {verdict: counted[verdict] for verdict in ReproductionVerdict}


def does_not_hold(figures: Sequence[Recomputed]) -> tuple[str, ...]:
    """Write a sentence or two on every figure that differs."""
    return tuple(
        sentence_of(figure) for figure in figures if figure.verdict is ReproductionVerdict.DIFFERS
    )


def sentence_of(figure: Recomputed) -> str:
    """Say what was printed, what the rows give, and which other reading gives the print."""
    printed, found = figure.printed, figure.estimate
    subject = ", ".join(part for part in (printed.model, printed.configuration) if part)
    opening = f"{printed.where}, {printed.quantity} ({subject}): printed {printed.text}"
    if found is None or found.value is None:
        return f"{opening}; not recomputable: {figure.definition.why_not}."
    departure = figure.departure_percent or 0.0
    is_within = found.has_interval and not found.excludes(printed.value)
    within = "; the printed number lies within that interval" if is_within else ""
    return (
        f"{opening}, the rows give {with_digits_of(printed.text, found.value)} "
        f"{notation.in_brackets(found)}, {abs(departure):.2g} % "
        f"{'more' if departure > 0 else 'less'}{within}. {explanation_of(figure)}".strip()
    )


def explanation_of(figure: Recomputed) -> str:
    """Say which reading gives the printed number; empty for a figure that is reproduced."""
    search = figure.search
    if search is None:
        return ""
    text, near = figure.printed.text, ""
    known = {words for reading, _ in search.matches for words in reading.departures}
    for reading, value in figure.near[:1]:
        if not known.intersection(reading.departures):
            words = reading_in_words(reading)
            near = f" Close to the print is {words}: {with_digits_of(text, value)}."
    tried = f"{search.tried} readings were tried"
    if not search.matches:
        return f"No other reading gives the printed digits ({tried}).{near}"
    given = "; or ".join(
        f"{reading_in_words(reading)}: {with_digits_of(text, value)}"
        for reading, value in search.matches[:3]
    )
    more = f" and {search.found - 3} more" if search.found > 3 else ""
    if search.is_telling:
        return f"The printed digits are given by {given}{more}.{near}"
    return (
        f"The printed digits are also given by {given}{more}, but {tried}, and about "
        f"{search.by_chance:.1f} would give them by chance, so this says little.{near}"
    )


def with_digits_of(text: str, value: float) -> str:
    """Write the value with one decimal more than was printed, never in powers of ten."""
    return f"{value:.{len(text.partition('.')[2]) + 1}f}"
