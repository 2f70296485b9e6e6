"""An independent script computes every figure of an evaluation again, with scikit-learn and SciPy.

Nothing here uses the package's own statistics: the script reads the table of predictions, and the
figures in the JSON document and on the page must be the script's.
"""

import csv
import json
import re

import numpy as np
import pytest
from scipy.optimize import brentq
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import (
    accuracy_score,
    brier_score_loss,
    cohen_kappa_score,
    recall_score,
    roc_auc_score,
)
from tiny_models import described, tiny_onnx
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.grader.artifacts import Clinical, OperatingPoint, Rate, TestedRates, pack_archive
from drdeploy.grader.evaluation.unlike_training import measure_unlike_training_flag

Z = 1.959963984540054
DISEASES = {"referable": 2, "vision_threatening": 3}
POINTS = {("high_sensitivity", 2): 0.15, ("balanced", 2): 0.45, ("high_sensitivity", 3): 0.1}
STATED = 0.1
CHOSEN_ON = {2: (200, 300), 3: (80, 420)}  # diseased and healthy photographs


# ---- the evaluation under test ------------------------------------------------------------


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    """Predictions for 150 patients with one to three photographs each, of two cameras."""
    path = tmp_path_factory.mktemp("predictions") / "predictions.csv"
    random = np.random.default_rng(4)
    rows = []
    for patient in range(150):
        severity = random.choice(5, p=[0.4, 0.1, 0.25, 0.15, 0.1])
        skill = random.normal(0, 0.7)  # one patient's photographs are misgraded together
        for photograph in range(random.integers(1, 4)):
            label = int(np.clip(severity + random.choice([-1, 0, 0, 1]), 0, 4))
            centre = label + skill + random.normal(0, 0.9)
            shares = np.exp(-((np.arange(5) - centre) ** 2))
            shares /= shares.sum()
            second = str(int(np.clip(label + random.choice([-1, 0, 0, 0, 1]), 0, 4)))
            rows.append(
                {
                    "file": f"{patient}-{photograph}.jpg",
                    "group": f"p{patient}",
                    "icdr_grade": label,
                    "gradable": "false" if random.random() < 0.06 else "true",
                    "reason": "",
                    **{f"p{grade}": f"{share:.9g}" for grade, share in enumerate(shares)},
                    "Camera": ["Kowa", "Topcon"][patient % 2],
                    "reader 2": second if random.random() < 0.8 else "",
                }
            )
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    return path


@pytest.fixture(scope="module")
def evaluated(table, tmp_path_factory):
    """The JSON document and the text of the page."""
    folder = tmp_path_factory.mktemp("evaluated")
    points = tuple(
        OperatingPoint(
            name=name,
            at_or_above=grade,
            threshold=threshold,
            sensitivity=Rate(0.9, 0.8, 0.95, CHOSEN_ON[grade][0]),
            specificity=Rate(0.7, 0.6, 0.8, CHOSEN_ON[grade][1]),
            target_sensitivity=0.95 if name == "high_sensitivity" else None,
            tested=TestedRates(
                on="70 others",
                sensitivity=Rate(0.83, 0.7, 0.9, 30),
                specificity=Rate(0.4, 0.3, 0.5, 40),
            ),
        )
        for (name, grade), threshold in POINTS.items()
    )
    clinical = Clinical(
        chosen_on="others", grade_thresholds=(0.5, 0.5, 0.5, 0.5), operating_points=points
    )
    archive = folder / "locked.tar.gz"
    pack_archive(
        tiny_onnx(folder), archive, described("tiny", weights="trained", clinical=clinical)
    )
    words = ["model", "evaluate", archive, "--oof", table, "--by", "patient", "--by", "camera"]
    words += ["--second-label", "reader_2", "--prevalence", STATED, "--out", folder / "out"]
    CliRunner().invoke(build_app(), [*map(str, words)], catch_exceptions=False)
    document = json.loads((folder / "out" / "evaluation.json").read_text())
    page = re.sub(r"<[^>]+>", " ", (folder / "out" / "evaluation.html").read_text())
    return document, re.sub(r"\s+", " ", page.replace("\u00a0", " ").replace("&nbsp;", " "))


# ---- the independent script ---------------------------------------------------------------


class Photographs:
    """The rows of the table, as the script reads them."""

    def __init__(self, rows):
        self.rows = rows
        self.labels = np.array([int(row["icdr_grade"]) for row in rows])
        self.shares = np.array([[float(row[f"p{grade}"]) for grade in range(5)] for row in rows])
        self.groups = np.array([int(row["group"].removeprefix("p")) for row in rows])
        self.scores = {grade: self.shares[:, grade:].sum(axis=1) for grade in range(1, 5)}
        reached = [self.scores[grade] >= 0.5 for grade in (1, 2, 3, 4)]
        self.grades = np.max([hit * grade for grade, hit in enumerate(reached, 1)], axis=0)


def wilson(successes, groups):
    """Wilson's limits by solving his equation, with the number of photographs over the effect."""
    successes = np.asarray(successes, dtype=float)
    share, n = successes.mean(), successes.size
    by_group = [(successes[groups == name] - share).sum() for name in set(groups)]
    independent = ((successes - share) ** 2).sum()
    effect = max(1.0, sum(x * x for x in by_group) / independent) if independent else 1.0

    def limit(side):
        def distance(p):
            return abs(share - p) - Z * np.sqrt(p * (1 - p) / (n / effect))

        inside, outside = share, side
        if inside == outside:
            return side
        return brentq(distance, (inside + 1e-12 * (1 if side else -1)), outside)

    return share, limit(0.0), limit(1.0)


def area(ill, scores, groups):
    """DeLong's area and Obuchowski's variance, pair by pair, with the limits on the logit scale."""
    value = roc_auc_score(ill, scores)
    wins = (scores[ill][:, None] > scores[~ill]) + 0.5 * (scores[ill][:, None] == scores[~ill])
    of_ill, of_well = wins.mean(axis=1) - value, wins.mean(axis=0) - value
    first, second, both = 0.0, 0.0, 0.0
    for name in set(groups):
        here, there = of_ill[groups[ill] == name].sum(), of_well[groups[~ill] == name].sum()
        first, second, both = first + here**2, second + there**2, both + here * there
    many = [len(set(groups[ill])), len(set(groups[~ill])), len(set(groups))]
    scale = [one / (one - 1) for one in many]
    m, n = ill.sum(), (~ill).sum()
    variance = scale[0] * first / m**2 + scale[1] * second / n**2 + 2 * scale[2] * both / (m * n)
    logit, half = np.log(value / (1 - value)), Z * np.sqrt(variance) / (value * (1 - value))
    return value, *(1 / (1 + np.exp(-(logit + side * half))) for side in (-1, 1))


def spread_over_groups(departures, groups):
    sums = [departures[groups == name].sum() for name in sorted(set(groups))]
    return np.sqrt(len(sums) / (len(sums) - 1) * sum(one * one for one in sums))


def calibration(ill, chances, groups, weights=None):
    """Observed over expected, and the coefficients of unpenalised logistic regressions."""
    weights = np.ones(ill.size) if weights is None else weights
    observed = (weights * ill).sum()
    ratio = observed / (weights * chances).sum()
    factor = np.exp(Z * spread_over_groups(weights * (ill - ratio * chances), groups) / observed)
    bounded = np.clip(chances, 1e-6, 1 - 1e-6)
    logits = np.log(bounded / (1 - bounded))

    def of(values):
        return 1 / (1 + np.exp(-values))

    intercept = brentq(lambda x: (weights * (ill - of(logits + x))).sum(), -20, 20)
    at_large = of(logits + intercept)
    error = spread_over_groups(weights * (ill - at_large), groups)
    error /= (weights * at_large * (1 - at_large)).sum()
    fit = LogisticRegression(C=np.inf, tol=1e-10, max_iter=10_000).fit(
        logits[:, None], ill, weights
    )
    slope, base = fit.coef_[0, 0], fit.intercept_[0]
    fitted = of(base + slope * logits)
    design = np.stack([np.ones(ill.size), logits])
    inverse = np.linalg.inv((design * (weights * fitted * (1 - fitted))) @ design.T)
    slope_error = spread_over_groups((inverse @ (design * (weights * (ill - fitted))))[1], groups)
    return {
        "expected": (weights * chances).sum() / weights.sum(),
        "observed_over_expected": (ratio, ratio / factor, ratio * factor),
        "intercept": (intercept, intercept - Z * error, intercept + Z * error),
        "slope": (slope, slope - Z * slope_error, slope + Z * slope_error),
    }


def predictive(sensitivity, specificity, share):
    ppv = [se * share / (se * share + (1 - sp) * (1 - share)) for se, sp in zip(sensitivity, specificity, strict=True)]  # fmt: skip # noqa: E501
    npv = [sp * (1 - share) / (sp * (1 - share) + (1 - se) * share) for se, sp in zip(sensitivity, specificity, strict=True)]  # fmt: skip # noqa: E501
    return {"ppv": tuple(ppv), "npv": tuple(npv)}


def rates(ill, flagged, groups):
    return {
        "sensitivity": wilson(flagged[ill], groups[ill]),
        "specificity": wilson(~flagged[~ill], groups[~ill]),
    }


def decision(ill, flagged, groups, share):
    found = rates(ill, flagged, groups)
    return found | predictive(found["sensitivity"], found["specificity"], share)


def referring(ill, flagged, refused, groups):
    """Rates over all photographs, if each one without a grade counts as referred."""
    return rates(ill, flagged | refused, groups)


def referring_at_points(everyone, refused, grade):
    return {
        name: referring(
            everyone.labels >= grade, everyone.scores[grade] >= threshold, refused, everyone.groups
        )
        for (name, at), threshold in POINTS.items()
        if at == grade
    }


def detection(labels, grades, scores, groups, grade, share, referring=None):
    ill = labels >= grade
    return {
        "at_or_above": grade,
        "positives": ill.sum(),
        "prevalence": share,
        "auroc": area(ill, scores, groups),
        **decision(ill, grades >= grade, groups, share),
        "operating_points": {
            name: {
                "threshold": threshold,
                **decision(ill, scores >= threshold, groups, share),
                "ungradable_referred": (referring or {}).get(name),
            }
            for (name, at), threshold in POINTS.items()
            if at == grade
        },
    }


def resampled(statistic, groups):
    """A percentile bootstrap that draws groups by name; its limits are near, not the same."""
    random, names = np.random.default_rng(9), sorted(set(groups))
    members = [np.flatnonzero(groups == name) for name in names]
    drawn = [
        statistic(
            np.concatenate([members[at] for at in random.integers(0, len(names), len(names))])
        )
        for _ in range(150)
    ]
    return np.quantile(drawn, [0.025, 0.975])


def kappa(first, second, groups):
    def of(chosen):
        return cohen_kappa_score(first[chosen], second[chosen], weights="quadratic")

    return of(np.arange(first.size)), *resampled(of, groups)


def calibration_error(labels, shares):
    confidence, right = shares.max(axis=1), shares.argmax(axis=1) == labels
    bins = np.minimum((confidence * 10).astype(int), 9)
    return sum(
        abs((confidence - right)[bins == at].sum()) for at in range(10)
    ) / labels.size  # fmt: skip


def shares_of_three(photographs):
    two, three = photographs.scores[2], photographs.scores[3]
    return np.stack([1 - two, two - three, three], axis=1)


def compute_everything(table):
    """Compute every figure of the document from the table alone."""
    with table.open(newline="") as file:
        rows = list(csv.DictReader(file))
    all_of, of = Photographs(rows), Photographs([row for row in rows if row["gradable"] == "true"])
    refused = np.array([row["gradable"] != "true" for row in rows])
    severe_share = STATED * (of.labels >= 3).sum() / (of.labels >= 2).sum()
    share = {2: STATED, 3: severe_share}

    found = {
        "n": len(of.rows),
        "groups": {"n": len(set(of.groups))},
        "kappa": kappa(of.labels, of.grades, of.groups),
        "accuracy": (
            accuracy_score(of.labels, of.grades),
            *resampled(lambda at: accuracy_score(of.labels[at], of.grades[at]), of.groups),
        ),
        "brier": (
            sum(brier_score_loss(of.labels == grade, of.shares[:, grade]) for grade in range(5)),
            *resampled(
                lambda at: ((of.shares[at] - np.eye(5)[of.labels[at]]) ** 2).sum(axis=1).mean(),
                of.groups,
            ),
        ),
        "ece": (calibration_error(of.labels, of.shares), None, None),
        "ungradable": wilson(refused, all_of.groups),
        "n_per_grade": {str(grade): (of.labels == grade).sum() for grade in range(5)},
        "grade_sensitivity": {
            str(grade): wilson(of.grades[is_it] == grade, of.groups[is_it])
            for grade in range(5)
            for is_it in [of.labels == grade]
        },
        "confusion": [
            [((of.labels == label) & (of.grades == answer)).sum() for answer in range(5)]
            for label in range(5)
        ],
        "flow": {
            "listed": len(rows), "given": len(rows), "graded": len(of.rows),
            "groups_given": len(set(all_of.groups)), "groups_graded": len(set(of.groups)),
            "ungradable": {"not gradable": refused.sum()},
        },
    }  # fmt: skip
    for name, grade in DISEASES.items():
        ill = of.labels >= grade
        found[name] = detection(
            of.labels,
            of.grades,
            of.scores[grade],
            of.groups,
            grade,
            share[grade],
            referring_at_points(all_of, refused, grade),
        )
        found[name]["calibration"] = calibration(ill, of.scores[grade], of.groups)
        found[name]["ungradable_referred"] = rates(
            all_of.labels >= grade, (all_of.grades >= grade) | refused, all_of.groups
        )
    return found | {
        "calibration_after_adjustment": adjusted(of),
        "decision_curves": {name: net_benefits(of, grade) for name, grade in DISEASES.items()},
        "risk_coverage": risks(of),
        "patients": by_patient(all_of, refused),
        "subgroups": {"camera": [subgroup(all_of, name) for name in ("Kowa", "Topcon")]},
        "second_reader": second_reader(of, rows),
    }


def adjusted(of):
    (ill, well), (severe, _) = CHOSEN_ON[2], CHOSEN_ON[3]
    before = np.array([well, ill - severe, severe]) / (ill + well)
    given, after = shares_of_three(of), before
    for _ in range(3_000):
        joint = given * after / before
        after = (joint / joint.sum(axis=1, keepdims=True)).mean(axis=0)
    stated = np.array([1 - STATED, STATED * (ill - severe) / ill, STATED * severe / ill])
    found = []
    kind = (of.labels >= 2) + 1 * (of.labels >= 3)
    weights = np.array([stated[at] / (kind == at).mean() for at in kind])
    for how, target, counts in (("estimated", after, None), ("stated", stated, weights)):
        joint = given * target / before
        joint /= joint.sum(axis=1, keepdims=True)
        scores = {2: joint[:, 1:].sum(axis=1), 3: joint[:, 2]}
        found.append(
            {
                "prevalence": how,
                "shares": {"2": target[1:].sum(), "3": target[2]},
                **{
                    name: calibration(of.labels >= grade, scores[grade], of.groups, counts)
                    for name, grade in DISEASES.items()
                },
            }
        )
    return found


def mean_with_limits(values, groups):
    half = Z * spread_over_groups(values - values.mean(), groups) / values.size
    return values.mean(), values.mean() - half, values.mean() + half


def net_benefits(of, grade):
    ill = of.labels >= grade
    found = []
    for threshold in (0.05, 0.1, 0.2, 0.3, 0.5):
        worth = np.where(ill, 1.0, -threshold / (1 - threshold))
        flagged = of.scores[grade] >= threshold
        found.append(
            {
                "threshold": threshold,
                "net_benefit": mean_with_limits(worth * flagged, of.groups),
                "refer_all": mean_with_limits(worth, of.groups),
            }
        )
    return found


def judged(of, referred, kept):
    """The share of wrong decisions, by scikit-learn's accuracy, and the decisions' rates."""
    ill, flagged, groups = (of.labels >= 2)[kept], referred[kept], of.groups[kept]
    wrong = wilson(flagged != ill, groups)
    assert wrong[0] == pytest.approx(1 - accuracy_score(ill, flagged))
    found = rates(ill, flagged, groups)
    assert found["sensitivity"][0] == pytest.approx(recall_score(ill, flagged))
    assert found["specificity"][0] == pytest.approx(recall_score(~ill, ~flagged))
    return {"risk": wrong, **found}


def kept_at(of, referred, share):
    confidence = np.where(referred, of.scores[2], 1 - of.scores[2])
    least = sorted(confidence, reverse=True)[int(np.ceil(share * confidence.size)) - 1]
    kept = confidence >= least
    return {"coverage": kept.mean(), **judged(of, referred, kept)}


def risks(of):
    by_grade, by_point = of.grades >= 2, of.scores[2] >= POINTS["high_sensitivity", 2]
    return [
        {
            "at_least": share,
            **kept_at(of, by_grade, share),
            "high_sensitivity": kept_at(of, by_point, share),
        }
        for share in (1.0, 0.95, 0.9, 0.8, 0.7, 0.5)
    ]


def by_patient(all_of, refused):
    names = sorted(set(all_of.groups))
    of_patient = [all_of.groups == name for name in names]
    labels = np.array([all_of.labels[mine].max() for mine in of_patient])
    has_grade = np.array([(mine & ~refused).any() for mine in of_patient])
    partly = np.array([(mine & refused).any() for mine in of_patient])

    def worst(values):
        return np.array([values[mine & ~refused].max(initial=0) for mine in of_patient])

    grades, scores = worst(all_of.grades), {at: worst(all_of.scores[at]) for at in (2, 3)}
    itself = np.arange(len(names))
    truth = labels[has_grade]
    share = {2: STATED, 3: STATED * (truth >= 3).sum() / (truth >= 2).sum()}
    found = {
        "given": len(names), "n": has_grade.sum(), "partly_graded": (has_grade & partly).sum(),
        "n_per_grade": {str(grade): (truth == grade).sum() for grade in range(5)},
        "kappa": kappa(truth, grades[has_grade], itself[has_grade]),
    }  # fmt: skip
    for name, grade in DISEASES.items():
        found[name] = detection(
            truth,
            grades[has_grade],
            scores[grade][has_grade],
            itself[has_grade],
            grade,
            share[grade],
            {
                point: referring(labels >= grade, scores[grade] >= threshold, partly, itself)
                for (point, at), threshold in POINTS.items()
                if at == grade
            },
        )
        found[name]["ungradable_referred"] = referring(
            labels >= grade, grades >= grade, partly, itself
        )
    return found


def subgroup(all_of, camera):
    rows = [row for row in all_of.rows if row["Camera"] == camera]
    whole = Photographs(rows)
    refused = np.array([row["gradable"] != "true" for row in rows])
    of = Photographs([row for row in rows if row["gradable"] == "true"])
    found = {
        "given": len(rows), "n": len(of.rows), "groups": len(set(of.groups)),
        "kappa": kappa(of.labels, of.grades, of.groups),
        "ungradable": wilson(refused, whole.groups),
    }  # fmt: skip
    for name, grade in DISEASES.items():
        ill = of.labels >= grade
        found[name] = detection(
            of.labels,
            of.grades,
            of.scores[grade],
            of.groups,
            grade,
            ill.mean(),
            referring_at_points(whole, refused, grade),
        )
        found[name]["calibration"] = calibration(ill, of.scores[grade], of.groups)
        found[name]["ungradable_referred"] = rates(
            whole.labels >= grade, (whole.grades >= grade) | refused, whole.groups
        )
    return found


def second_reader(of, rows):
    known = np.array([row["reader 2"] != "" for row in of.rows])
    second = np.array([int(row["reader 2"]) for row in of.rows if row["reader 2"]])
    labels, grades, groups = of.labels[known], of.grades[known], of.groups[known]
    return {
        "n": known.sum(),
        "without_grade": sum(row["reader 2"] == "" for row in rows),
        "kappa": kappa(labels, second, groups),
        "grader_kappa": kappa(labels, grades, groups),
        "grader_kappa_with_second": kappa(second, grades, groups),
        "decisions": {
            name: rates(labels >= grade, second >= grade, groups)
            for name, grade in DISEASES.items()
        },
        "grader_decisions": {
            name: rates(labels >= grade, grades >= grade, groups)
            for name, grade in DISEASES.items()
        },
        "grader_high_sensitivity": {
            name: rates(
                labels >= grade,
                of.scores[grade][known] >= POINTS["high_sensitivity", grade],
                groups,
            )
            for name, grade in DISEASES.items()
        },
    }


# ---- the comparison -----------------------------------------------------------------------

NOT_FIGURES = {"notes", "grader", "data", "checklist", "severe_graded_0", "files", "notice"}


def list_figures(document, path=()):
    """Yield the path of every number in a document, and the number or the whole estimate."""
    if isinstance(document, dict) and {"value", "low", "high"} <= set(document):
        yield path, document
    elif isinstance(document, dict):
        for name, value in document.items():
            if name not in NOT_FIGURES:
                yield from list_figures(value, (*path, name))
    elif isinstance(document, list):
        for place, value in enumerate(document):
            yield from list_figures(value, (*path, place))
    elif isinstance(document, int | float) and not isinstance(document, bool):
        yield path, document


def look_up(computed, path):
    for step in path:
        computed = computed[step]
    return computed


def test_an_independent_script_computes_every_figure_of_the_document(evaluated, table):
    document, _ = evaluated
    computed = compute_everything(table)
    figures = list(list_figures(document))
    assert len(figures) > 200
    for path, figure in figures:
        expected = look_up(computed, path)  # a KeyError: the script lacks a figure
        if not isinstance(figure, dict):
            assert figure == pytest.approx(expected, abs=2e-6), path
            continue
        value, low, high = expected
        assert figure["value"] == pytest.approx(value, abs=2e-5), path
        if low is None:
            continue
        tolerance = 0.03 if figure["method"].startswith("bootstrap") else 2e-4
        assert (figure["low"], figure["high"]) == pytest.approx((low, high), abs=tolerance), path


def is_shown_of_subgroup(path):
    """Whether the page shows a figure of a subgroup: both decisions at grade 2, kappa and AUROC."""
    decisions = {("referable",), ("referable", "operating_points", "high_sensitivity")}
    rates = {"sensitivity", "specificity"}
    return path[-1] in {"kappa", "auroc"} or (path[-1] in rates and path[3:-1] in decisions)


def test_the_page_names_what_a_point_promises_and_what_it_kept_in_an_earlier_test(evaluated):
    _, page = evaluated
    assert "Promised sensitivity: 95.0 %" in page
    assert "On 70 others, the sensitivity was 0.83 (0.70 to 0.90) and the specificity 0.40" in page


def test_an_independent_script_computes_the_figures_of_the_flag(table):
    with table.open(newline="") as file:
        of = Photographs([row for row in csv.DictReader(file) if row["gradable"] == "true"])
    flagged = np.arange(of.labels.size) % 3 == 0
    by_point = of.scores[2] >= POINTS["high_sensitivity", 2]
    found = measure_unlike_training_flag(
        of.labels, of.grades, flagged, of.groups, is_referred=by_point
    )
    assert found.flagged.value == pytest.approx(flagged.mean())
    for side, name in ((flagged, "flagged"), (~flagged, "unflagged")):
        for how, referred in (("grade", of.grades >= 2), ("high_sensitivity", by_point)):
            quality = getattr(found, f"{how}_{name}")
            for figure, expected in judged(of, referred, side).items():
                estimate = getattr(quality, figure)
                limits = (estimate.value, estimate.low, estimate.high)
                assert limits == pytest.approx(expected, abs=2e-4), (how, name, figure)
    without = measure_unlike_training_flag(of.labels, of.grades, flagged, of.groups)
    assert without.high_sensitivity_flagged is None


def test_the_page_shows_the_figures_of_the_document(evaluated):
    document, page = evaluated
    assert f"{document['n']} photographs of {document['groups']['n']} patients or sessions" in page
    shown = ("sensitivity", "specificity", "auroc", "kappa", "slope", "intercept", "risk", "ppv")
    for path, figure in list_figures(document):
        if path[-1] not in shown or (path[0] == "subgroups" and not is_shown_of_subgroup(path)):
            continue
        value = figure["value"]
        formats = (f"{value:.3f}", f"{100 * value:.1f} %")
        assert any(text in page for text in formats), path
    assert "drusen" in page.lower()
    for item in document["checklist"]:
        assert item["topic"] in page
