"""Write docs/calibration.md: the packaged grader's calibration before and after adjustments.

    python scripts/write_calibration_page.py

The figures are computed from the predictions for the test photographs in evidence/mobilenet-idrid
and from the manifests of the packaged graders. The script loads no model. Run it again when `make
model` has made another grader. For research use; not a medical device.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

from drdeploy.grader.artifacts import read_manifest_in_archive
from drdeploy.grader.box import NAME, box_artifact
from drdeploy.grader.datasets import Fold
from drdeploy.grader.evaluation.calibration import BinaryCalibration, estimate_binary_calibration
from drdeploy.grader.evaluation.predictions import GradedSet
from drdeploy.grader.evaluation.prevalence import (
    adjust_probabilities_to_shares,
    estimate_disease_shares,
    find_shares_during_calibration,
    make_shares_for_prevalence,
)
from drdeploy.grader.grading import Grade
from drdeploy.grader.grading.prediction import probability_of_grade_or_worse
from drdeploy.grader.recalibration.fit import cross_fit_adjustment_and_thresholds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from drdeploy.statistics.estimate import Estimate

    Floats = NDArray[np.float64]

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "calibration.md"
EVIDENCE = ROOT / "evidence" / NAME
PRECISIONS = ("fp32", "int8")
TARGETS = (Grade.MODERATE, Grade.SEVERE)
FOLDS = 5
AS_PACKAGED = "as packaged"
THREE_SHARES = "estimated prevalence, three shares"
ONE_SHARE = "estimated prevalence, one share"

HEAD = """\
<!-- Written by scripts/write_calibration_page.py; do not edit. -->

# Calibration before and after adjustments

A grader is calibrated if, of all photographs to which it gives a probability of 30 %, 30 % have
the disease. Three values describe the calibration:

- *Observed / expected*: the number of diseased photographs, divided by the sum of their
  probabilities. It is 1 if the probabilities are right on average, and below 1 if they are too
  high.

- *Intercept*: what must be added to the logits to make the probabilities right on average. It is 0
  if the probabilities are right on average already.

- *Slope*: the factor by which the logits must be multiplied. It is 1 if the probabilities are
  right. If the slope is below 1, the probabilities are too extreme: high probabilities are too
  high, and low ones too low.

The tables show the packaged graders on IDRiD's test photographs from sessions without training
photographs. Each grader has four rows:

- *as packaged*: the probabilities that the grader answers with.

- *estimated prevalence, three shares*: the shares of photographs below grade 2, at grade 2, and at
  grade 3 or 4 are estimated from the probabilities alone, without labels (Saerens et al., 2002).
  The probabilities are adjusted to them. `drdeploy model evaluate --prevalence estimate` shows
  this row.

- *estimated prevalence, one share*: only the share of grade 2 or worse is taken from the
  same estimate. `drdeploy artifact set-prevalence --prevalence estimate` does this.

- *recalibrated*: `drdeploy model recalibrate` with these photographs and their labels. The row is
  cross-fitted: each photograph is graded with a temperature and weights that were chosen on
  photographs of other sessions.

Brackets give 95 % intervals. They take into account that photographs of one session resemble each
other.
"""

CONCLUSION = """\
## What follows

- At grade 2 or worse, both packaged graders are too sure of themselves: the slope is below 1, and
  its interval does not contain 1. On average, the probabilities are about right at both grades.

- An estimated prevalence does not repair the slope, because it shifts the probabilities and does
  not make them less extreme.

- With three estimated shares, the probabilities of grade 3 or worse get worse: they become too
  high, although they were right on average before. Observed / expected falls {falls}.
  For int8, the interval of the intercept no longer contains 0. For fp32, it still does.

- The method assumes that the probabilities are calibrated, and that photographs of one grade look
  the same to the grader here and where it was calibrated. Here, the first assumption is wrong.
  With one share, the probabilities of grade 3 or worse stay about right on average. So `drdeploy
  artifact set-prevalence` uses one share, as `--prevalence 0.1` of other commands does.

- Recalibration with labels moves the slope at grade 2 or worse towards 1, and its interval then
  contains 1. At grade 3 or worse, the slope was not shown to be wrong before or after. With {n}
  photographs, the intervals are wide.

- State a prevalence that you know, rather than estimate one. If you can get graded photographs,
  recalibrate.

For research use. Not a medical device.
"""


@dataclass(frozen=True)
class Row:
    """The calibration of one grader after one adjustment, at each grade."""

    precision: str
    adjustment: str
    calibration: dict[Grade, BinaryCalibration]


def compute_rows(precision: str) -> Iterator[Row]:
    """Yield the calibration of a packaged grader, as packaged and after each adjustment."""
    graded = GradedSet.read_csv(EVIDENCE / f"test-{precision}.csv")
    graded = graded.select_by_position(np.flatnonzero(graded.is_gradable))
    before = find_shares_during_calibration(
        read_manifest_in_archive(box_artifact(precision)).clinical
    )
    if before is None:
        raise SystemExit("the packaged grader does not say how frequent the grades were")
    or_worse = np.asarray(probability_of_grade_or_worse(graded.probabilities))
    three = estimate_disease_shares(or_worse, before)
    one = make_shares_for_prevalence(
        three.at_or_above[Grade.MODERATE], before.severe / (before.moderate + before.severe)
    )
    found = cross_fit_adjustment_and_thresholds(graded, split_by_session(graded), prevalence=None)
    recalibrated = probability_of_grade_or_worse(found.probabilities)
    by_adjustment = {
        AS_PACKAGED: {grade: or_worse[:, grade] for grade in TARGETS},
        **{
            name: adjust_probabilities_to_shares(or_worse, before, shares, "estimated").or_worse
            for name, shares in ((THREE_SHARES, three), (ONE_SHARE, one))
        },
        "recalibrated": {grade: recalibrated[:, grade] for grade in TARGETS},
    }
    for adjustment, chances in by_adjustment.items():
        calibration = {
            grade: estimate_binary_calibration(
                graded.labels >= grade, chances[grade], graded.groups
            )
            for grade in TARGETS
        }
        yield Row(precision, adjustment, calibration)


def split_by_session(graded: GradedSet) -> list[Fold]:
    """Split the photographs into folds as `model recalibrate` does, with seed 0."""
    splitter = StratifiedGroupKFold(FOLDS, shuffle=True, random_state=0)
    placeholder = np.zeros((len(graded), 1))
    return [
        Fold(np.sort(train), np.sort(validation))
        for train, validation in splitter.split(placeholder, graded.labels, graded.groups)
    ]


def write_page() -> str:
    """Return the page as Markdown."""
    rows = [row for precision in PRECISIONS for row in compute_rows(precision)]
    graded = GradedSet.read_csv(EVIDENCE / "test-fp32.csv")
    n = int(graded.is_gradable.sum())
    lines = [HEAD]
    for grade in TARGETS:
        ill = int((graded.labels[graded.is_gradable] >= grade).sum())
        lines += [
            f"## Grade {int(grade)} or worse: {ill} of {n} photographs",
            "",
            "| grader | adjustment | observed / expected | intercept | slope |",
            "|---|---|---|---|---|",
            *(_format_row(row, row.calibration[grade]) for row in rows),
            "",
        ]
    return "\n".join(lines) + "\n" + CONCLUSION.format(n=n, falls=_list_falls(rows))


def _list_falls(rows: list[Row]) -> str:
    """Return what three estimated shares do at grade 3, for each grader."""
    ratios = {
        (row.precision, row.adjustment): row.calibration[Grade.SEVERE].observed_over_expected
        for row in rows
    }
    return " and ".join(
        f"for {precision} from {_format(ratios[precision, AS_PACKAGED])} to "
        f"{_format(ratios[precision, THREE_SHARES])}"
        for precision in PRECISIONS
    )


def _format_row(row: Row, found: BinaryCalibration) -> str:
    figures = (found.observed_over_expected, found.intercept, found.slope)
    return f"| {row.precision} | {row.adjustment} | {' | '.join(map(_format, figures))} |"


def _format(figure: Estimate) -> str:
    if figure.value is None or figure.low is None or figure.high is None:
        return figure.reason
    return f"{figure.value:.2f} ({figure.low:.2f} to {figure.high:.2f})"


def main() -> int:
    """Write the page."""
    PAGE.write_text(write_page(), "utf-8")
    sys.stdout.write(f"wrote {PAGE.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
