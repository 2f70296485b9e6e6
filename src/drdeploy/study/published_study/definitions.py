"""Define each printed number as a formula.

The definition is derived only from the printed number's description (quantity, model and
configuration). The printed value is not used. If the study did not publish the rows that a number
needs, the definition says so.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from drdeploy.study.published_study.formulas import Constant, Form, Formula, Rows, Term
from drdeploy.study.published_study.printed_figures import load_texts_about_figures
from drdeploy.study.published_study.raw_rows import COLD, WARM, parse_experiment_name
from drdeploy.units import PERCENT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from drdeploy.study.published_study.formulas import StudySamples
    from drdeploy.study.published_study.printed_figures import PrintedFigure

    Build = Callable[[PrintedFigure, "PublishedStudy"], "Definition"]

TOTAL, PREDICTION = "total_latency_s", "prediction_s"
BASE_MB, TUNED_MB = 1024, 2048
"""The memory size with which section 6.1.2 of the study starts, and the memory size that this
section recommends."""


@dataclass(frozen=True)
class Definition:
    """The definition of a printed number.

    Attributes:
        formula: The formula, or None if the number cannot be computed from rows and prices.
        why_not: Why the printed number cannot be recomputed; empty if it can.
        note: Assumptions of the definition that the study does not state.
    """

    formula: Formula | None
    why_not: str = ""
    note: str = ""


@dataclass(frozen=True, eq=False)
class PublishedStudy:
    """All printed numbers and all raw rows of the study; definitions refer to both."""

    printed: Sequence[PrintedFigure]
    samples: StudySamples

    def find_printed_figure(
        self, quantity: str, missing: str, *, configuration: str = "", model: str = ""
    ) -> PrintedFigure:
        """Return the first printed number with a given quantity, configuration and model.

        Args:
            quantity: The quantity of the printed number.
            missing: The text that says why the number cannot be recomputed if no printed number
                matches.
            configuration: The configuration of the printed number; empty for any configuration.
            model: The model of the printed number; empty for any model.
        """
        for figure in self.printed:
            is_wanted = configuration in {"", figure.configuration} and model in {"", figure.model}
            if figure.quantity == quantity and is_wanted:
                return figure
        raise _NotRecomputableError(missing)


def define_printed_figure(figure: PrintedFigure, study: PublishedStudy) -> Definition:
    """Return the definition of a printed number, from its description."""
    if reason := load_texts_about_figures()["not_recomputable"].get(figure.quantity):
        return Definition(None, reason)
    for pattern, build in _DEFINITIONS:
        if re.fullmatch(pattern, figure.quantity):
            try:
                return _replace_definition_without_rows(build(figure, study), study)
            except _NotRecomputableError as reason:
                return Definition(None, str(reason))
    return Definition(None, f"drdeploy has no definition of “{figure.quantity}”")


class _NotRecomputableError(ValueError):
    """A printed number cannot be recomputed.

    Either its description does not say how it was computed, or the data are missing.
    """


def _replace_definition_without_rows(definition: Definition, study: PublishedStudy) -> Definition:
    """Return the definition; if rows for it were not published, the returned definition says so."""
    formula = definition.formula
    if formula is None or definition.why_not:
        return definition
    missing = sorted({r.experiment for r in formula.row_operands} - set(study.samples.experiments))
    if missing:
        return Definition(None, f"the raw rows of {', '.join(missing)} are missing")
    if formula.rests_on_printed_measurements:
        return Definition(formula, _NO_ROWS, definition.note)
    return definition


_NO_ROWS = "the study published no raw rows of the larger container image"
_INVERSE_TIME = "performance is taken as the inverse of the prediction time"


# ---- the formula that each kind of figure stands for --------------------------------------


def _make_latency_term_of_experiment(
    start: str, model: str, memory_mb: int, quantity: str = TOTAL
) -> Term:
    return Term(Rows(f"{start}-{model}-{memory_mb // 1024}gb", quantity))


def _parse_names_in_description(
    figure: PrintedFigure, count: int, pattern: str, what: str
) -> list[str]:
    """Return the names in a printed number's description that match a pattern.

    The configuration ``1024 MB / 2048 MB``, for example, names two memory sizes. If there are not
    exactly ``count`` names, the number is not recomputable.
    """
    named = re.findall(pattern, figure.configuration) or re.findall(pattern, figure.quantity)
    if len(named) != count:
        raise _NotRecomputableError(
            f"the configuration “{figure.configuration}” names {len(named)} {what}, not {count}"
        )
    return named


def _parse_memory_sizes_mb(figure: PrintedFigure, count: int) -> list[int]:
    return [
        int(size)
        for size in _parse_names_in_description(figure, count, r"(\d{4}) MB", "memory sizes")
    ]


def _parse_instance_names(figure: PrintedFigure, count: int) -> list[str]:
    return _parse_names_in_description(figure, count, r"\b[a-z]\d[a-z]*\b", "instances")


def _formula_builder_of_memory_speed_up(start: str, quantity: str) -> Build:
    def build_speed_up_formula(figure: PrintedFigure, _: PublishedStudy) -> Definition:
        slow, fast = (
            _make_latency_term_of_experiment(start, figure.model, size, quantity)
            for size in _parse_memory_sizes_mb(figure, 2)
        )
        return Definition(Formula(Form.RATIO, slow, fast))

    return build_speed_up_formula


def _formula_of_cold_over_warm_ratio(figure: PrintedFigure, _: PublishedStudy) -> Definition:
    (size,) = _parse_memory_sizes_mb(figure, 1)
    cold, warm = (
        _make_latency_term_of_experiment(start, figure.model, size) for start in (COLD, WARM)
    )
    return Definition(Formula(Form.RATIO, cold, warm))


def _formula_of_prediction_share(figure: PrintedFigure, _: PublishedStudy) -> Definition:
    """Return the definition of a share: the prediction time divided by the total latency.

    The share was printed for warm requests to a serverless endpoint, or for one instance type.
    """
    scale = PERCENT if figure.unit == "percent" else 1.0
    if figure.configuration != "warm":
        name, note = f"{figure.model}-{_parse_instance_names(figure, 1)[0]}", ""
    else:
        name = f"{WARM}-{figure.model}-{BASE_MB // 1024}gb"
        note = f"the study prints no memory size for this number, and {BASE_MB} MB is assumed"
    part, whole = Term(Rows(name, PREDICTION)), Term(Rows(name, TOTAL))
    return Definition(Formula(Form.RATIO, part, whole, scale, is_paired=True), note=note)


def _make_cost_term_of_experiment(model: str, size: int, study: PublishedStudy) -> Term:
    missing = f"the study prints no price for {size} MB"
    price = study.find_printed_figure(
        "serverless price per second", missing, configuration=f"{size} MB"
    )
    source = f"{price.where}, {size} MB"
    return replace(
        _make_latency_term_of_experiment(WARM, model, size),
        usd_per_second=price.value,
        price_source=source,
    )


def _formula_of_cost_per_inference(figure: PrintedFigure, study: PublishedStudy) -> Definition:
    (size,) = _parse_memory_sizes_mb(figure, 1)
    return Definition(
        Formula(Form.AMOUNT, _make_cost_term_of_experiment(figure.model, size, study))
    )


def _formula_of_cost_reduction(figure: PrintedFigure, study: PublishedStudy) -> Definition:
    before, after = (
        _make_cost_term_of_experiment(figure.model, size, study)
        for size in _parse_memory_sizes_mb(figure, 2)
    )
    return Definition(Formula(Form.REDUCTION, before, after, PERCENT))


def _formula_of_cold_start_in_small_image(figure: PrintedFigure, _: PublishedStudy) -> Definition:
    (size,) = _parse_memory_sizes_mb(figure, 1)
    return Definition(
        Formula(Form.AMOUNT, _make_latency_term_of_experiment(COLD, figure.model, size))
    )


def _formula_of_cold_start_in_large_image(
    figure: PrintedFigure, study: PublishedStudy
) -> Definition:
    """Return the definition of the cold start in the largest container image.

    It is the measured cold start in the smallest image, multiplied by the printed speed-up from the
    largest to the smallest image.
    """
    gain = study.find_printed_figure(_IMAGE_SPEED_UP, _NO_ROWS, model=figure.model)
    inverse = Term(Constant(1 / gain.value, f"1 over {gain.text}, {gain.where}", is_measured=True))
    return Definition(
        Formula(Form.RATIO, _make_latency_term_of_experiment(COLD, figure.model, BASE_MB), inverse)
    )


def _formula_builder_of_image_speed_up(size_mb: int) -> Build:
    def build_speed_up_formula(figure: PrintedFigure, study: PublishedStudy) -> Definition:
        quantity = "cold-start latency before optimisation"
        printed = study.find_printed_figure(quantity, _NO_ROWS, model=figure.model)
        source = f"printed in {printed.where}"
        before = Term(Constant(printed.value, source, is_measured=True))
        return Definition(
            Formula(
                Form.RATIO, before, _make_latency_term_of_experiment(COLD, figure.model, size_mb)
            )
        )

    return build_speed_up_formula


def _formula_builder_of_instance_comparison(
    form: Form, scale: float = 1.0, note: str = ""
) -> Build:
    def build_comparison_formula(figure: PrintedFigure, _: PublishedStudy) -> Definition:
        families = _parse_instance_names(figure, 2)
        slow, fast = (Term(Rows(f"{figure.model}-{family}", PREDICTION)) for family in families)
        return Definition(Formula(form, slow, fast, scale), note=note)

    return build_comparison_formula


def _formula_of_largest_instance_speed_up(
    figure: PrintedFigure, study: PublishedStudy
) -> Definition:
    found = [parse_experiment_name(name) for name in study.samples.experiments]
    named = [one.name for one in found if one and one.family and one.model == figure.model]
    if len(named) < 2:
        raise _NotRecomputableError(f"the raw rows of {figure.model} on instances are missing")
    ranked = sorted(named, key=lambda name: study.samples.compute_mean_s(Rows(name, TOTAL)))
    slow, fast = Term(Rows(ranked[-1], TOTAL)), Term(Rows(ranked[0], TOTAL))
    note = "the interval assumes that the slowest and the fastest instance are known"
    return Definition(Formula(Form.RATIO, slow, fast), note=note)


def _formula_of_price_reduction(figure: PrintedFigure, study: PublishedStudy) -> Definition:
    missing = "the prices are not printed"
    prices = [
        study.find_printed_figure("price per hour", missing, configuration=f"ml.{family}.xlarge")
        for family in _parse_instance_names(figure, 2)
    ]
    before, after = (Term(Constant(p.value, f"{p.where}, {p.configuration}")) for p in prices)
    note = "the number is computed from the printed prices"
    return Definition(Formula(Form.REDUCTION, before, after, PERCENT), note=note)


_IMAGE_SPEED_UP = "cold-start total latency speed-up largest to smallest image"

_DEFINITIONS: tuple[tuple[str, Build], ...] = (
    (_IMAGE_SPEED_UP, _formula_builder_of_image_speed_up(BASE_MB)),
    ("warm prediction time speed-up", _formula_builder_of_memory_speed_up(WARM, PREDICTION)),
    (
        "(largest )?warm total latency speed-up( from memory)?",
        _formula_builder_of_memory_speed_up(WARM, TOTAL),
    ),
    ("prediction time (share of|over) total latency", _formula_of_prediction_share),
    (r"cost reduction .*", _formula_of_cost_reduction),
    ("mean cost per inference", _formula_of_cost_per_inference),
    ("cold-start total latency speed-up", _formula_builder_of_memory_speed_up(COLD, TOTAL)),
    ("cold-start latency before optimisation", _formula_of_cold_start_in_large_image),
    ("cold-start latency after optimisation", _formula_of_cold_start_in_small_image),
    ("cold-start speed-up of all optimisations", _formula_builder_of_image_speed_up(TUNED_MB)),
    ("cold-start over warm total latency", _formula_of_cold_over_warm_ratio),
    ("prediction time speed-up", _formula_builder_of_instance_comparison(Form.RATIO)),
    ("price reduction.*", _formula_of_price_reduction),
    ("largest total latency speed-up between instances", _formula_of_largest_instance_speed_up),
    (
        "performance loss of .*",
        _formula_builder_of_instance_comparison(Form.REDUCTION, PERCENT, _INVERSE_TIME),
    ),
)
