"""The packaged grader is what its model card says it is."""

import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from drdeploy.errors import ArtifactError
from drdeploy.grader.artifacts import extract_archive, read_manifest_in_archive
from drdeploy.grader.box import FOLDER, box_artifact
from drdeploy.grader.datasets import (
    Fold,
    load_dataset,
    set_copies_aside,
    split_into_grouped_folds,
)
from drdeploy.grader.evaluation.document import build_evaluation_document
from drdeploy.grader.evaluation.evaluation import evaluate_graded_set
from drdeploy.grader.evaluation.predictions import GradedSet, predict_dataset
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.quantization.calibration import flag_at_operating_points
from drdeploy.grader.quantization.verdict import decide_non_inferiority
from drdeploy.grader.training.calibration import (
    HIGH_SENSITIVITY,
    calibrate_and_flag_cross_fitted,
    choose_operating_points,
)
from drdeploy.photograph_names import OWN_NAMES

ROOT = Path(__file__).resolve().parents[2]
EVIDENCE = ROOT / "evidence" / "mobilenet-idrid"
SCRIPTS = ROOT / "scripts"
MOST_BYTES = {"fp32": 14_000_000, "int8": 4_500_000}


@pytest.fixture(scope="module")
def metrics():
    return json.loads((EVIDENCE / "metrics.json").read_text())


@pytest.mark.parametrize("precision", MOST_BYTES)
def test_an_archive_in_the_box_is_sound_trained_and_small(metrics, tmp_path, precision):
    archive = box_artifact(precision)
    manifest = extract_archive(archive, tmp_path).manifest  # checks every digest
    assert (manifest.weights, manifest.precision) == ("trained", precision)
    (model,) = manifest.files
    assert model.size_bytes <= MOST_BYTES[precision]
    said = metrics["archives"][precision]
    assert (said["file"], said["sha256"]) == (archive.name, model.sha256)
    assert "not a medical device" in manifest.provenance.notes.lower()
    assert "CC BY 4.0" in manifest.provenance.licence


def is_part_of(said, computed):
    """Whether a document says nothing that another one does not say too."""
    if isinstance(said, dict):
        return all(key in computed and is_part_of(said[key], computed[key]) for key in said)
    return said == computed


def test_the_figures_of_the_box_follow_from_its_out_of_fold_predictions(metrics):
    graded = GradedSet.read_csv(EVIDENCE / "oof-fp32.csv")
    evaluation = evaluate_graded_set(graded, read_manifest_in_archive(box_artifact()).clinical)
    computed = build_evaluation_document(evaluation, graded)
    for name in ("n", "kappa", "accuracy", "confusion", "referable", "vision_threatening", "ece"):
        assert is_part_of(metrics["out_of_fold"][name], computed[name]), f"{name}: run make model"


@pytest.mark.parametrize("precision", MOST_BYTES)
def test_the_figures_of_the_test_follow_from_its_predictions(metrics, precision):
    graded = GradedSet.read_csv(EVIDENCE / f"test-{precision}.csv")
    clinical = read_manifest_in_archive(box_artifact(precision)).clinical
    computed = build_evaluation_document(evaluate_graded_set(graded, clinical), graded)
    said = metrics["test"][precision]
    assert said["groups"]["n"] == computed["groups"]["n"] < said["n"]
    for name in ("n", "kappa", "accuracy", "confusion", "referable", "vision_threatening", "ece"):
        assert is_part_of(said[name], computed[name]), f"{name}: run make model"


@pytest.mark.parametrize("precision", MOST_BYTES)
def test_each_threshold_is_the_one_that_its_promise_asks_for(precision):
    clinical = read_manifest_in_archive(box_artifact(precision)).clinical
    graded = GradedSet.read_csv(EVIDENCE / f"oof-{precision}.csv")
    chosen = choose_operating_points(
        graded.labels, graded.probabilities, chosen_on="", temperature=1.0
    )
    promised = {
        (point.name, point.at_or_above): (point.threshold, point.target_sensitivity)
        for point in chosen.operating_points
    }
    assert promised["high_sensitivity", 2][1] == HIGH_SENSITIVITY == 0.95
    assert promised["balanced", 2][1] is None  # it weighs both errors, and promises neither
    assert promised == {
        (point.name, point.at_or_above): (point.threshold, point.target_sensitivity)
        for point in clinical.operating_points
    }


@pytest.mark.parametrize("precision", MOST_BYTES)
def test_the_manifest_says_what_each_operating_point_kept_in_the_test(precision):
    clinical = read_manifest_in_archive(box_artifact(precision)).clinical
    evaluation = evaluate_graded_set(
        GradedSet.read_csv(EVIDENCE / f"test-{precision}.csv"), clinical
    )
    found = [
        quality
        for detection in (evaluation.referable, evaluation.vision_threatening)
        for quality in detection.operating_points
    ]
    assert len(found) == 4
    for quality in found:
        tested = quality.point.tested
        assert tested.on == f"{evaluation.n} test photographs of IDRiD from new capture sessions"
        for said, estimate in (
            (tested.sensitivity, quality.sensitivity),
            (tested.specificity, quality.specificity),
        ):
            limits = (estimate.value, estimate.low, estimate.high)
            # The manifest rounds figures that the evidence had rounded to six digits.
            assert (said.value, said.low, said.high) == pytest.approx(limits, abs=5.1e-5)
            assert said.n == estimate.n


def test_writing_the_manifests_again_changes_nothing(metrics, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(SCRIPTS))
    from write_packaged_manifests import renew_manifests

    for precision in MOST_BYTES:
        shutil.copy(box_artifact(precision), tmp_path)
    renew_manifests(tmp_path, metrics["test"])
    for precision in MOST_BYTES:
        archive = box_artifact(precision)
        assert (tmp_path / archive.name).read_bytes() == archive.read_bytes()
        assert metrics["archives"][precision]["archive_bytes"] == archive.stat().st_size
    digest = extract_archive(box_artifact("fp32"), tmp_path / "fp32").digest
    int8 = read_manifest_in_archive(box_artifact("int8"))
    assert int8.quantization.reference_digest == digest


def read_together(precision):
    """The predictions for every photograph that the predicting network was not trained on."""
    parts = [GradedSet.read_csv(EVIDENCE / f"{part}-{precision}.csv") for part in ("oof", "test")]
    return GradedSet(
        sum((part.files for part in parts), ()),
        np.concatenate([part.groups for part in parts]),
        np.concatenate([part.labels for part in parts]),
        np.concatenate([part.probabilities for part in parts]),
        sum((part.reasons for part in parts), ()),
    )


def flag_together(precision):
    """The decisions at each operating point: cross-fitted out of fold, locked on the test."""
    trained = GradedSet.read_csv(EVIDENCE / f"oof-{precision}.csv", {"fold": "the test"})
    numbers = trained.columns["fold"]
    folds = [
        Fold(np.flatnonzero(numbers != one), np.flatnonzero(numbers == one)) for one in set(numbers)
    ]
    _, flags = calibrate_and_flag_cross_fitted(trained.labels, trained.probabilities, folds)
    tested = GradedSet.read_csv(EVIDENCE / f"test-{precision}.csv")
    clinical = read_manifest_in_archive(box_artifact(precision)).clinical
    locked = flag_at_operating_points(clinical, tested)
    assert set(flags) == set(locked)
    return {point: np.concatenate([flags[point], locked[point]]) for point in locked}


def test_the_int8_grader_has_the_verdict_that_its_predictions_deserve(metrics):
    fp32, int8 = (read_manifest_in_archive(box_artifact(precision)) for precision in MOST_BYTES)
    found = metrics["int8_against_fp32"]
    verdict = decide_non_inferiority(
        read_together("fp32"),
        read_together("int8"),
        grade_thresholds=fp32.grade_thresholds,
        reference_flags=flag_together("fp32"),
        quantized_flags=flag_together("int8"),
        margin=found["margin"],
        seed=0,
    )
    said = (int8.quantization.verdict, int8.quantization.reason)
    assert said == (found["verdict"], found["reason"]) == (verdict.outcome, verdict.reason)
    # A refused model may be packaged, but no command takes it by itself to grade photographs.
    assert box_artifact() == box_artifact("fp32")
    assert int8.quantization.images == found["n"]
    assert fp32.quantization is None


def test_int8_has_decisions_of_its_own(metrics):
    fp32, int8 = (read_manifest_in_archive(box_artifact(one)).clinical for one in MOST_BYTES)
    assert "int8" in int8.chosen_on
    assert int8.operating_points != fp32.operating_points
    assert int8.temperature == metrics["out_of_fold_int8"]["temperature"]


def test_the_stored_folds_are_those_of_the_training(shared):
    dataset = load_dataset(shared / "data" / "idrid_512", names=OWN_NAMES)
    training = set_copies_aside(dataset).select_training_part()
    numbers = {}
    for number, fold in enumerate(split_into_grouped_folds(training, 5, seed=0)):
        for at in fold.validation:
            numbers[training.photographs[at].name] = str(number)
    for precision in MOST_BYTES:
        stored = GradedSet.read_csv(EVIDENCE / f"oof-{precision}.csv", {"fold": "the test"})
        assert dict(zip(stored.files, stored.columns["fold"], strict=True)) == numbers


def test_every_processor_gives_the_answers_of_the_card(shared):
    """The stored predictions come from another processor."""
    card = " ".join((FOLDER / "MODEL_CARD.md").read_text().split())
    assert "its answers are the same, to nine digits, in int8 and in fp32" in card
    dataset = load_dataset(shared / "data" / "idrid_512", names=OWN_NAMES)
    place = {photograph.name: at for at, photograph in enumerate(dataset.photographs)}
    for precision in MOST_BYTES:
        stored = GradedSet.read_csv(EVIDENCE / f"test-{precision}.csv")
        unseen = dataset.select_by_index([place[name] for name in stored.files])
        here = predict_dataset(InferenceService.load(box_artifact(precision)), unseen)
        assert here.reasons == stored.reasons
        np.testing.assert_allclose(here.probabilities, stored.probabilities, rtol=0, atol=1e-8)


def test_the_model_card_quotes_the_figures_and_the_limits(metrics):
    card = (FOLDER / "MODEL_CARD.md").read_text()
    cross_fitted = metrics["out_of_fold"]["cross_fitted"]
    figures = [cross_fitted["kappa"], cross_fitted["ece"]]
    figures += [point["sensitivity"] for point in cross_fitted["operating_points"]]
    for part in (metrics["test"]["fp32"], metrics["test"]["int8"]):
        referable = part["referable"]
        figures += [part["kappa"], part["ece"], referable["auroc"], referable["specificity"]]
        figures += [referable["calibration"]["slope"]]
    for figure in figures:
        text = f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
        assert text in card
    assert card.index("**Test.**") < card.index("**Out of fold.**")
    for promise in ("For research use. Not a medical device.", "CC BY 4.0", "IDRiD", "drusen"):
        assert promise in card


def test_the_model_card_says_what_each_threshold_promises_and_keeps(metrics):
    card = (FOLDER / "MODEL_CARD.md").read_text()
    for precision in MOST_BYTES:
        for disease, grade in (("referable", 2), ("vision_threatening", 3)):
            kept = metrics["test"][precision][disease]["operating_points"]["high_sensitivity"]
            figures = [
                "{value:.3f} ({low:.3f} to {high:.3f})".format(**kept[name])
                for name in ("sensitivity", "specificity")
            ]
            row = f"| {precision}, grade >= {grade} | {HIGH_SENSITIVITY} | {' | '.join(figures)} |"
            assert row in card


def test_the_readme_says_what_the_default_decision_keeps(metrics):
    readme = (ROOT / "README.md").read_text()
    for precision in MOST_BYTES:
        kept = metrics["test"][precision]["referable"]["operating_points"]["high_sensitivity"]
        for name in ("sensitivity", "specificity"):
            value, low, high = (f"{100 * kept[name][at]:.0f}" for at in ("value", "low", "high"))
            # Both models find the same share, which is said once.
            assert f"{value} % ({low} to {high} %)" in " ".join(readme.split())


def test_a_missing_precision_is_refused_with_what_to_do():
    with pytest.raises(
        ArtifactError, match=r"This installation has no packaged grader in bf16.*make model"
    ):
        box_artifact("bf16")
