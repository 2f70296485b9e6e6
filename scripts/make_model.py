"""Train the packaged grader (fp32), quantize it (int8), evaluate both, and write the model card.

    make model                        # with the photographs and weights beside the checkout
    make model DATA=DIR WEIGHTS=FILE  # with a downloaded IDRiD and other ImageNet weights
    python scripts/make_model.py --from-evidence  # only the verdict, the figures and the card

An interrupted training run continues where it stopped. If the training has finished before, the
networks are not trained again, but only packed and evaluated. The same seed on the same machine
gives the same weights. For research use; not a medical device.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import numpy as np
from quantize_out_of_fold import quantized_out_of_fold
from write_packaged_manifests import renew_manifests

from drdeploy.grader.artifacts import extract_archive, read_manifest_in_archive
from drdeploy.grader.box import FOLDER, NAME
from drdeploy.grader.datasets import (
    Fold,
    load_dataset,
    set_copies_aside,
    split_into_grouped_folds,
)
from drdeploy.grader.evaluation.document import build_comparison_document, build_evaluation_document
from drdeploy.grader.evaluation.evaluation import evaluate_graded_set
from drdeploy.grader.evaluation.predictions import (
    UNLIKE_TRAINING,
    GradedSet,
    predict_dataset,
)
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.quantization.calibration import flag_at_operating_points
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
    calibrate_and_flag_cross_fitted,
    choose_operating_points,
    evaluate_cross_fitted_choices,
    fit_temperature,
)
from drdeploy.grader.training.recipe import read_recipe_or_preset
from drdeploy.grader.training.run_document import build_training_run_document
from drdeploy.grader.training.train import TrainedGrader, TrainingPlan, train_grader
from drdeploy.photograph_names import OWN_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from drdeploy.grader.datasets import Dataset
    from drdeploy.grader.quantization.verdict import NonInferiorityVerdict

RUN = Path("build/training") / NAME
LICENCE = "CC BY 4.0 (IDRiD: Porwal et al., 2018); initial weights Apache-2.0 (Keras Applications)"
MARGIN = 0.02
LINE_WIDTH = 100
PRECISIONS = ("fp32", "int8")
PARTS = ("oof", "test")


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
    parser.add_argument(
        "--from-evidence",
        action="store_true",
        help="neither train nor predict: issue the verdict again from the stored predictions, and "
        "write metrics.json, the card and both manifests",
    )
    return parser.parse_args()


def main() -> None:
    """Train, quantize and evaluate; write the archives, the evidence and the model card."""
    options = _arguments()
    dataset = load_dataset(options.data, names=OWN_NAMES)  # IDRiD's names are public
    weights: Any = options.weights if options.weights.is_file() else "imagenet"
    plan = TrainingPlan.for_training_split(
        "MobileNet", dataset, read_recipe_or_preset("fine-tuned"), weights=weights, licence=LICENCE
    )
    if not options.from_evidence:
        _train_quantize_and_predict(plan, dataset, options)
    graded = {
        (part, precision): _read_predictions(options.evidence, part, precision)
        for part in PARTS
        for precision in PRECISIONS
    }
    verdict = judge_int8(graded, options.out, seed=plan.seed)
    _write_verdict_into_archive(verdict, options.out)
    renew_manifests(
        options.out,
        {
            precision: build_evaluation_document(
                evaluate_graded_set(
                    graded["test", precision],
                    read_manifest_in_archive(_archive(options.out, precision)).clinical,
                ),
                graded["test", precision],
            )
            for precision in PRECISIONS
        },
    )
    _write_documents(plan, graded, verdict=verdict, options=options)
    _say(f"wrote {options.out}: int8 {verdict.outcome}: {verdict.reason}")


def _train_quantize_and_predict(
    plan: TrainingPlan, dataset: Dataset, options: argparse.Namespace
) -> None:
    """Write the two archives, int8 still without a verdict, and the four tables of predictions."""
    trained = train_grader(
        plan,
        options.run,
        cache=Path("build/cache"),
        on_epoch=lambda name, history: _say(f"{name}: epoch {history.finished_epochs}"),
    )
    raw = quantized_out_of_fold(plan, options.run, trained.clinical.temperature, note=_say)
    temperature = fit_temperature(raw.labels, raw.probabilities)
    int8_out_of_fold = replace(raw, probabilities=apply_temperature(raw.probabilities, temperature))
    folds = split_into_grouped_folds(plan.dataset, plan.folds, seed=plan.seed)
    int8_clinical = choose_operating_points(
        raw.labels,
        int8_out_of_fold.probabilities,
        chosen_on=trained.clinical.chosen_on.replace("out-of-fold", "int8's out-of-fold"),
        temperature=round(trained.clinical.temperature * temperature, 3),
        groups=raw.groups,
        folds=folds,
    )
    drafts = _quantized_drafts(trained, options.run, temperature)
    unseen = select_test_part(dataset, plan)
    _say(f"IDRiD test, {len(unseen)} photographs, once")
    tested = {
        precision: predict_dataset(InferenceService.load(drafts[precision]), unseen)
        for precision in PRECISIONS
    }
    options.out.mkdir(parents=True, exist_ok=True)
    fp32, int8 = (_archive(options.out, precision) for precision in PRECISIONS)
    shutil.copyfile(drafts["fp32"], fp32)
    artifact = extract_archive(fp32, _fresh(options.run / "fp32"))
    model = options.run / "int8.onnx"
    pack_quantized_model(model, int8, artifact, "int8", None, clinical=int8_clinical)
    options.evidence.mkdir(parents=True, exist_ok=True)
    out_of_fold = {"fp32": trained.out_of_fold, "int8": int8_out_of_fold}
    for precision, graded in out_of_fold.items():
        with_folds = replace(graded, columns={"fold": number_folds(folds, len(graded))})
        with_folds.write_csv(options.evidence / f"oof-{precision}.csv")
        tested[precision].write_csv(options.evidence / f"test-{precision}.csv")


def number_folds(folds: Sequence[Fold], photographs: int) -> NDArray[np.str_]:
    """Return the number of the fold that each photograph was predicted in, in shape ``(n,)``."""
    numbers = np.full(photographs, "", dtype="U2")
    for number, fold in enumerate(folds):
        numbers[fold.validation] = str(number)
    return numbers


def read_folds(out_of_fold: GradedSet) -> list[Fold]:
    """Return the folds of a table of out-of-fold predictions, from its column ``fold``."""
    numbers = out_of_fold.columns["fold"]
    return [
        Fold(np.flatnonzero(numbers != one), np.flatnonzero(numbers == one))
        for one in np.unique(numbers)
    ]


def _read_predictions(evidence: Path, part: str, precision: str) -> GradedSet:
    further = {"oof": "fold", "test": UNLIKE_TRAINING}[part]
    graded = GradedSet.read_csv(evidence / f"{part}-{precision}.csv", {further: "--evidence"})
    return replace(graded, group_unit="session")


def judge_int8(
    graded: Mapping[tuple[str, str], GradedSet], archives: Path, *, seed: int
) -> NonInferiorityVerdict:
    """Compare int8 with fp32 on all photographs that the predicting network was not trained on.

    The thresholds of the operating points were chosen on the training photographs. They are
    therefore cross-fitted there, and locked on the test photographs.

    Args:
        graded: The predictions of each part (``oof`` and ``test``) and each precision.
        archives: Folder with the archives, whose manifests hold the thresholds.
        seed: Seed of the bootstrap.
    """
    flags, thresholds = {}, {}
    for precision in PRECISIONS:
        clinical = read_manifest_in_archive(_archive(archives, precision)).clinical
        thresholds[precision] = clinical.grade_thresholds
        trained, tested = graded["oof", precision], graded["test", precision]
        _, cross_fitted = calibrate_and_flag_cross_fitted(
            trained.labels, trained.probabilities, read_folds(trained)
        )
        locked = flag_at_operating_points(clinical, tested)
        flags[precision] = {
            point: np.concatenate([cross_fitted[point], locked[point]]) for point in locked
        }
    fp32, int8 = (_together(graded["oof", one], graded["test", one]) for one in PRECISIONS)
    return decide_non_inferiority(
        fp32,
        int8,
        grade_thresholds=thresholds["fp32"],
        quantized_thresholds=thresholds["int8"],
        reference_flags=flags["fp32"],
        quantized_flags=flags["int8"],
        margin=MARGIN,
        seed=seed,
    )


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


def _archive(folder: Path, precision: str) -> Path:
    return folder / f"{NAME}-{precision}.tar.gz"


def _write_verdict_into_archive(verdict: NonInferiorityVerdict, out: Path) -> None:
    with tempfile.TemporaryDirectory(prefix="drdeploy-make-model-") as scratch:
        fp32, int8 = (
            extract_archive(_archive(out, precision), Path(scratch) / precision)
            for precision in PRECISIONS
        )
        pack_quantized_model(
            int8.entry_path,
            _archive(out, "int8"),
            fp32,
            "int8",
            verdict,
            clinical=int8.manifest.clinical,
        )


def _write_documents(
    plan: TrainingPlan,
    graded: Mapping[tuple[str, str], GradedSet],
    *,
    verdict: NonInferiorityVerdict,
    options: argparse.Namespace,
) -> None:
    clinical = {
        precision: read_manifest_in_archive(_archive(options.out, precision)).clinical
        for precision in PRECISIONS
    }
    trained = TrainedGrader(
        plan, graded["oof", "fp32"], clinical["fp32"], archives={}, keras_file=Path()
    )
    document = {
        "out_of_fold": _without_paths(build_training_run_document(trained)),
        "out_of_fold_int8": {
            **build_evaluation_document(
                evaluate_graded_set(graded["oof", "int8"], clinical["int8"]), graded["oof", "int8"]
            ),
            "cross_fitted": evaluate_cross_fitted_choices(
                graded["oof", "int8"], read_folds(graded["oof", "int8"])
            ),
            "temperature": clinical["int8"].temperature,
        },
        "test": {
            precision: build_evaluation_document(
                evaluate_graded_set(graded["test", precision], clinical[precision]),
                graded["test", precision],
            )
            for precision in PRECISIONS
        },
        "int8_against_fp32": {
            "verdict": verdict.outcome,
            "reason": verdict.reason,
            "margin": verdict.margin,
            "images_needed": verdict.images_needed,
            "tests": build_tests_document(verdict),
            "ece": {"fp32": verdict.ece_before, "int8": verdict.ece_after},
            **build_comparison_document(
                verdict.comparison, _together(graded["oof", "fp32"], graded["test", "fp32"])
            ),
        },
        "archives": {
            precision: _described(_archive(options.out, precision)) for precision in PRECISIONS
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
    (options.out / "MODEL_CARD.md").write_text(_wrap_paragraphs(card), encoding="utf-8")


def _wrap_paragraphs(card: str) -> str:
    """Break the lines of paragraphs and list items, whose figures have different lengths."""
    blocks = re.split(r"\n(?=\n|- |\|)|(?<=\n)\n", card)
    wrapped = "\n".join(
        block
        if block.lstrip("\n").startswith(("|", "#", "<"))
        else "\n" * (len(block) - len(block.lstrip("\n")))
        + textwrap.fill(
            " ".join(block.split()),
            LINE_WIDTH,
            subsequent_indent="  " * block.lstrip("\n").startswith("- "),
            break_long_words=False,
            break_on_hyphens=False,
        )
        for block in blocks
    )
    return f"{wrapped.rstrip()}\n"


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
