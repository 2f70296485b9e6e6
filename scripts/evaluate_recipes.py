"""Compute the figures of the compared recipes from their predictions, and print the tables.

    python scripts/compare_recipes.py     # trains, and writes the predictions
    python scripts/evaluate_recipes.py    # writes metrics.json, and prints the tables

A figure is the mean over the seeds. A difference is a recipe minus the packaged recipe, paired by
seed and photograph. Intervals come from a bootstrap that draws whole capture sessions, and also
draws seeds. Out of fold, the temperature and the threshold of each fold were chosen on the other
folds; the bootstrap does not choose them again. For research use; not a medical device.
"""

from __future__ import annotations

import csv
import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from drdeploy.grader.datasets import Fold
from drdeploy.grader.evaluation.metrics import (
    GRADES,
    compute_kappa_from_cell_sums,
    one_hot_encode_confusion_cells,
)
from drdeploy.grader.grading.prediction import grades_from_probabilities
from drdeploy.grader.training.calibration import calibrate_and_flag_cross_fitted
from drdeploy.grader.training.fit import MEDIAN_GRADE

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

EVIDENCE = Path(__file__).resolve().parent.parent / "evidence" / "recipes"
BASELINE: Final = "packaged"
SEEDS: Final = 5
RESAMPLES: Final = 4999
SMALLEST: Final = 1e-6
"""Smallest probability that the tables of predictions can tell from zero."""
TITLES: Final = {
    BASELINE: "packaged recipe",
    "coral": "ordinal head (CORAL)",
    "generalized-cross-entropy": "generalized cross-entropy, q 0.7",
    "bootstrapped-labels": "bootstrapped labels, 0.8",
    "doubtful-labels-left-out": "5 % least probable labels left out",
    "smoothing": "labels smoothed by 0.3, not 0.1",
    "mixup": "mixup of the frozen layers' outputs",
    "distilled-other-folds": "distilled from networks of other folds",
    "distilled-other-networks": "distilled from MobileNet and VGG16 of other folds",
    "self-supervised": "self-supervision first (VICReg)",
    "graham": "Graham's filter for half of the photographs",
    "clahe": "CLAHE for half of the photographs",
    "mixed-frequencies": "low frequencies mixed (FDA), for half of the photographs",
}
OUT_OF_FOLD: Final = {
    "kappa": "quadratic kappa",
    "auroc_2": "AUROC, grade >= 2",
    "sensitivity_2": "sensitivity, grade >= 2",
    "specificity_2": "specificity, grade >= 2",
    "brier": "Brier score",
    "log_loss": "log loss",
}
TEST: Final = {"kappa": "test: quadratic kappa", "auroc_2": "test: AUROC, grade >= 2"}


@dataclass(frozen=True, eq=False)
class Photographs:
    """The photographs of a part, in the order of the predictions, and the resamples of the part.

    Attributes:
        labels: Grades, shape ``(n,)``.
        folds: Folds; empty for the test part.
        weights: How often each resample holds each photograph, shape ``(1 + RESAMPLES, n)``; the
            first row holds each photograph once.
    """

    labels: NDArray[np.intp]
    groups: NDArray[np.str_]
    folds: tuple[Fold, ...]
    weights: Floats

    @classmethod
    def read(cls, part: str) -> Photographs:
        """Read the table of a part, ``oof`` or ``test``."""
        with (EVIDENCE / f"{part}-photographs.csv").open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        numbers = np.array([row["fold"] for row in rows])
        folds = tuple(
            Fold(np.flatnonzero(numbers != one), np.flatnonzero(numbers == one))
            for one in np.unique(numbers)
            if one
        )
        groups = np.array([row["group"] for row in rows])
        sessions, session_of = np.unique(groups, return_inverse=True)
        share = np.full(len(sessions), 1 / len(sessions))
        drawn = np.random.default_rng(0).multinomial(len(sessions), share, size=RESAMPLES)
        weights = np.concatenate([np.ones((1, len(rows))), drawn[:, session_of]])
        return cls(np.array([int(row["icdr_grade"]) for row in rows]), groups, folds, weights)


def main() -> None:
    """Write the figures, and print the tables."""
    document = build_document()
    text = json.dumps(document, indent=1)
    (EVIDENCE / "metrics.json").write_text(f"{text}\n", encoding="utf-8")
    sys.stdout.write(write_table(document, "out_of_fold") + "\n" + write_table(document, "test"))


def list_recipes() -> list[str]:
    """Return the recipes that have predictions, the packaged one first."""
    return [name for name in TITLES if (EVIDENCE / f"oof-{name}.csv").is_file()]


def build_document() -> dict[str, Any]:
    """Compute every figure and every difference from the predictions."""
    names = list_recipes()
    document: dict[str, Any] = {
        "notice": "For research use. Not a medical device.",
        "seeds": SEEDS,
        "comparisons": len(names) - 1,
    }
    for key, part in (("out_of_fold", "oof"), ("test", "test")):
        photographs = Photographs.read(part)
        found = {name: compute_figures(name, part, photographs) for name in names}
        document[key] = {
            "n": len(photographs.labels),
            "sessions": len(np.unique(photographs.groups)),
            "recipes": {
                name: {
                    figure: _describe(values, found[BASELINE][figure], len(names) - 1)
                    for figure, values in found[name].items()
                }
                for name in names
            },
        }
    return document


def compute_figures(name: str, part: str, photographs: Photographs) -> dict[str, Floats]:
    """Return each figure of a recipe, by seed and resample, shape ``(SEEDS, 1 + RESAMPLES)``."""
    by_seed = [
        _compute_figures_of_seed(probabilities, photographs)
        for probabilities in read_probabilities(name, part)
    ]
    return {figure: np.stack([one[figure] for one in by_seed]) for figure in by_seed[0]}


def read_probabilities(name: str, part: str) -> Floats:
    """Read the probabilities of a recipe, shape ``(SEEDS, n, 5)``."""
    rows = np.loadtxt(EVIDENCE / f"{part}-{name}.csv", delimiter=",", skiprows=1, ndmin=2)
    or_worse = rows.reshape(len(rows), SEEDS, GRADES - 1).transpose(1, 0, 2)
    padded = np.pad(or_worse, [(0, 0), (0, 0), (1, 0)], constant_values=1.0)
    probabilities = np.maximum(padded - np.pad(or_worse, [(0, 0), (0, 0), (0, 1)]), SMALLEST)
    return np.asarray(probabilities / probabilities.sum(axis=2, keepdims=True))


def _compute_figures_of_seed(probabilities: Floats, photographs: Photographs) -> dict[str, Floats]:
    labels, weights = photographs.labels, photographs.weights
    flagged = None
    if photographs.folds:
        probabilities, flags = calibrate_and_flag_cross_fitted(
            labels, probabilities, photographs.folds
        )
        flagged = flags["high_sensitivity", 2]
    grades = grades_from_probabilities(probabilities, MEDIAN_GRADE)
    is_ill = labels >= 2
    cells = one_hot_encode_confusion_cells(labels, grades)
    found = {
        "kappa": compute_kappa_from_cell_sums(weights @ cells),
        "auroc_2": _auroc(is_ill, probabilities[:, 2:].sum(axis=1), weights),
    }
    if flagged is None:
        return found
    distances = ((probabilities - np.eye(GRADES)[labels]) ** 2).sum(axis=1)
    losses = -np.log(np.maximum(probabilities[np.arange(len(labels)), labels], SMALLEST))
    return found | {
        "sensitivity_2": (weights @ (is_ill & flagged)) / (weights @ is_ill),
        "specificity_2": (weights @ (~is_ill & ~flagged)) / (weights @ ~is_ill),
        "brier": weights @ distances / weights.sum(axis=1),
        "log_loss": weights @ losses / weights.sum(axis=1),
    }


def _auroc(is_ill: NDArray[np.bool_], scores: Floats, weights: Floats) -> Floats:
    """Compute the area under the curve for each row of weights."""
    ill, well = weights[:, is_ill], weights[:, ~is_ill]
    above = scores[is_ill][:, None] - scores[~is_ill][None]
    wins = (above > 0) + 0.5 * (above == 0)
    area: Floats = ((ill @ wins) * well).sum(axis=1) / (ill.sum(axis=1) * well.sum(axis=1))
    return area


def _describe(values: Floats, baseline: Floats, comparisons: int) -> dict[str, Any]:
    """Return a figure and its difference from the packaged recipe, each with its intervals."""
    less = values - baseline
    described: dict[str, Any] = {"by_seed": [round(one, 6) for one in values[:, 0].tolist()]}
    described |= _estimate(values, 0.05)
    if less.any():
        described["less_packaged"] = _estimate(less, 0.05)
        strict = _estimate(less, 0.05 / comparisons)
        described["less_packaged"] |= {f"all_recipes_{end}": strict[end] for end in ("low", "high")}
    return described


def _estimate(values: Floats, error: float) -> dict[str, float]:
    """Return the mean over the seeds, and its interval over sessions and seeds."""
    drawn = np.random.default_rng(1).integers(SEEDS, size=(SEEDS, RESAMPLES))
    means = np.take_along_axis(values[:, 1:], drawn, axis=0).mean(axis=0)
    low, high = np.quantile(means, [error / 2, 1 - error / 2])
    return {
        "value": round(float(values[:, 0].mean()), 6),
        "low": round(float(low), 6),
        "high": round(float(high), 6),
    }


def write_table(document: dict[str, Any], part: str) -> str:
    """Write a table in Markdown: the packaged recipe's figures, and the others' differences."""
    figures = OUT_OF_FOLD if part == "out_of_fold" else TEST
    lines = [f"| | {' | '.join(figures.values())} |", "|---" * (len(figures) + 1) + "|"]
    for name, found in document[part]["recipes"].items():
        cells = [
            _as_text(found[one], "") if name == BASELINE else _as_text(_difference(found[one]), "+")
            for one in figures
        ]
        lines.append(f"| {TITLES[name]} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _difference(figure: dict[str, Any]) -> dict[str, float]:
    none = {"value": 0.0, "low": 0.0, "high": 0.0}
    found: dict[str, float] = figure.get("less_packaged", none)
    return found


def _as_text(figure: dict[str, Any], sign: str) -> str:
    value, low, high = (f"{figure[one]:{sign}.3f}" for one in ("value", "low", "high"))
    return f"{value} ({low} to {high})"


if __name__ == "__main__":
    main()
