"""An independent script computes every figure in the tables of the model card again.

Nothing here uses the package's own code. The script reads the tables of predictions in
``evidence``, and the thresholds of the test columns from the manifests. It chooses the
cross-fitted thresholds by itself, with NumPy, SciPy and scikit-learn.
"""

import csv
import json
import re
import tarfile
from pathlib import Path

import numpy as np
import pytest
from independent_statistics import (
    Z_ONE_SIDED,
    area,
    calibration_error,
    error_of_area,
    grades_of,
    kappa_of,
    observed_over_expected,
    paired_change,
    placements,
    resampled,
    slope,
    wilson,
    with_limits,
)
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    log_loss,
    recall_score,
    roc_auc_score,
    roc_curve,
)

ROOT = Path(__file__).resolve().parents[2]
EVIDENCE = ROOT / "evidence" / "mobilenet-idrid"
BOX = ROOT / "src" / "drdeploy" / "grader" / "box"
PRECISIONS = ("fp32", "int8")
POINTS = [("high_sensitivity", 2), ("balanced", 2), ("high_sensitivity", 3), ("balanced", 3)]
MARGIN = 0.02
BOOTSTRAP_TOLERANCE = 0.03
"""Two bootstraps of 400 resamples with different seeds differ by less."""


class Predictions:
    """A table of predictions; ``fold`` is empty for the test photographs."""

    def __init__(self, part, precision):
        with (EVIDENCE / f"{part}-{precision}.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        self.files = [row["file"] for row in rows]
        self.labels = np.array([int(row["icdr_grade"]) for row in rows])
        self.groups = np.array([row["group"] for row in rows])
        self.folds = np.array([row.get("fold", "") for row in rows])
        self.is_refused = np.array([row["gradable"] != "true" for row in rows])
        self.shares = np.array([[float(row[f"p{grade}"]) for grade in range(5)] for row in rows])


@pytest.fixture(scope="module")
def predictions():
    return {
        (part, precision): Predictions(part, precision)
        for part in ("oof", "test")
        for precision in PRECISIONS
    }


@pytest.fixture(scope="module")
def manifests():
    found = {}
    for precision in PRECISIONS:
        with tarfile.open(BOX / f"mobilenet-idrid-{precision}.tar.gz") as archive:
            found[precision] = json.load(archive.extractfile("manifest.json"))
    return found


@pytest.fixture(scope="module")
def card():
    return (BOX / "MODEL_CARD.md").read_text()


@pytest.fixture(scope="module")
def rows(card):
    """The cells of each row of the card's tables before the verdict, by the row's first cell.

    ``specificity with it`` and ``specificity at it`` get the name of the row before.
    """
    found, before = {}, ""
    for line in card[: card.index("## int8 against fp32")].splitlines():
        if not line.startswith("| ") or line.startswith("| | "):  # no row, or a table's head
            continue
        name, *cells = (cell.strip() for cell in line.strip("|").split("|"))
        name = re.sub(r"^(specificity) (with|at) it$", rf"\1 after {before}", name)
        assert name not in found
        found[name], before = cells, name
    return found


# ---- cross-fitted choices -----------------------------------------------------------------


def temper(shares, temperature):
    return softmax(np.log(np.maximum(shares, 1e-12)) / temperature, axis=1)


def choose_temperature(labels, shares):
    def loss(temperature):
        return log_loss(labels, temper(shares, temperature), labels=range(5))

    return round(minimize_scalar(loss, bounds=(0.2, 5.0), method="bounded").x, 3)


def choose_threshold(name, ill, scores):
    if name == "high_sensitivity":
        reaching = [one for one in scores[ill] if recall_score(ill, scores >= one) >= 0.95]
        best = max(reaching)
    else:
        false, true, thresholds = roc_curve(ill, scores, drop_intermediate=False)
        gain = true - false
        place = np.flatnonzero(np.isclose(gain, gain.max(), atol=1e-12))[-1]
        lower = scores[scores < thresholds[place]].max(initial=0.0)
        best = (thresholds[place] + lower) / 2
    return np.floor(best * 1e4) / 1e4


@pytest.fixture(scope="module")
def cross_fitted(predictions):
    """For each precision, the calibrated probabilities and the flags of each operating point."""
    found = {}
    for precision in PRECISIONS:
        of = predictions["oof", precision]
        shares, flags = np.empty_like(of.shares), {point: np.zeros(405, bool) for point in POINTS}
        for fold in np.unique(of.folds):
            here, others = of.folds == fold, of.folds != fold
            scaled = temper(of.shares, choose_temperature(of.labels[others], of.shares[others]))
            shares[here] = scaled[here]
            for name, grade in POINTS:
                scores = scaled[:, grade:].sum(axis=1)
                threshold = choose_threshold(name, of.labels[others] >= grade, scores[others])
                flags[name, grade][here] = scores[here] >= threshold
        found[precision] = shares, flags
    return found


def locked_flags(of, manifest):
    return {
        (point["name"], point["at_or_above"]): of.shares[:, point["at_or_above"] :].sum(axis=1)
        >= point["threshold"]
        for point in manifest["clinical"]["operating_points"]
    }


# ---- the table of qualities ---------------------------------------------------------------


def column(of, shares, flags):
    """The figures of a column.

    ``shares`` are the cross-fitted probabilities, from which kappa and the calibration error are
    computed; in a column of the test, they are the probabilities themselves.
    """
    labels, groups, grades = of.labels, of.groups, grades_of(of.shares)
    found = {
        "quadratic weighted kappa": with_limits(kappa_of(labels, grades_of(shares)), groups),
        "accuracy": with_limits(lambda at: accuracy_score(labels[at], grades[at]), groups),
        "expected calibration error": calibration_error(labels, shares, groups),
        "ungradable": wilson(of.is_refused, groups),
    }
    for grade in (2, 3):
        ill, scores = labels >= grade, of.shares[:, grade:].sum(axis=1)
        found[f"AUROC, grade >= {grade}"] = area(ill, scores, groups)
        decisions = {
            "sensitivity of the answered grade": grades >= grade,
            "sensitivity at the high-sensitivity point": flags["high_sensitivity", grade],
            "sensitivity at the balanced point": flags["balanced", grade],
        }
        for name, flagged in decisions.items():
            title = f"{name}, grade >= {grade}"
            found[title] = wilson(flagged[ill], groups[ill])
            found[f"specificity after {title}"] = wilson(~flagged[~ill], groups[~ill])
        found[f"observed / expected, grade >= {grade}"] = observed_over_expected(
            ill, scores, groups
        )
        found[f"calibration slope, grade >= {grade}"] = slope(ill, scores, groups)
    return found


def test_every_cell_of_the_table_of_qualities_is_computed_again(
    rows, predictions, manifests, cross_fitted
):
    columns = []
    for precision in PRECISIONS:
        of = predictions["test", precision]
        columns.append(column(of, of.shares, locked_flags(of, manifests[precision])))
    columns.append(column(predictions["oof", "fp32"], *cross_fitted["fp32"]))
    shown = [
        name
        for name, cells in rows.items()
        if len(cells) == 3 and not name.startswith(PRECISIONS)  # those follow in the next test
    ]
    assert sorted(shown) == sorted(columns[0])
    for place, computed in enumerate(columns):
        for name, estimate in computed.items():
            said = tuple(map(float, re.findall(r"[\d.]+", rows[name][place])))
            is_bootstrapped = name in {
                "quadratic weighted kappa", "accuracy", "expected calibration error",
            }  # fmt: skip
            assert said[0] == pytest.approx(estimate[0], abs=5.1e-4), (name, place)
            limits = pytest.approx(
                estimate[1:], abs=BOOTSTRAP_TOLERANCE if is_bootstrapped else 6e-4
            )
            assert said[1:] == limits, (name, place)


def test_the_table_of_promises_repeats_the_figures_of_the_table_of_qualities(rows):
    for place, precision in enumerate(PRECISIONS):
        for grade in (2, 3):
            title = f"sensitivity at the high-sensitivity point, grade >= {grade}"
            kept = rows[title][place], rows[f"specificity after {title}"][place]
            assert rows[f"{precision}, grade >= {grade}"] == ["0.95", *kept]


def test_the_counts_of_the_card_are_those_of_the_tables(card, rows, predictions):
    text = " ".join(card.split())
    trained, tested = predictions["oof", "fp32"], predictions["test", "fp32"]
    per_grade = np.bincount(trained.labels)
    shown = ", ".join(f"{n} of grade {grade}" for grade, n in enumerate(per_grade))
    assert f"{len(trained.files)} photographs ({shown})" in text
    assert f"These are the {len(tested.files)} photographs of IDRiD's test split" in text
    assert f"They come from {len(set(tested.groups))} sessions" in text
    assert f"of {len(set(trained.groups))} sessions, are split into 5 folds" in text
    assert f"test, fp32 (n = {len(tested.files)})" in card
    missed = [
        [file for file, label, grade in zip(of.files, of.labels, grades_of(of.shares), strict=True)
         if label >= 3 and grade == 0]
        for of in (tested, trained)
    ]  # fmt: skip
    assert (
        f"but graded 0: {len(missed[0])} in the test ({', '.join(missed[0])}), "
        f"{len(missed[1])} out of fold" in text
    )
    for precision in PRECISIONS:
        archive = BOX / f"mobilenet-idrid-{precision}.tar.gz"
        with tarfile.open(archive) as tar:
            model = tar.getmember("model.onnx").size
        sizes = f"model {model / 1e6:.2f} MB, archive {archive.stat().st_size / 1e6:.2f} MB"
        assert sizes in rows[precision][0]


# ---- the verdict --------------------------------------------------------------------------


def area_change(ill, first, second, groups):
    value = roc_auc_score(ill, second) - roc_auc_score(ill, first)
    departures = placements(ill, second) - placements(ill, first)
    return value, value - Z_ONE_SIDED * error_of_area(ill, departures, groups)


def bootstrapped_change(statistic, groups):
    return statistic(np.arange(len(groups))), resampled(statistic, groups, 0.05)


@pytest.fixture(scope="module")
def changes(predictions, manifests, cross_fitted):
    """Every measure of the verdict: its change from fp32 to int8, and its lower bound."""
    both = {
        precision: [predictions[part, precision] for part in ("oof", "test")]
        for precision in PRECISIONS
    }
    labels, groups = (
        np.concatenate([getattr(one, name) for one in both["fp32"]])
        for name in ("labels", "groups")
    )
    shares = [np.concatenate([one.shares for one in both[name]]) for name in PRECISIONS]
    flags = [
        {point: np.concatenate([cross_fitted[name][1][point], locked[point]]) for point in POINTS}
        for name in PRECISIONS
        for locked in [locked_flags(both[name][1], manifests[name])]
    ]
    grades = [grades_of(one) for one in shares]
    found = {}

    def add_rates(at, ill, decided):
        right = [one == ill for one in decided]
        for rate, among in (("sensitivity", ill), ("specificity", ~ill)):
            found[f"{rate} {at}"] = paired_change(
                *(one[among] for one in right), groups[among], Z_ONE_SIDED
            )

    for grade in (2, 3):
        ill = labels >= grade
        add_rates(f"at grade >= {grade}", ill, [one >= grade for one in grades])
        for name in ("high_sensitivity", "balanced"):
            at = f"at the {name.replace('_', '-')} point, grade >= {grade}"
            add_rates(at, ill, [one[name, grade] for one in flags])
        first, second = (one[:, grade:].sum(axis=1) for one in shares)
        found[f"AUROC at grade >= {grade}"] = area_change(ill, first, second, groups)
        found[f"calibration at grade >= {grade}"] = bootstrapped_change(
            lambda at, first=first, second=second, ill=ill: (
                abs(first[at].mean() - ill[at].mean()) - abs(second[at].mean() - ill[at].mean())
            ),
            groups,
        )
    found["Brier score"] = bootstrapped_change(
        lambda at: np.subtract(
            *(
                sum(brier_score_loss(labels[at] == grade, one[at, grade]) for grade in range(5))
                for one in shares
            )
        ),
        groups,
    )
    found["quadratic weighted kappa"] = bootstrapped_change(
        lambda at: kappa_of(labels, grades[1])(at) - kappa_of(labels, grades[0])(at), groups
    )
    return found, labels, grades


def test_every_row_of_the_verdict_is_computed_again(card, changes):
    computed, labels, grades = changes
    section = card[card.index("## int8 against fp32") : card.index("## int8 on different")]
    said = re.findall(r"^\| (.+?) \| ([+-][\d.]+) \| ([+-][\d.]+) \|$", section, re.MULTILINE)
    assert {name for name, _, _ in said} == set(computed)
    assert len(said) == len(computed) == 18
    for name, change, bound in said:
        value, low = computed[name]
        is_bootstrapped = name.startswith(("calibration", "Brier", "quadratic"))
        assert float(change) == pytest.approx(value, abs=5.1e-5), name
        assert float(bound) == pytest.approx(low, abs=3e-3 if is_bootstrapped else 1e-4), name
    changed = grades[0] != grades[1]
    missed = (labels >= 3) & (grades[0] >= 3) & (grades[1] < 3)
    assert f"| grades changed | {changed.sum()} of {len(labels)} |" in section
    assert f"| new misses of grade >= 3 | {missed.sum()} |" in section


def test_the_verdict_follows_from_the_rows(card, changes, manifests):
    computed, _, _ = changes
    failed = [name for name, (value, _) in computed.items() if value < -MARGIN]
    passed = [name for name, (_, bound) in computed.items() if bound > -MARGIN]
    expected = "undecided"
    if failed:
        expected = "refused"
    elif len(passed) == len(computed):
        expected = "accepted"
    assert f"Verdict: **{expected}**" in card
    assert manifests["int8"]["quantization"]["verdict"] == expected
    for name in failed:
        assert name in manifests["int8"]["quantization"]["reason"]
