"""Draw four pictures: confusion matrix, ROC curve, reliability, and risk over coverage."""

from __future__ import annotations

from typing import TYPE_CHECKING

import matplotlib as mpl
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from drdeploy.grader.evaluation.metrics import (
    compute_reliability_bins,
    compute_risk_over_coverage,
    compute_roc_curve,
)
from drdeploy.grader.grading import Grade
from drdeploy.grader.grading.prediction import (
    grades_from_probabilities,
    probability_of_grade_or_worse,
)
from drdeploy.pages.picture import Picture, picture_from_figure
from drdeploy.pages.style import BLUE, GREY, INK, ORANGE, PALE, STYLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from matplotlib.axes import Axes

    from drdeploy.grader.evaluation.evaluation import Detection
    from drdeploy.grader.evaluation.graders import GraderEvaluation
    from drdeploy.grader.evaluation.predictions import GradedSet
    from drdeploy.statistics.estimate import Estimate

SIZE_IN = (4.6, 4.0)
DARK_FROM = 0.55
"""If a cell of the confusion matrix holds at least this share of its row, the cell is so dark that
its number is drawn in white.
"""
LOOKS = {Grade.MODERATE: (BLUE, "-"), Grade.SEVERE: (ORANGE, "--")}
MARKS = {"grade": "s", "high_sensitivity": "^", "balanced": "o"}


def draw_evaluation_pictures(evaluated: GraderEvaluation, prefix: str) -> tuple[Picture, ...]:
    """Draw the four pictures of an evaluation, or none if no photograph was graded.

    Each picture's name begins with ``prefix``, so that the names stay unique on a page that shows
    several evaluations.
    """
    if not evaluated.evaluation.n:
        return ()
    drawn: tuple[tuple[str, str, Callable[[Axes, GraderEvaluation], None]], ...] = (
        (
            "Confusion matrix",
            "For each label: how many photographs got each grade, as count and share",
            _draw_confusion_matrix,
        ),
        (
            "ROC",
            "Sensitivity against the share of false alarms, for grade ≥ 2 and for grade ≥ 3",
            _draw_roc_curves,
        ),
        (
            "Reliability",
            "How often predictions came true, at each predicted probability",
            _draw_reliability_diagram,
        ),
        ("Risk and coverage", "Errors among the most confident answers", _draw_risk_over_coverage),
    )  # fmt: skip
    pictures = []
    for title, description, draw in drawn:
        with mpl.rc_context(STYLE):
            figure = Figure(figsize=SIZE_IN)
            draw(figure.add_subplot(), evaluated)
        pictures.append(picture_from_figure(figure, f"{prefix} {title}", title, description))
    return tuple(pictures)


def _draw_confusion_matrix(axes: Axes, evaluated: GraderEvaluation) -> None:
    counts = evaluated.evaluation.confusion
    of_label = counts.sum(axis=1, keepdims=True)
    shares = counts / np.maximum(of_label, 1)
    axes.pcolormesh(shares, cmap="Blues", vmin=0, vmax=1, edgecolors="white", linewidth=2)
    for label in Grade:
        for answer in Grade:
            share, count = shares[label, answer], counts[label, answer]
            axes.text(
                answer + 0.5,
                label + 0.5,
                f"{count:,}\n{share:.0%}" if count else "0",
                ha="center",
                va="center",
                color="white" if share >= DARK_FROM else INK,
                fontweight="bold" if label == answer else "normal",
            )
    places = np.arange(len(Grade)) + 0.5
    axes.set_xticks(places, [f"{grade:d}" for grade in Grade])
    axes.set_yticks(
        places, [f"{grade:d} {grade.label}\nn = {of_label[grade, 0]:,}" for grade in Grade]
    )
    axes.tick_params(length=0)
    axes.set_xlabel("graded")
    axes.set_ylabel("label")
    axes.invert_yaxis()
    axes.grid(visible=False)
    axes.spines[:].set_visible(False)


def _draw_roc_curves(axes: Axes, evaluated: GraderEvaluation) -> None:
    graded = _select_gradable_photographs(evaluated)
    or_worse = probability_of_grade_or_worse(graded.probabilities)
    found = evaluated.evaluation
    for detection in (found.referable, found.vision_threatening):
        at = detection.at_or_above
        curve = compute_roc_curve(graded.labels >= at, or_worse[:, at])
        if curve is None or detection.auroc.value is None:
            continue
        colour, line = LOOKS[at]
        label = f"grade ≥ {at:d}: area {detection.auroc.value:.3f}"
        axes.plot(curve.of_healthy, curve.of_diseased, line, color=colour, label=label)
        _mark_decisions_on_roc(axes, detection, colour)
    has_points = found.referable.operating_points or found.vision_threatening.operating_points
    for name, mark in MARKS.items():
        if name == "grade" or has_points:
            shown = name.replace("_", " ") if name != "grade" else "the answered grade"
            axes.plot([], [], mark, color=GREY, label=shown, linestyle="none")
    axes.plot([0, 1], [0, 1], ":", color=GREY, lw=0.8)
    _set_up_unit_square_axes(axes, "1 - specificity", "sensitivity")
    axes.legend(loc="lower right", frameon=False, fontsize=8)


def _mark_decisions_on_roc(axes: Axes, detection: Detection, colour: str) -> None:
    """Mark on the ROC curve the decisions by grade and by each operating point, with error bars."""
    decisions = [("grade", detection.sensitivity, detection.specificity)]
    decisions += [
        (one.point.name, one.sensitivity, one.specificity) for one in detection.operating_points
    ]
    for name, sensitivity, specificity in decisions:
        if sensitivity.value is None or specificity.value is None:
            continue
        below, above = _error_bar_lengths(sensitivity)
        left, right = _error_bar_lengths(specificity)[::-1]
        axes.errorbar(
            1 - specificity.value,
            sensitivity.value,
            xerr=[[left], [right]],
            yerr=[[below], [above]],
            fmt=MARKS.get(name, "D"),
            color=colour,
            mec="white",
            mew=0.6,
            ms=7,
            lw=0.9,
            zorder=3,
        )


def _draw_reliability_diagram(axes: Axes, evaluated: GraderEvaluation) -> None:
    graded = _select_gradable_photographs(evaluated)
    is_right = graded.probabilities.argmax(axis=1) == graded.labels
    referable = probability_of_grade_or_worse(graded.probabilities)[:, Grade.MODERATE]
    events = (
        ("the most probable grade", graded.probabilities.max(axis=1), is_right),
        ("grade ≥ 2", referable, graded.labels >= Grade.MODERATE),
    )  # fmt: skip
    for (name, probability, came_true), colour, mark in zip(
        events, (INK, BLUE), ("o", "s"), strict=True
    ):
        bins = [
            one
            for one in compute_reliability_bins(probability, came_true)
            if one.share.value is not None
        ]
        axes.errorbar(
            [one.probability for one in bins],
            [one.share.value or 0.0 for one in bins],
            yerr=np.array([_error_bar_lengths(one.share) for one in bins]).T,
            fmt=f"{mark}-",
            color=colour,
            ms=4,
            lw=0.9,
            capsize=2,
            label=name,
        )
    axes.plot([0, 1], [0, 1], ":", color=GREY, lw=0.8)
    _set_up_unit_square_axes(axes, "predicted probability", "how often the prediction came true")
    axes.legend(loc="upper left", frameon=False, fontsize=8)


def _draw_risk_over_coverage(axes: Axes, evaluated: GraderEvaluation) -> None:
    graded = _select_gradable_photographs(evaluated)
    grades = grades_from_probabilities(graded.probabilities, evaluated.grader.grade_thresholds)
    referable = probability_of_grade_or_worse(graded.probabilities)[:, Grade.MODERATE]
    is_referred = grades >= Grade.MODERATE
    lines = (
        (
            "grade differs from the label",
            graded.probabilities[np.arange(len(graded)), grades],
            grades != graded.labels,
        ),
        (
            "wrong about grade ≥ 2",
            np.where(is_referred, referable, 1 - referable),
            is_referred != (graded.labels >= Grade.MODERATE),
        ),
    )
    for (name, confidence, is_wrong), colour, line in zip(
        lines, (INK, BLUE), ("-", "--"), strict=True
    ):
        curve = compute_risk_over_coverage(confidence, is_wrong)
        axes.plot(curve.coverage, curve.risk, line, color=colour, label=name)
    axes.set_xlim(0, 1)
    axes.set_ylim(bottom=0)
    axes.xaxis.set_major_formatter(PercentFormatter(1.0, decimals=0))
    axes.yaxis.set_major_formatter(PercentFormatter(1.0))
    axes.set_xlabel("share of photographs kept, the most confident first")
    axes.set_ylabel("wrong among these")
    axes.legend(loc="upper left", frameon=False, fontsize=8)


def _select_gradable_photographs(evaluated: GraderEvaluation) -> GradedSet:
    return evaluated.graded.select_by_position(np.flatnonzero(evaluated.graded.is_gradable))


def _error_bar_lengths(estimate: Estimate) -> tuple[float, float]:
    """Return the lengths of the error bar below and above the value."""
    value = estimate.value or 0.0
    low = value if estimate.low is None else estimate.low
    high = value if estimate.high is None else estimate.high
    return max(0.0, value - low), max(0.0, high - value)


def _set_up_unit_square_axes(axes: Axes, across: str, up: str) -> None:
    axes.set_xlim(-0.02, 1.02)
    axes.set_ylim(-0.02, 1.02)
    axes.grid(visible=True, axis="both", color=PALE)
    axes.set_xlabel(across)
    axes.set_ylabel(up)
