"""Train the grader in the box, quantize it, evaluate both, and write the model card.

    make model                        # with the photographs and weights beside the checkout
    make model DATA=DIR WEIGHTS=FILE  # with a downloaded IDRiD and other ImageNet weights

An interrupted run continues where it stopped; a finished one is only packed and evaluated again.
The same seed on the same machine gives the same weights.  For research use; not a medical device.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import jinja2
import numpy as np

from drdeploy.grader.artifacts import extract, inspect
from drdeploy.grader.box import FOLDER, NAME
from drdeploy.grader.datasets import deduplicate, load_dataset
from drdeploy.grader.evaluation.document import comparison_document, evaluation_document
from drdeploy.grader.evaluation.evaluation import evaluate_graded
from drdeploy.grader.evaluation.predictions import GradedSet, predict_dataset
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.quantization import compare_quantized, quantize_onnx
from drdeploy.grader.quantization.out_of_fold import quantized_out_of_fold
from drdeploy.grader.quantization.quantize import (
    calibration_inputs,
    pack_quantized,
    split_for_calibration,
)
from drdeploy.grader.training.recipe import find_recipe
from drdeploy.grader.training.run_document import run_document
from drdeploy.grader.training.train import TrainedGrader, TrainingPlan, train

RUN = Path("build/training") / NAME
LICENCE = "CC BY 4.0 (IDRiD: Porwal et al., 2018); initial weights Apache-2.0 (Keras Applications)"
MARGIN = 0.02
PRECISIONS = ("fp32", "int8")


def _say(text: str) -> None:
    sys.stderr.write(f"make-model: {text}\n")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/idrid_512"))
    parser.add_argument(
        "--weights",
        type=Path,
        default=Path("../shared/weights/mobilenet_1_0_224_imagenet_notop.weights.h5"),
    )
    parser.add_argument("--out", type=Path, default=FOLDER)
    parser.add_argument("--evidence", type=Path, default=Path("evidence") / NAME)
    parser.add_argument("--run", type=Path, default=RUN)
    return parser.parse_args()


def main() -> None:
    """Train, quantize, evaluate, and write archives, figures and the model card."""
    options = _arguments()
    dataset = load_dataset(options.data)
    weights: Any = options.weights if options.weights.is_file() else "imagenet"
    plan = TrainingPlan.make(
        "MobileNet", dataset, find_recipe("fine-tuned"), weights=weights, licence=LICENCE
    )
    trained = train(
        plan,
        options.run,
        cache=Path("build/cache"),
        on_epoch=lambda name, history: _say(f"{name}: epoch {history.epochs}"),
    )
    int8_out_of_fold = quantized_out_of_fold(
        plan, options.run, trained.clinical.temperature, note=_say
    )
    int8_out_of_fold.write(options.run / "oof-int8.csv")
    drafts = _quantized_drafts(trained, options.run)
    unseen = _test_part(dataset, plan)
    _say(f"IDRiD test, {len(unseen)} photographs, once")
    tested = {
        precision: predict_dataset(InferenceService.load(drafts[precision]), unseen)
        for precision in PRECISIONS
    }
    # int8 against fp32, on all photographs that the predicting network was not trained on.
    verdict = compare_quantized(
        _together(trained.out_of_fold, tested["fp32"]),
        _together(int8_out_of_fold, tested["int8"]),
        grade_thresholds=trained.clinical.grade_thresholds,
        margin=MARGIN,
        seed=plan.seed,
    )
    _publish(drafts, verdict, options.out)
    options.evidence.mkdir(parents=True, exist_ok=True)
    trained.out_of_fold.write(options.evidence / "oof.csv")
    _write_documents(trained, tested, verdict, plan, options)
    _say(f"wrote {options.out}: int8 {verdict.outcome}: {verdict.reason}")


def _quantized_drafts(trained: TrainedGrader, run: Path) -> dict[str, Path]:
    """The two archives, the int8 one still without a verdict."""
    fp32 = trained.archives["onnx"]
    artifact = extract(fp32, _fresh(run / "fp32"))
    calibration, _ = split_for_calibration(trained.plan.dataset, seed=trained.plan.seed)
    model = quantize_onnx(
        artifact.entry_path,
        run / "int8.onnx",
        "int8",
        calibration_inputs(artifact, calibration),
    )
    draft = run / "int8-draft.tar.gz"
    pack_quantized(model, draft, artifact, "int8", None)
    return {"fp32": fp32, "int8": draft}


def _test_part(dataset: Any, plan: TrainingPlan) -> Any:
    """The test split, without copies and without the sessions of training photographs."""
    test = deduplicate(dataset).of_split("test")
    trained_on = set(plan.dataset.groups)
    return test.take([at for at, group in enumerate(test.groups) if group not in trained_on])


def _together(one: GradedSet, two: GradedSet) -> GradedSet:
    return GradedSet(
        one.files + two.files,
        np.concatenate([one.groups, two.groups]),
        np.concatenate([one.labels, two.labels]),
        np.concatenate([one.probabilities, two.probabilities]),
        one.reasons + two.reasons,
    )


def _publish(drafts: dict[str, Path], verdict: Any, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(drafts["fp32"], out / f"{NAME}-fp32.tar.gz")
    artifact = extract(drafts["fp32"], _fresh(drafts["int8"].parent / "fp32"))
    model = drafts["int8"].with_name("int8.onnx")
    pack_quantized(model, out / f"{NAME}-int8.tar.gz", artifact, "int8", verdict)


def _write_documents(
    trained: TrainedGrader,
    tested: dict[str, GradedSet],
    verdict: Any,
    plan: TrainingPlan,
    options: argparse.Namespace,
) -> None:
    document = {
        "out_of_fold": _without_paths(run_document(trained)),
        "test": {
            precision: evaluation_document(evaluate_graded(graded, trained.clinical), graded)
            for precision, graded in tested.items()
        },
        "int8_against_fp32": {
            "verdict": verdict.outcome,
            "reason": verdict.reason,
            "margin": verdict.margin,
            "images_needed": verdict.images_needed,
            "ece": {"fp32": verdict.ece_before, "int8": verdict.ece_after},
            **comparison_document(
                verdict.comparison, _together(trained.out_of_fold, tested["fp32"])
            ),
        },
        "archives": {
            precision: _described(options.out / f"{NAME}-{precision}.tar.gz")
            for precision in PRECISIONS
        },
    }
    text = json.dumps(document, indent=2)
    (options.evidence / "metrics.json").write_text(f"{text}\n", encoding="utf-8")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        undefined=jinja2.StrictUndefined,
        keep_trailing_newline=True,
        autoescape=False,  # noqa: S701 - Markdown of our own numbers
    )
    environment.filters |= {"figure": _as_text, "change": _as_change}
    card = environment.get_template("model_card.md.j2").render(
        document, recipe=plan.recipe, plan=plan, set_aside=plan.dataset.set_aside
    )
    (options.out / "MODEL_CARD.md").write_text(card, encoding="utf-8")


def _described(archive: Path) -> dict[str, Any]:
    manifest = inspect(archive)
    (model,) = (file for file in manifest.files if file.path == manifest.entry)
    return {
        "file": archive.name,
        "archive_bytes": archive.stat().st_size,
        "model_bytes": model.size_bytes,
        "sha256": model.sha256,
    }


def _without_paths(document: dict[str, Any]) -> dict[str, Any]:
    """Drop the folders of this machine from a document that will be committed."""
    return {
        name: value for name, value in document.items() if name not in {"archives", "keras_file"}
    }


def _as_text(figure: dict[str, Any]) -> str:
    if figure["value"] is None or figure["low"] is None:
        return str(figure["value"])
    return f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"


def _as_change(rate: dict[str, Any]) -> str:
    return (
        f"{rate['value']:+.4f}, not below {rate['lower_bound_95']:+.4f} with 95 % confidence "
        f"({rate['gained']} gained, {rate['lost']} lost of {rate['n']})"
    )


def _fresh(folder: Path) -> Path:
    shutil.rmtree(folder, ignore_errors=True)
    return folder


if __name__ == "__main__":
    main()
