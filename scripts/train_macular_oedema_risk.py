"""Train a second output (head) on the packaged grader's features: the risk of macular oedema.

    python scripts/train_macular_oedema_risk.py              # with IDRiD beside the checkout
    python scripts/train_macular_oedema_risk.py --data DIR   # with a downloaded IDRiD

IDRiD labels each photograph with a risk of macular oedema. 0 means no hard exudates, 1 means hard
exudates farther than one disc diameter from the fovea, and 2 means hard exudates nearer than that.
The head is a logistic regression on the outputs of the grader's last pooling layer (the features).
The grader itself is not trained further. The head is not part of the packaged grader and changes no
grade; this script only trains and evaluates it. For research use; not a medical device.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from drdeploy.grader.artifacts import open_artifact
from drdeploy.grader.box import box_artifact
from drdeploy.grader.datasets import load_dataset, set_copies_aside, split_into_grouped_folds
from drdeploy.grader.datasets.columns import read_dataset_column
from drdeploy.grader.evaluation.calibration import estimate_binary_calibration
from drdeploy.grader.evaluation.document import estimate_as_dict
from drdeploy.grader.evaluation.evaluation import estimate_sensitivity_and_specificity
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.training.calibration import HIGH_SENSITIVITY
from drdeploy.photograph_names import OWN_NAMES
from drdeploy.statistics.proportions import estimate_auroc, estimate_auroc_change

COLUMN = "macular_edema_risk"
TARGETS = {"any_hard_exudates": 1, "hard_exudates_near_the_fovea": 2}
PENALTIES = (1e-4, 3e-4, 1e-3, 3e-3, 1e-2, 3e-2, 1e-1)
FOLDS = 5


def main() -> None:
    """Compute features, train and evaluate the head, and write the evidence."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/idrid_512"))
    parser.add_argument("--out", type=Path, default=Path("evidence/macular-oedema-risk"))
    options = parser.parse_args()
    once = set_copies_aside(load_dataset(options.data, names=OWN_NAMES))
    train, test = once.select_training_part(), once.select_split("test")
    trained_on = set(train.groups)
    test = test.select_by_index(
        [at for at, group in enumerate(test.groups) if group not in trained_on]
    )
    features = PooledFeatures()
    train_x, _ = features.compute(train)
    test_x, test_grader = features.compute(test)
    train_risk, test_risk = (
        read_dataset_column(one, COLUMN, option="the script").astype(int) for one in (train, test)
    )
    folds = split_into_grouped_folds(train, FOLDS, seed=0)
    document: dict[str, Any] = {
        "notice": "For research use. Not a medical device.",
        "features": box_artifact("fp32").name,
        "penalty_chosen_by": f"log loss in {FOLDS} folds of the training photographs, by session",
        "train": {"n": len(train), "sessions": len(trained_on)},
        "test": {"n": len(test), "sessions": len(set(test.groups))},
    }
    columns: dict[str, np.ndarray] = {"risk": test_risk, "grader_p2": test_grader}
    for name, least in TARGETS.items():
        ill = train_risk >= least
        out_of_fold = {c: predict_out_of_fold(train_x, ill, folds, c) for c in PENALTIES}
        best = min(PENALTIES, key=lambda c: log_loss(ill, out_of_fold[c]))
        threshold = choose_threshold(ill, out_of_fold[best])
        crossed = flag_cross_fitted(ill, out_of_fold, folds)
        chances = fit(train_x, ill, best).predict_proba(test_x)[:, 1]
        document[name] = {
            "penalty_c": best,
            "threshold": threshold,
            "out_of_fold": evaluate(ill, out_of_fold[best], crossed, train.groups),
            "test": evaluate(test_risk >= least, chances, chances >= threshold, test.groups),
            "auroc_of_grader_test": estimate_as_dict(
                estimate_auroc(test_risk >= least, test_grader, test.groups)
            ),
            "auroc_less_grader_test": estimate_as_dict(
                estimate_auroc_change(test_risk >= least, test_grader, chances, test.groups)
            ),
        }
        columns[name] = chances
        sys.stderr.write(f"{name}: {document[name]['test']['auroc']}\n")
    options.out.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=2)
    (options.out / "metrics.json").write_text(f"{text}\n", encoding="utf-8")
    with (options.out / "test.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["file", "group", *columns])
        for at, photograph in enumerate(test.photographs):
            cells = [values[at].item() for values in columns.values()]
            writer.writerow([photograph.name, photograph.group, *cells])


class PooledFeatures:
    """The packaged grader in fp32, which also returns the outputs of its last pooling layer."""

    def __init__(self) -> None:
        artifact = open_artifact(box_artifact("fp32"))
        model = onnx.load(str(artifact.entry_path))
        pooling = [
            node for node in model.graph.node if node.op_type in {"GlobalAveragePool", "ReduceMean"}
        ]
        self._layer = pooling[-1].output[0]
        self._probabilities = model.graph.output[0].name
        model.graph.output.append(onnx.ValueInfoProto(name=self._layer))
        self._session = onnxruntime.InferenceSession(
            model.SerializeToString(), providers=["CPUExecutionProvider"]
        )
        self._service = InferenceService.load(box_artifact("fp32"))

    def compute(self, dataset: Any) -> tuple[np.ndarray, np.ndarray]:
        """Return the features, shape ``(n, channels)``, and P(grade >= 2), shape ``(n,)``."""
        shape = self._session.get_inputs()[0]
        features, referable = [], []
        for photograph in dataset.photographs:
            batch = self._service.model_input(photograph.read_file_bytes())[None]
            if shape.shape[1] == 3:
                batch = np.ascontiguousarray(batch.transpose(0, 3, 1, 2))
            pooled, probabilities = self._session.run(
                [self._layer, self._probabilities], {shape.name: batch}
            )
            features.append(np.ravel(pooled))
            referable.append(float(np.ravel(probabilities)[2:].sum()))
        return np.array(features), np.round(referable, 6)


def fit(features: np.ndarray, ill: np.ndarray, penalty_c: float) -> Any:
    """Return a logistic regression that is fitted on scaled features."""
    head = make_pipeline(StandardScaler(), LogisticRegression(C=penalty_c, max_iter=2000))
    return head.fit(features, ill)


def predict_out_of_fold(
    features: np.ndarray, ill: np.ndarray, folds: Any, penalty_c: float
) -> np.ndarray:
    """Return probabilities, shape ``(n,)``; the head for each fold is fitted on the other folds."""
    chances = np.empty(len(ill))
    for fold in folds:
        head = fit(features[fold.train], ill[fold.train], penalty_c)
        chances[fold.validation] = head.predict_proba(features[fold.validation])[:, 1]
    return chances


def choose_threshold(ill: np.ndarray, chances: np.ndarray) -> float:
    """Choose a threshold that flags about the promised share of the photographs with disease."""
    return float(np.floor(1e4 * np.quantile(chances[ill], 1 - HIGH_SENSITIVITY)) / 1e4)


def flag_cross_fitted(
    ill: np.ndarray, out_of_fold: dict[float, np.ndarray], folds: Any
) -> np.ndarray:
    """Return which photographs are flagged.

    The regression's penalty and the threshold for each fold are chosen on the other folds.
    """
    flags = np.zeros(len(ill), bool)
    for fold in folds:
        others = fold.train
        chances = min(out_of_fold.values(), key=lambda one: log_loss(ill[others], one[others]))
        threshold = choose_threshold(ill[others], chances[others])
        flags[fold.validation] = chances[fold.validation] >= threshold
    return flags


def evaluate(
    ill: np.ndarray, chances: np.ndarray, flags: np.ndarray, groups: np.ndarray
) -> dict[str, Any]:
    """Return AUROC, sensitivity, specificity and calibration, each with an interval.

    For the intervals, the photographs of a capture session count as one group.
    """
    sensitivity, specificity = estimate_sensitivity_and_specificity(ill, flags, groups)
    calibration = estimate_binary_calibration(ill, chances, groups)
    return {
        "positives": int(ill.sum()),
        "auroc": estimate_as_dict(estimate_auroc(ill, chances, groups)),
        "sensitivity": estimate_as_dict(sensitivity),
        "specificity": estimate_as_dict(specificity),
        "observed_over_expected": estimate_as_dict(calibration.observed_over_expected),
        "slope": estimate_as_dict(calibration.slope),
    }


if __name__ == "__main__":
    main()
