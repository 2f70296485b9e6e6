"""Compare the VGG19 that `make model-vgg19` trains with the packaged MobileNet.

    make model-vgg19
    python benchmarks/runtimes.py              # measures times; keep the machine quiet
    python scripts/evaluate_vgg19.py           # predictions, figures, and the table
    python scripts/evaluate_vgg19.py --table   # only prints the table of written results

Both networks were trained on the same photographs of IDRiD, with the same folds. For the
out-of-fold predictions, the temperature and the operating points of each fold were chosen on the
other folds. The test photographs are those of the model card. Each difference is VGG19 minus
MobileNet on the same photographs. The intervals treat the photographs of a capture session as one
group. If the training is unfinished, only the finished folds are evaluated. Test predictions that
do not exist yet are left out of the table. The times are those of docs/benchmarks/runtimes.csv,
where VGG19 has random weights. Each round measured both networks. For research use; not a medical
device.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec
import numpy as np
from make_model import read_folds, select_test_part

from drdeploy.grader.artifacts import Clinical, read_manifest_in_archive
from drdeploy.grader.box import NAME, box_artifact
from drdeploy.grader.datasets import load_dataset, split_into_grouped_folds
from drdeploy.grader.evaluation.comparison import compare_grades, compare_right_decisions
from drdeploy.grader.evaluation.document import estimate_as_dict
from drdeploy.grader.evaluation.evaluation import (
    estimate_sensitivity_and_specificity,
    evaluate_probabilities,
)
from drdeploy.grader.evaluation.predictions import GradedSet, predict_dataset
from drdeploy.grader.grading import Grade
from drdeploy.grader.grading.prediction import (
    grades_from_probabilities,
    probability_of_grade_or_worse,
)
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.training.calibration import (
    apply_temperature,
    calibrate_and_flag_cross_fitted,
    fit_temperature,
)
from drdeploy.grader.training.fit import MEDIAN_GRADE
from drdeploy.grader.training.recipe import read_recipe_or_preset
from drdeploy.grader.training.run_folder import RunFolder
from drdeploy.grader.training.train import TrainingPlan
from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.photograph_names import OWN_NAMES
from drdeploy.statistics.percentiles import estimate_median
from drdeploy.statistics.proportions import estimate_auroc_change
from drdeploy.study.recommendation.inference_cost import look_up_price_per_second
from drdeploy.units import MILLION

if TYPE_CHECKING:
    from numpy.typing import NDArray


RUN = Path("build/training/vgg19")
ROOT = Path(__file__).resolve().parent.parent
EVIDENCE = ROOT / "evidence"
TIMES = ROOT / "docs" / "benchmarks" / "runtimes.csv"
OUT = EVIDENCE / "vgg19-idrid"
NETWORKS = ("mobilenet", "vgg19")
HIGH_SENSITIVITY = "high_sensitivity"
MEMORY_MB = 2048
THREADS = "2"


@dataclass(frozen=True, eq=False)
class Answers:
    """The answers of a network for the photographs of one part of the data set.

    Attributes:
        labels: Shape ``(n,)``, 0 to 4.
        groups: Capture sessions, shape ``(n,)``.
        probabilities: The probability of each grade, calibrated on other photographs. Shape ``(n,
            5)``.
        flags: For the grades 2 and 3: whether each photograph is flagged by the high-sensitivity
            operating point that looks for this grade or worse.
    """

    labels: NDArray[np.intp]
    groups: NDArray[np.str_]
    probabilities: NDArray[np.float64]
    flags: dict[int, NDArray[np.bool_]]

    @property
    def grades(self) -> NDArray[np.intp]:
        """The network's grade of each photograph: the median grade by its probabilities."""
        return grades_from_probabilities(self.probabilities, MEDIAN_GRADE)


def main() -> None:
    """Write the predictions and the comparison to ``evidence``, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/idrid_512"))
    parser.add_argument("--run", type=Path, default=RUN)
    parser.add_argument("--table", action="store_true", help="print the table of the evidence")
    options = parser.parse_args()
    if not options.table:
        write_predictions(options.data, options.run)
    document = build_document()
    text = json.dumps(document, indent=2)
    (OUT / "metrics.json").write_text(f"{text}\n", encoding="utf-8")
    sys.stdout.write(write_table(document))


def write_predictions(data: Path, run: Path) -> None:
    """Write the out-of-fold and the test predictions of VGG19, and its thresholds."""
    dataset = load_dataset(data, names=OWN_NAMES)  # IDRiD's names are public
    plan = TrainingPlan.for_training_split("VGG19", dataset, read_recipe_or_preset())
    folds = np.full(len(plan.dataset), "", dtype="U1")
    probabilities = np.zeros((len(plan.dataset), len(Grade)))
    for number, fold in enumerate(split_into_grouped_folds(plan.dataset, plan.folds)):
        found = RunFolder(run).read_predictions_of_fold(number)
        if found is not None:
            folds[fold.validation], probabilities[fold.validation] = str(number), found
    finished = np.flatnonzero(folds != "")
    if not finished.size:  # the evidence stays as it is
        sys.exit(
            f"evaluate-vgg19: {run} has no finished fold. Run `make model-vgg19`, or give --table "
            "to print the table of the evidence."
        )
    temperature = fit_temperature(plan.dataset.grades[finished], probabilities[finished])
    graded = GradedSet.from_dataset(plan.dataset, apply_temperature(probabilities, temperature))
    OUT.mkdir(parents=True, exist_ok=True)
    chosen = replace(graded, columns={"fold": folds}).select_by_position(finished)
    chosen.write_csv(OUT / "oof-fp32.csv")
    archive = run / "exports" / "vgg19-fp32-onnx.tar.gz"
    if not archive.is_file():
        sys.stderr.write(f"evaluate-vgg19: only {len(set(chosen.columns['fold']))} folds so far\n")
        return
    tested = predict_dataset(InferenceService.load(archive), select_test_part(dataset, plan))
    tested.write_csv(OUT / "test-fp32.csv")
    manifest = read_manifest_in_archive(archive)
    clinical = msgspec.json.format(msgspec.json.encode(manifest.clinical), indent=2)
    (OUT / "clinical.json").write_bytes(clinical + b"\n")


def build_document() -> dict[str, Any]:
    """Compute every number from the predictions, thresholds and times in ``evidence``."""
    parts = {}
    if (OUT / "test-fp32.csv").is_file():
        parts["test"] = read_answers_of_test()
    parts["out_of_fold"] = read_answers_out_of_fold()
    document: dict[str, Any] = {"notice": "For research use. Not a medical device."}
    for part, answers in parts.items():
        first = answers["mobilenet"]
        document[part] = {
            "n": len(first.labels),
            "sessions": len(np.unique(first.groups)),
            **{name: describe_quality(answers[name]) for name in NETWORKS},
            "vgg19_less_mobilenet": describe_differences(first, answers["vgg19"]),
        }
    return document | describe_times_and_costs()


def read_answers_out_of_fold() -> dict[str, Answers]:
    """Read the out-of-fold predictions, calibrate them, and decide which photographs are flagged.

    The temperature and thresholds for each fold are chosen on the other folds.
    """
    mobilenet = GradedSet.read_csv(EVIDENCE / NAME / "oof-fp32.csv")
    vgg19 = GradedSet.read_csv(OUT / "oof-fp32.csv", columns={"fold": "the script"})
    same = [mobilenet.files.index(file) for file in vgg19.files]
    graded = {"mobilenet": mobilenet.select_by_position(same), "vgg19": vgg19}
    folds = read_folds(vgg19)
    found = {}
    for name, one in graded.items():
        calibrated, flags = calibrate_and_flag_cross_fitted(one.labels, one.probabilities, folds)
        chosen = {grade: flags[HIGH_SENSITIVITY, grade] for grade in (2, 3)}
        found[name] = Answers(one.labels, one.groups, calibrated, chosen)
    return _check_same_photographs(graded, found)


def read_answers_of_test() -> dict[str, Answers]:
    """Read the predictions for the test photographs, and apply each network's thresholds."""
    graded = {
        "mobilenet": GradedSet.read_csv(EVIDENCE / NAME / "test-fp32.csv"),
        "vgg19": GradedSet.read_csv(OUT / "test-fp32.csv"),
    }
    clinical = {
        "mobilenet": read_manifest_in_archive(box_artifact()).clinical,
        "vgg19": msgspec.json.decode((OUT / "clinical.json").read_bytes(), type=Clinical),
    }
    found = {}
    for name, one in graded.items():
        or_worse = probability_of_grade_or_worse(one.probabilities)
        chosen = {
            int(point.at_or_above): point.reaches_threshold(or_worse[:, point.at_or_above])
            for point in clinical[name].operating_points
            if point.name == HIGH_SENSITIVITY
        }
        found[name] = Answers(one.labels, one.groups, one.probabilities, chosen)
    return _check_same_photographs(graded, found)


def _check_same_photographs(
    graded: dict[str, GradedSet], answers: dict[str, Answers]
) -> dict[str, Answers]:
    if len({one.files for one in graded.values()}) > 1:
        sys.exit("evaluate-vgg19: the networks graded different photographs")
    if not all(one.is_gradable.all() for one in graded.values()):
        sys.exit("evaluate-vgg19: a photograph has no grade")
    return answers


def describe_quality(answers: Answers) -> dict[str, Any]:
    """Return the quality of one network, such as kappa and sensitivity, each with an interval."""
    found = evaluate_probabilities(
        answers.labels,
        answers.probabilities,
        grade_thresholds=MEDIAN_GRADE,
        groups=answers.groups,
    )
    document: dict[str, Any] = {"kappa": estimate_as_dict(found.kappa)}
    for grade, detection in ((2, found.referable), (3, found.vision_threatening)):
        high = estimate_sensitivity_and_specificity(
            answers.labels >= grade, answers.flags[grade], answers.groups
        )
        document[f"grade_{grade}"] = {
            "auroc": estimate_as_dict(detection.auroc),
            "sensitivity": estimate_as_dict(detection.sensitivity),
            "specificity": estimate_as_dict(detection.specificity),
            "high_sensitivity_point": dict(
                zip(("sensitivity", "specificity"), map(estimate_as_dict, high), strict=True)
            ),
        }
    return document


def describe_differences(first: Answers, second: Answers) -> dict[str, Any]:
    """Return the quality of the second network minus that of the first, on the same photographs."""
    labels, groups = first.labels, first.groups
    compared = compare_grades(labels, first.grades, second.grades, groups=groups)
    areas = [probability_of_grade_or_worse(one.probabilities) for one in (first, second)]
    document: dict[str, Any] = {"kappa": estimate_as_dict(compared.kappa)}
    for grade in (2, 3):
        ill, (before, after) = labels >= grade, (first.flags[grade], second.flags[grade])
        high = (
            compare_right_decisions(before, after, ill, groups),
            compare_right_decisions(~before, ~after, ~ill, groups),
        )
        answered = (compared.sensitivity[grade], compared.specificity[grade])  # type: ignore[index]
        document[f"grade_{grade}"] = {
            "auroc": estimate_as_dict(
                estimate_auroc_change(ill, areas[0][:, grade], areas[1][:, grade], groups)
            ),
            "sensitivity": estimate_as_dict(answered[0].difference),
            "specificity": estimate_as_dict(answered[1].difference),
            "high_sensitivity_point": {
                "sensitivity": estimate_as_dict(high[0].difference),
                "specificity": estimate_as_dict(high[1].difference),
            },
        }
    return document


def describe_times_and_costs() -> dict[str, Any]:
    """Return each network's median time and cost of predictions, and the ratio of the times."""
    chosen = {"measured": "latency", "runtime": "drdeploy", "precision": "fp32", "threads": THREADS}
    with TIMES.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if chosen.items() <= row.items()]
    # The rows of a network are in the order of the rounds, so times of the same round are paired.
    times = {
        name: np.array([float(row["value"]) for row in rows if row["model"] == name])
        for name in NETWORKS
    }
    price = look_up_price_per_second("serverless", MEMORY_MB, "", PriceSheet.load())
    medians = {name: estimate_median(values) for name, values in times.items()}
    usd = price.usd_per_second * MILLION
    return {
        "predict_s": {name: estimate_as_dict(found) for name, found in medians.items()},
        "ratio": estimate_as_dict(estimate_median(times["vgg19"] / times["mobilenet"])),
        "usd_per_million": {
            name: estimate_as_dict(found.multiplied_by(usd)) for name, found in medians.items()
        },
        "price": f"{price.source.item}, {price.source.region}, {price.source.date}",
    }


def write_table(document: dict[str, Any]) -> str:
    """Return the numbers as a table in Markdown."""
    lines = ["| | MobileNet | VGG19 | VGG19 less MobileNet |", "|---|---|---|---|"]
    for part, title in (("test", "test"), ("out_of_fold", "out of fold")):
        if part not in document:
            continue
        found = document[part]
        columns = [found[name] for name in (*NETWORKS, "vgg19_less_mobilenet")]
        rows = {"quadratic weighted kappa": [one["kappa"] for one in columns]}
        for grade in (2, 3):
            at = [one[f"grade_{grade}"] for one in columns]
            rows[f"AUROC, grade >= {grade}"] = [one["auroc"] for one in at]
            for rate in ("sensitivity", "specificity"):
                rows[f"{rate} of the grade, grade >= {grade}"] = [one[rate] for one in at]
            for rate in ("sensitivity", "specificity"):
                rows[f"{rate} at the high-sensitivity point, grade >= {grade}"] = [
                    one["high_sensitivity_point"][rate] for one in at
                ]
        lines += [
            f"| {title}: {name} | {_as_text(one)} | {_as_text(two)} | {_as_text(less, sign='+')} |"
            for name, (one, two, less) in rows.items()
        ]
    for name, key, factor in (
        ("ms a prediction", "predict_s", 1000.0),
        ("USD a million predictions", "usd_per_million", 1.0),
    ):
        cells = " | ".join(_as_digits(document[key][one], factor) for one in NETWORKS)
        lines.append(f"| {name} | {cells} | {_as_digits(document['ratio'], 1.0)} times |")
    return "\n".join(lines) + "\n"


def _as_text(figure: dict[str, Any], sign: str = "") -> str:
    value = f"{figure['value']:{sign}.2f}"
    if figure["low"] is None:
        return value
    return f"{value} ({figure['low']:{sign}.2f} to {figure['high']:{sign}.2f})"


def _as_digits(figure: dict[str, Any], factor: float) -> str:
    value, low, high = (figure[one] * factor for one in ("value", "low", "high"))
    return f"{value:.3g} ({low:.3g} to {high:.3g})"


if __name__ == "__main__":
    main()
