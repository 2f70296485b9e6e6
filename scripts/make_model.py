"""Train the packaged grader (fp32), quantize it (int8), evaluate both, and write the model card.

    make model                        # with the photographs and weights beside the checkout
    make model DATA=DIR WEIGHTS=FILE  # with a downloaded IDRiD and other ImageNet weights

An interrupted training run continues where it stopped. If the training has finished before, the
networks are not trained again, but only packed and evaluated. The same seed on the same machine
gives the same weights. For research use; not a medical device.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
from quantize_out_of_fold import quantized_out_of_fold
from write_packaged_manifests import renew_manifests

from drdeploy.grader.artifacts import Clinical, extract_archive, read_manifest_in_archive
from drdeploy.grader.box import FOLDER, NAME
from drdeploy.grader.datasets import (
    load_dataset,
    set_copies_aside,
    split_into_grouped_folds,
)
from drdeploy.grader.evaluation.document import build_comparison_document, build_evaluation_document
from drdeploy.grader.evaluation.evaluation import evaluate_graded_set
from drdeploy.grader.evaluation.predictions import GradedSet, predict_dataset
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.quantization.convert import (
    divide_onnx_logits_by_temperature,
    write_quantized_onnx,
)
from drdeploy.grader.quantization.quantize import (
    build_tests_document,
    iterate_calibration_inputs,
    pack_quantized_model,
    split_for_calibration,
)
from drdeploy.grader.quantization.verdict import decide_non_inferiority
from drdeploy.grader.training.calibration import (
    HIGH_SENSITIVITY,
    apply_temperature,
    choose_operating_points,
    evaluate_cross_fitted_choices,
    fit_temperature,
)
from drdeploy.grader.training.recipe import read_recipe_or_preset
from drdeploy.grader.training.run_document import build_training_run_document
from drdeploy.grader.training.train import TrainedGrader, TrainingPlan, train_grader
from drdeploy.photograph_names import OWN_NAMES

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
    """Train, quantize and evaluate; write the archives, the evidence and the model card."""
    options = _arguments()
    dataset = load_dataset(options.data, names=OWN_NAMES)  # IDRiD's names are public
    weights: Any = options.weights if options.weights.is_file() else "imagenet"
    plan = TrainingPlan.for_training_split(
        "MobileNet", dataset, read_recipe_or_preset("fine-tuned"), weights=weights, licence=LICENCE
    )
    trained = train_grader(
        plan,
        options.run,
        cache=Path("build/cache"),
        on_epoch=lambda name, history: _say(f"{name}: epoch {history.finished_epochs}"),
    )
    raw = quantized_out_of_fold(plan, options.run, trained.clinical.temperature, note=_say)
    temperature = fit_temperature(raw.labels, raw.probabilities)
    int8_out_of_fold = replace(raw, probabilities=apply_temperature(raw.probabilities, temperature))
    int8_clinical = choose_operating_points(
        raw.labels,
        int8_out_of_fold.probabilities,
        chosen_on=trained.clinical.chosen_on.replace("out-of-fold", "int8's out-of-fold"),
        temperature=round(trained.clinical.temperature * temperature, 3),
        groups=raw.groups,
        folds=split_into_grouped_folds(plan.dataset, plan.folds, seed=plan.seed),
    )
    drafts = _quantized_drafts(trained, options.run, temperature)
    clinical = {"fp32": trained.clinical, "int8": int8_clinical}
    unseen = select_test_part(dataset, plan)
    _say(f"IDRiD test, {len(unseen)} photographs, once")
    tested = {
        precision: predict_dataset(InferenceService.load(drafts[precision]), unseen)
        for precision in PRECISIONS
    }
    # int8 against fp32, on all photographs that the predicting network was not trained on.
    verdict = decide_non_inferiority(
        _together(trained.out_of_fold, tested["fp32"]),
        _together(int8_out_of_fold, tested["int8"]),
        grade_thresholds=trained.clinical.grade_thresholds,
        margin=MARGIN,
        seed=plan.seed,
    )
    _publish(drafts, verdict, int8_clinical, options.out)
    renew_manifests(
        options.out,
        {
            precision: build_evaluation_document(
                evaluate_graded_set(tested[precision], clinical[precision]), tested[precision]
            )
            for precision in PRECISIONS
        },
    )
    options.evidence.mkdir(parents=True, exist_ok=True)
    out_of_fold = {"fp32": trained.out_of_fold, "int8": int8_out_of_fold}
    for precision, graded in out_of_fold.items():
        graded.write_csv(options.evidence / f"oof-{precision}.csv")
        tested[precision].write_csv(options.evidence / f"test-{precision}.csv")
    _write_documents(trained, out_of_fold, tested, clinical, verdict=verdict, options=options)
    _say(f"wrote {options.out}: int8 {verdict.outcome}: {verdict.reason}")


def _quantized_drafts(trained: TrainedGrader, run: Path, temperature: float) -> dict[str, Path]:
    """Return the archives of the fp32 grader and of a draft of the int8 grader.

    The draft must still be compared with the fp32 grader.
    """
    fp32 = trained.archives["onnx"]
    artifact = extract_archive(fp32, _fresh(run / "fp32"))
    calibration, _ = split_for_calibration(trained.plan.dataset, seed=trained.plan.seed)
    model = write_quantized_onnx(
        artifact.entry_path,
        run / "int8.onnx",
        "int8",
        iterate_calibration_inputs(artifact, calibration),
    )
    divide_onnx_logits_by_temperature(model, temperature)
    draft = run / "int8-draft.tar.gz"
    pack_quantized_model(model, draft, artifact, "int8", None, clinical=None)
    return {"fp32": fp32, "int8": draft}


def select_test_part(dataset: Any, plan: TrainingPlan) -> Any:
    """Return the test photographs to evaluate on.

    Photographs that are copies of others are left out. Photographs are also left out if the
    training has photographs of the same capture session.
    """
    test = set_copies_aside(dataset).select_split("test")
    trained_on = set(plan.dataset.groups)
    return test.select_by_index(
        [at for at, group in enumerate(test.groups) if group not in trained_on]
    )


def _together(one: GradedSet, two: GradedSet) -> GradedSet:
    return GradedSet(
        one.files + two.files,
        np.concatenate([one.groups, two.groups]),
        np.concatenate([one.labels, two.labels]),
        np.concatenate([one.probabilities, two.probabilities]),
        one.reasons + two.reasons,
    )


def _publish(drafts: dict[str, Path], verdict: Any, clinical: Clinical, out: Path) -> None:
    out.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(drafts["fp32"], out / f"{NAME}-fp32.tar.gz")
    artifact = extract_archive(drafts["fp32"], _fresh(drafts["int8"].parent / "fp32"))
    model = drafts["int8"].with_name("int8.onnx")
    pack_quantized_model(
        model, out / f"{NAME}-int8.tar.gz", artifact, "int8", verdict, clinical=clinical
    )


def _write_documents(
    trained: TrainedGrader,
    out_of_fold: dict[str, GradedSet],
    tested: dict[str, GradedSet],
    clinical: dict[str, Clinical],
    *,
    verdict: Any,
    options: argparse.Namespace,
) -> None:
    plan = trained.plan
    folds = split_into_grouped_folds(plan.dataset, plan.folds, seed=plan.seed)
    document = {
        "out_of_fold": _without_paths(build_training_run_document(trained)),
        "out_of_fold_int8": {
            **build_evaluation_document(
                evaluate_graded_set(out_of_fold["int8"], clinical["int8"]), out_of_fold["int8"]
            ),
            "cross_fitted": evaluate_cross_fitted_choices(out_of_fold["int8"], folds),
            "temperature": clinical["int8"].temperature,
        },
        "test": {
            precision: build_evaluation_document(
                evaluate_graded_set(graded, clinical[precision]), graded
            )
            for precision, graded in tested.items()
        },
        "int8_against_fp32": {
            "verdict": verdict.outcome,
            "reason": verdict.reason,
            "margin": verdict.margin,
            "images_needed": verdict.images_needed,
            "tests": build_tests_document(verdict),
            "ece": {"fp32": verdict.ece_before, "int8": verdict.ece_after},
            **build_comparison_document(
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
        document,
        recipe=plan.recipe,
        plan=plan,
        set_aside=plan.dataset.set_aside,
        target_sensitivity=HIGH_SENSITIVITY,
    )
    (options.out / "MODEL_CARD.md").write_text(card, encoding="utf-8")


def _described(archive: Path) -> dict[str, Any]:
    manifest = read_manifest_in_archive(archive)
    (model,) = (file for file in manifest.files if file.path == manifest.entry)
    return {
        "file": archive.name,
        "archive_bytes": archive.stat().st_size,
        "model_bytes": model.size_bytes,
        "sha256": model.sha256,
    }


def _without_paths(document: dict[str, Any]) -> dict[str, Any]:
    """Remove this machine's paths from the training's record, because the record is committed."""
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
