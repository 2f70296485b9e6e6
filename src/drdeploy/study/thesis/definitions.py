"""What each printed figure is, as a formula.

A figure is defined by the words that stand beside it (quantity, model, configuration), never by
its number.  Where the study published no rows of what it measured, the definition says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.study.thesis.formulas import Constant, Form, Formula, Rows, Term
from drdeploy.study.thesis.raw_rows import COLD, WARM, experiment_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from drdeploy.study.thesis.formulas import Samples
    from drdeploy.study.thesis.printed import Printed

    Build = Callable[[Printed, "PublishedStudy"], "Definition"]

TOTAL, PREDICTION = "total_latency_s", "prediction_s"
PERCENT = 100.0
BASE_MB, TUNED_MB = 1024, 2048
"""The memory size that sections 6.1.2 start from, and the one that they recommend."""


@dataclass(frozen=True)
class Definition:
    """How a figure is computed.

    Attributes:
        formula: None where neither rows nor prices determine the figure.
        why_not: Why it cannot be recomputed; empty where it can.
        note: What the definition assumes because the study's words leave it open.
    """

    formula: Formula | None
    why_not: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class PublishedStudy:
    """All printed figures and all raw rows, which definitions refer to."""

    printed: Sequence[Printed]
    samples: Samples

    def number(self, quantity: str, configuration: str = "", model: str = "") -> Printed | None:
        """Find the first printed figure of that quantity, configuration and model."""
        alike = (
            figure
            for figure in self.printed
            if figure.quantity == quantity
            and configuration in {"", figure.configuration}
            and model in {"", figure.model}
        )
        return next(alike, None)


def define(figure: Printed, study: PublishedStudy) -> Definition:
    """Define a figure by the words beside it."""
    for pattern, build in _DEFINITIONS:
        if re.fullmatch(pattern, figure.quantity):
            try:
                return _checked(build(figure, study), study)
            except _UnclearError as unclear:
                return Definition(None, str(unclear))
    return Definition(None, f"nobody has defined here how “{figure.quantity}” is computed")


class _UnclearError(ValueError):
    """The words beside a figure are not enough to define it."""


def _checked(definition: Definition, study: PublishedStudy) -> Definition:
    """Mark a definition as not recomputable where it needs rows that were not published."""
    formula = definition.formula
    if formula is None or definition.why_not:
        return definition
    missing = sorted({r.experiment for r in formula.rows} - set(study.samples.experiments))
    if missing:
        return Definition(None, f"the raw rows of {', '.join(missing)} are not there")
    if formula.rests_on_printed_measurements:
        return Definition(formula, _NO_ROWS, definition.note)
    return definition


_NO_ROWS = "the study published no raw rows of what it compares with (the larger image)"
_NEVER_PUBLISHED = "the study published no raw rows of it"
_A_PRICE = "a price on the provider's list, not a measurement"
_INVERSE_TIME = "performance is taken as one over the prediction time, which the section compares"


# ---- the formula that each kind of figure stands for --------------------------------------


def _rows(start: str, model: str, memory_mb: int, quantity: str = TOTAL) -> Rows:
    return Rows(f"{start}-{model}-{memory_mb // 1024}gb", quantity)


def _sizes(figure: Printed, count: int) -> list[int]:
    """Memory sizes that the figure names: ``1024 MB / 2048 MB``."""
    named = re.findall(r"(\d{4}) MB", figure.configuration) or re.findall(
        r"(\d{4}) MB", figure.quantity
    )
    return [int(size) for size in _exactly(count, named, "memory sizes", figure)]


def _families(figure: Printed, count: int) -> list[str]:
    """Instance families that the figure names: ``m6g / m5``."""
    named = re.findall(r"\b[a-z]\d[a-z]*\b", figure.configuration)
    return _exactly(count, named, "instances", figure)


def _exactly(count: int, named: list[str], what: str, figure: Printed) -> list[str]:
    if len(named) != count:
        raise _UnclearError(
            f"the configuration “{figure.configuration}” names {len(named)} {what}, not {count}"
        )
    return named


def _speed_up(start: str, quantity: str) -> Build:
    def build(figure: Printed, _: PublishedStudy) -> Definition:
        sizes = _sizes(figure, 2)
        slow, fast = (Term(_rows(start, figure.model, size, quantity)) for size in sizes)
        return Definition(Formula(Form.RATIO, slow, fast))

    return build


def _cold_over_warm(figure: Printed, _: PublishedStudy) -> Definition:
    (size,) = _sizes(figure, 1)
    cold, warm = (Term(_rows(start, figure.model, size)) for start in (COLD, WARM))
    return Definition(Formula(Form.RATIO, cold, warm))


def _share(figure: Printed, _: PublishedStudy) -> Definition:
    """Share of the prediction: on an instance, or in warm serverless rows at the base size."""
    scale = PERCENT if figure.unit == "percent" else 1.0
    if figure.configuration != "warm":
        name, note = f"{figure.model}-{_families(figure, 1)[0]}", ""
    else:
        name = f"{WARM}-{figure.model}-{BASE_MB // 1024}gb"
        note = f"no size is printed beside it; taken at {BASE_MB} MB, where the section starts"
    part, whole = Term(Rows(name, PREDICTION)), Term(Rows(name, TOTAL))
    return Definition(Formula(Form.RATIO, part, whole, scale, is_paired=True), note=note)


def _priced(model: str, size: int, study: PublishedStudy) -> Term | None:
    price = study.number("serverless price per second", f"{size} MB")
    if price is None:
        return None
    return Term(_rows(WARM, model, size), price.value, f"{price.where}, {size} MB")


def _cost(figure: Printed, study: PublishedStudy) -> Definition:
    (size,) = _sizes(figure, 1)
    term = _priced(figure.model, size, study)
    if term is None:
        return Definition(None, f"no price of {size} MB is printed")
    return Definition(Formula(Form.AMOUNT, term))


def _cost_reduction(figure: Printed, study: PublishedStudy) -> Definition:
    before, after = (_priced(figure.model, size, study) for size in _sizes(figure, 2))
    if before is None or after is None:
        return Definition(None, "the price of a size is not printed")
    return Definition(Formula(Form.REDUCTION, before, after, PERCENT))


def _after_optimisation(figure: Printed, _: PublishedStudy) -> Definition:
    (size,) = _sizes(figure, 1)
    return Definition(Formula(Form.AMOUNT, Term(_rows(COLD, figure.model, size))))


def _before_optimisation(figure: Printed, study: PublishedStudy) -> Definition:
    """Without rows of the larger image: the printed speed-up times the rows of the smaller one."""
    gain = study.number(_IMAGE_SPEED_UP, model=figure.model)
    if gain is None:
        return Definition(None, _NEVER_PUBLISHED)
    inverse = Term(Constant(1 / gain.value, f"1 over {gain.text}, {gain.where}", is_measured=True))
    return Definition(Formula(Form.RATIO, Term(_rows(COLD, figure.model, BASE_MB)), inverse))


def _against_before(size_mb: int) -> Build:
    def build(figure: Printed, study: PublishedStudy) -> Definition:
        printed = study.number("cold-start latency before optimisation", model=figure.model)
        if printed is None:
            return Definition(None, _NEVER_PUBLISHED)
        source = f"printed in {printed.where}"
        before = Term(Constant(printed.value, source, is_measured=True))
        after = Term(_rows(COLD, figure.model, size_mb))
        return Definition(Formula(Form.RATIO, before, after))

    return build


def _between_instances(form: Form, scale: float = 1.0, note: str = "") -> Build:
    def build(figure: Printed, _: PublishedStudy) -> Definition:
        families = _families(figure, 2)
        slow, fast = (Term(Rows(f"{figure.model}-{family}", PREDICTION)) for family in families)
        return Definition(Formula(form, slow, fast, scale), note=note)

    return build


def _largest_between_instances(figure: Printed, study: PublishedStudy) -> Definition:
    found = [experiment_of(name) for name in study.samples.experiments]
    named = [one.name for one in found if one and one.family and one.model == figure.model]
    if len(named) < 2:
        return Definition(None, f"the raw rows of {figure.model} on instances are not there")
    ranked = sorted(named, key=lambda name: study.samples.mean(Rows(name, TOTAL)))
    slow, fast = Term(Rows(ranked[-1], TOTAL)), Term(Rows(ranked[0], TOTAL))
    note = "the interval takes the slowest and the fastest as given"
    return Definition(Formula(Form.RATIO, slow, fast), note=note)


def _price_reduction(figure: Printed, study: PublishedStudy) -> Definition:
    prices = [study.number("price per hour", f"ml.{f}.xlarge") for f in _families(figure, 2)]
    terms = [Term(Constant(p.value, f"{p.where}, {p.configuration}")) for p in prices if p]
    if len(terms) < 2:
        return Definition(None, "the prices are not printed")
    note = "from the printed prices"
    return Definition(Formula(Form.REDUCTION, terms[0], terms[1], PERCENT), note=note)


def _no(reason: str) -> Build:
    return lambda _figure, _study: Definition(None, reason)


_IMAGE_SPEED_UP = "cold-start total latency speed-up largest to smallest image"

_DEFINITIONS: tuple[tuple[str, Build], ...] = (
    (
        "parameters",
        _no("a property of the network, not of the rows (drdeploy model list shows it)"),
    ),
    ("SavedModel size on disk", _no("a property of files that were not published")),
    ("image size (compressed|on disk)", _no("the study published only the sizes")),
    (_IMAGE_SPEED_UP, _against_before(BASE_MB)),
    ("warm prediction time speed-up", _speed_up(WARM, PREDICTION)),
    ("(largest )?warm total latency speed-up( from memory)?", _speed_up(WARM, TOTAL)),
    ("prediction time (share of|over) total latency", _share),
    (r"cost reduction .*", _cost_reduction),
    ("mean cost per inference", _cost),
    ("cold-start total latency speed-up", _speed_up(COLD, TOTAL)),
    ("mean ModelSetupTime", _no("the study published no rows of CloudWatch's ModelSetupTime")),
    ("cold-start latency before optimisation", _before_optimisation),
    ("cold-start latency after optimisation", _after_optimisation),
    ("cold-start speed-up of all optimisations", _against_before(TUNED_MB)),
    ("cold-start over warm total latency", _cold_over_warm),
    ("(serverless price per second|price per hour)", _no(_A_PRICE)),
    ("prediction time speed-up", _between_instances(Form.RATIO)),
    ("price reduction.*", _price_reduction),
    ("largest total latency speed-up between instances", _largest_between_instances),
    ("performance loss of .*", _between_instances(Form.REDUCTION, PERCENT, _INVERSE_TIME)),
)
