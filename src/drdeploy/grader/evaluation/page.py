"""Write an evaluation as one self-contained HTML page: the decisions first, then their basis."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.errors import requires_extra
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


@dataclass(frozen=True)
class ReferencePoint:
    """A published figure for a sense of scale; it is about other photographs.

    Attributes:
        who: Whose figure it is.
        sensitivity: As published.
        specificity: As published.
        kappa: As published.
    """

    who: str
    sensitivity: str = ""
    specificity: str = ""
    kappa: str = ""


REFERENCE_POINTS = (
    ReferencePoint("IDx-DR (96.1 % of eyes could be graded)", "87.2 %", "90.7 %"),
    ReferencePoint("EyeArt", "96 %", "88 %"),
    ReferencePoint("Google, at a high-sensitivity point", "97.5 %", "93.4 %"),
    ReferencePoint("Human graders against adjudication", kappa="0.78 to 0.85"),
    ReferencePoint("Small models on APTOS 2019, cross-validated", kappa="0.87 to 0.92"),
    ReferencePoint("One such model on sets it had not seen: IDRiD", kappa="0.72"),
    ReferencePoint("Messidor", kappa="0.55"),
    ReferencePoint("EyePACS", kappa="0.47"),
)


def check_can_draw() -> None:
    """Check that a page can be drawn, before an hour of grading and not after it.

    Raises:
        MissingExtra: Matplotlib or Jinja is not installed.
    """
    with requires_extra("study", "An evaluation's page"):
        import jinja2  # noqa: F401
        import matplotlib as mpl  # noqa: F401


def write_page(cells: Sequence[MatrixCell], page: Path, *, written_at: datetime) -> Path:
    """Write the page of an evaluation.

    Args:
        cells: Every grader on every set of photographs, grader by grader.
        page: The file.
        written_at: Shown in the footer.
    """
    page.write_text(render(cells, written_at=written_at), encoding="utf-8")
    return page


def render(cells: Sequence[MatrixCell], *, written_at: datetime) -> str:
    """Return the page as HTML."""
    from drdeploy.pages.page import environment_for

    environment = environment_for("drdeploy.grader.evaluation")
    environment.filters |= {
        "number": _number,
        "percent": _percent,
        "number_cell": _number_cell,
        "percent_cell": _percent_cell,
        "points_cell": _points_cell,
        "brackets": _brackets,
        "points": _operating_points,
    }
    return environment.get_template("evaluation.html.j2").render(
        cells=cells,
        rows=list(dict.fromkeys(cell.evaluated.grader.name for cell in cells)),
        columns=list(dict.fromkeys(cell.evaluated.test_set.name for cell in cells)),
        shown=[_template_values(cell, number) for number, cell in enumerate(cells, 1)],
        matrices=MATRICES,
        grades=list(Grade),
        reference_points=REFERENCE_POINTS,
        notice=RESEARCH_USE_NOTICE,
        version=VERSION,
        written_at=written_at.strftime("%Y-%m-%d %H:%M UTC"),
    )


def _template_values(cell: MatrixCell, number: int) -> dict[str, Any]:
    """Collect what the template shows of one grader on one set of photographs."""
    from drdeploy.grader.evaluation.figures import pictures_of

    evaluated = cell.evaluated
    graded, found = evaluated.graded, evaluated.evaluation
    return {
        "anchor": f"e{number}",
        "cell": cell,
        "grader": evaluated.grader,
        "test_set": evaluated.test_set,
        "found": found,
        "notes": (*evaluated.notes, *evaluated.test_set.notes),
        "counts": {grade: int(found.confusion[grade].sum()) for grade in Grade},
        "pictures": pictures_of(evaluated, f"e{number}"),
        "missed": [(graded.files[at], Grade(int(graded.labels[at]))) for at in found.missed],
        "refused": [
            (file, Grade(int(label)), reason)
            for file, label, reason in zip(graded.files, graded.labels, graded.reasons, strict=True)
            if reason
        ],
        "total": len(graded),
    }


def _operating_points(detection: Detection) -> dict[str, OperatingPointQuality | None]:
    """The operating points by name; None for one that the manifest does not have."""
    by_name = {one.point.name: one for one in detection.operating_points}
    return {name: by_name.get(name) for name in ("high_sensitivity", "balanced")}


def _number(estimate: Estimate, digits: int = DIGITS) -> str:
    return NO_VALUE if estimate.value is None else f"{estimate.value:.{digits}f}"


def _percent(estimate: Estimate) -> str:
    return NO_VALUE if estimate.value is None else f"{100 * estimate.value:.1f}\u00a0%"


def _brackets(estimate: Estimate, unit: str = "") -> str:
    """Format ``(0.75 to 0.84, n = 405)`` for running text, or why there is no interval."""
    interval = _interval(estimate, 100 if unit == "%" else 1, 1 if unit == "%" else DIGITS)
    return f"({interval or estimate.reason}, n = {estimate.n})"


def _interval(estimate: Estimate, factor: float, digits: int) -> str:
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{factor * estimate.low:.{digits}f} to {factor * estimate.high:.{digits}f}"


def _number_cell(estimate: Estimate) -> Markup:
    from drdeploy.pages.page import cell

    return cell(_number(estimate), _interval(estimate, 1, DIGITS), estimate.reason)


def _percent_cell(estimate: Estimate) -> Markup:
    from drdeploy.pages.page import cell

    return cell(_percent(estimate), _interval(estimate, 100, 1), estimate.reason)


def _points_cell(estimate: Estimate) -> Markup:
    """Format a difference of shares, in percentage points with its sign."""
    from drdeploy.pages.page import cell

    value = NO_VALUE if estimate.value is None else f"{100 * estimate.value:+.1f}"
    low, high = estimate.low, estimate.high
    interval = "" if low is None or high is None else f"{100 * low:+.1f} to {100 * high:+.1f}"
    return cell(value, interval, estimate.reason)


MATRICES: tuple[tuple[str, Callable[[Estimate], Markup], Callable[[Evaluation], Estimate]], ...] = (
    ("Quadratic weighted kappa", _number_cell, lambda of: of.kappa),
    ("Area under the ROC curve, grade ≥ 2", _number_cell, lambda of: of.referable.auroc),
    ("Sensitivity, grade ≥ 2", _percent_cell, lambda of: of.referable.sensitivity),
    ("Specificity, grade ≥ 2", _percent_cell, lambda of: of.referable.specificity),
    ("Sensitivity, grade ≥ 3", _percent_cell, lambda of: of.vision_threatening.sensitivity),
    ("Specificity, grade ≥ 3", _percent_cell, lambda of: of.vision_threatening.specificity),
)
"""The figures in the matrix of several graders and sets: title, format, and the figure itself."""
