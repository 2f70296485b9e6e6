"""Write an evaluation as one self-contained HTML page."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drdeploy.errors import turn_import_error_into_missing_extra
from drdeploy.files import write_file_atomically
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE, Grade
from drdeploy.statistics.notation import NO_VALUE
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from datetime import datetime
    from pathlib import Path

    from markupsafe import Markup

    from drdeploy.grader.evaluation.evaluation import (
        Detection,
        Evaluation,
        OperatingPointQuality,
    )
    from drdeploy.grader.evaluation.graders import MatrixCell
    from drdeploy.statistics.estimate import Estimate

DIGITS = 3


def check_page_packages_installed() -> None:
    """Check that the packages for the page are installed, before any work is done.

    Raises:
        MissingExtra: Matplotlib or Jinja is not installed.
    """
    with turn_import_error_into_missing_extra("study", "An evaluation's page"):
        import jinja2  # noqa: F401
        import matplotlib as mpl  # noqa: F401


def write_evaluation_page(cells: Sequence[MatrixCell], page: Path, *, written_at: datetime) -> Path:
    """Write a page about all graders on all sets of photographs, and return its path."""
    write_file_atomically(page, render_evaluation_page(cells, written_at=written_at))
    return page


def render_evaluation_page(cells: Sequence[MatrixCell], *, written_at: datetime) -> str:
    """Return the page about all graders on all sets of photographs as HTML."""
    from drdeploy.grader.evaluation.document import (
        describe_photograph_and_group_counts,
        name_group_unit,
    )
    from drdeploy.pages.page import create_template_environment

    environment = create_template_environment("drdeploy.grader.evaluation")
    environment.filters |= {
        "number": _format_value,
        "percent": _format_value_as_percent,
        "number_cell": _format_number_cell,
        "percent_cell": _format_percent_cell,
        "points_cell": _format_percentage_points_cell,
        "hundred_cell": _format_cell_per_100_photographs,
        "group_name": name_group_unit,
        "counts": describe_photograph_and_group_counts,
        "brackets": _format_bracketed_interval,
        "points": _operating_points_by_name,
    }
    return environment.get_template("evaluation.html.j2").render(
        cells=cells,
        rows=list(dict.fromkeys(cell.evaluated.grader.name for cell in cells)),
        columns=list(dict.fromkeys(cell.evaluated.test_set.name for cell in cells)),
        shown=[_collect_template_values(cell, number) for number, cell in enumerate(cells, 1)],
        matrices=MATRICES,
        grades=list(Grade),
        notice=RESEARCH_USE_NOTICE,
        version=VERSION,
        written_at=written_at.strftime("%Y-%m-%d %H:%M UTC"),
    )


def _collect_template_values(cell: MatrixCell, number: int) -> dict[str, Any]:
    """Collect the values that the template shows for one grader on one set of photographs."""
    from drdeploy.grader.evaluation.checklist import fill_reporting_checklist
    from drdeploy.grader.evaluation.figures import draw_evaluation_pictures

    evaluated = cell.evaluated
    graded, found = evaluated.graded, evaluated.evaluation
    return {
        "anchor": f"e{number}",
        "cell": cell,
        "grader": evaluated.grader,
        "test_set": evaluated.test_set,
        "found": found,
        "details": evaluated.details,
        "checklist": fill_reporting_checklist(evaluated),
        "unit": graded.group_unit,
        "is_prevalence_of_sample": found.n > 0
        and found.referable.prevalence == found.referable.positives / found.n,
        "notes": (*evaluated.notes, *evaluated.test_set.notes),
        "counts": {grade: int(found.confusion[grade].sum()) for grade in Grade},
        "pictures": draw_evaluation_pictures(evaluated, f"e{number}"),
        "missed": [(graded.files[at], Grade(int(graded.labels[at]))) for at in found.missed],
        "refused": [
            (file, Grade(int(label)), reason)
            for file, label, reason in zip(graded.files, graded.labels, graded.reasons, strict=True)
            if reason
        ],
        "total": len(graded),
    }


def _operating_points_by_name(detection: Detection) -> dict[str, OperatingPointQuality | None]:
    """Return the operating points of one grade by name; a point that the grader lacks is None."""
    by_name = {one.point.name: one for one in detection.operating_points}
    return {name: by_name.get(name) for name in ("high_sensitivity", "balanced")}


def _format_value(estimate: Estimate, digits: int = DIGITS) -> str:
    return NO_VALUE if estimate.value is None else f"{estimate.value:.{digits}f}"


def _format_value_as_percent(estimate: Estimate) -> str:
    return NO_VALUE if estimate.value is None else f"{100 * estimate.value:.1f}\u00a0%"


def _format_bracketed_interval(estimate: Estimate, unit: str = "") -> str:
    """Format an interval as ``(0.75 to 0.84, n = 405)``, or say why there is no interval."""
    interval = _format_interval(estimate, 100 if unit == "%" else 1, 1 if unit == "%" else DIGITS)
    return f"({interval or estimate.reason}, n = {estimate.n})"


def _format_interval(estimate: Estimate, factor: float, digits: int) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{factor * estimate.low:.{digits}f} to {factor * estimate.high:.{digits}f}"


def _format_number_cell(estimate: Estimate) -> Markup:
    from drdeploy.pages.page import format_table_cell

    return format_table_cell(
        _format_value(estimate), _format_interval(estimate, 1, DIGITS), estimate.reason
    )


def _format_percent_cell(estimate: Estimate) -> Markup:
    from drdeploy.pages.page import format_table_cell

    return format_table_cell(
        _format_value_as_percent(estimate), _format_interval(estimate, 100, 1), estimate.reason
    )


def _format_cell_per_100_photographs(estimate: Estimate) -> Markup:
    """Format a net benefit or other value per photograph as a value per 100 photographs."""
    from drdeploy.pages.page import format_table_cell

    value = NO_VALUE if estimate.value is None else f"{100 * estimate.value:.1f}"
    return format_table_cell(value, _format_interval(estimate, 100, 1), estimate.reason)


def _format_percentage_points_cell(estimate: Estimate) -> Markup:
    """Format a table cell with the difference of two shares, in percentage points with a sign."""
    from drdeploy.pages.page import format_table_cell

    value = NO_VALUE if estimate.value is None else f"{100 * estimate.value:+.1f}"
    low, high = estimate.low, estimate.high
    interval = "" if low is None or high is None else f"{100 * low:+.1f} to {100 * high:+.1f}"
    return format_table_cell(value, interval, estimate.reason)


MATRICES: tuple[tuple[str, Callable[[Estimate], Markup], Callable[[Evaluation], Estimate]], ...] = (
    ("Quadratic weighted kappa", _format_number_cell, lambda of: of.kappa),
    ("Area under the ROC curve, grade ≥ 2", _format_number_cell, lambda of: of.referable.auroc),
    ("Sensitivity, grade ≥ 2", _format_percent_cell, lambda of: of.referable.sensitivity),
    ("Specificity, grade ≥ 2", _format_percent_cell, lambda of: of.referable.specificity),
    ("Sensitivity, grade ≥ 3", _format_percent_cell, lambda of: of.vision_threatening.sensitivity),
    ("Specificity, grade ≥ 3", _format_percent_cell, lambda of: of.vision_threatening.specificity),
)
"""The results in the matrix of graders and sets of photographs, each with its title and format."""
