"""A grader is adapted to photographs of another camera, imitated from IDRiD's test photographs."""

import csv
import json
import re
from dataclasses import replace
from datetime import UTC, datetime

import msgspec
import numpy as np
import pytest
from PIL import Image, ImageFilter
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.errors import InvalidInput, ManifestError
from drdeploy.grader.artifacts import open_artifact, pack_archive, read_manifest_in_archive
from drdeploy.grader.artifacts.manifest import check_manifest
from drdeploy.grader.box import box_artifact
from drdeploy.grader.datasets import load_dataset
from drdeploy.grader.evaluation.checklist import fill_reporting_checklist
from drdeploy.grader.evaluation.document import build_json_document
from drdeploy.grader.evaluation.evaluate import evaluate
from drdeploy.grader.evaluation.graders import (
    Grader,
    MatrixCell,
    choose_test_photographs,
    collect_notes_on_grader,
    find_known_photographs,
)
from drdeploy.grader.evaluation.page import render_evaluation_page
from drdeploy.grader.evaluation.training_photographs import list_short_digests
from drdeploy.grader.grading.adjustment import adjust_probabilities
from drdeploy.grader.grading.grade import Grade
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.quantization.quantize import quantize
from drdeploy.grader.recalibration.fit import fit_adjustment
from drdeploy.grader.recalibration.gains import (
    DEFAULT_POINT,
    GraderState,
    RecalibrationGain,
    warn_about_specificity,
)
from drdeploy.grader.recalibration.recalibrate import recalibrate
from drdeploy.photograph_names import OWN_NAMES
from drdeploy.statistics.proportions import estimate_proportion

COLUMNS = ("file", "icdr_grade", "patient")


@pytest.fixture(scope="module")
def clinic(shared, tmp_path_factory):
    """IDRiD's test photographs as another camera would take them: warmer, softer, smaller."""
    source = shared / "data" / "idrid_512"
    folder = tmp_path_factory.mktemp("clinic")
    warm = [min(255, int(level * gain)) for gain in (1.15, 0.8, 0.7) for level in range(256)]
    rows = []
    with (source / "labels.csv").open(encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["split"] == "test":
                with Image.open(source / row["file"]) as eye:
                    softer = eye.resize((280, 280), Image.Resampling.BILINEAR).filter(
                        ImageFilter.GaussianBlur(1.5)
                    )
                name = f"{row['image_id']}.jpg"
                softer.point(warm).save(folder / name, quality=92)
                rows.append((name, row["icdr_grade"], row["session_group"]))
    write_labels(folder / "labels.csv", rows)
    return folder


def write_labels(path, rows):
    with path.open("w", encoding="utf-8", newline="") as file:
        csv.writer(file).writerows([COLUMNS, *rows])


def read_labels(folder):
    with (folder / "labels.csv").open(encoding="utf-8") as file:
        return [tuple(row[name] for name in COLUMNS) for row in csv.DictReader(file)]


@pytest.fixture(scope="module")
def recalibrated(clinic, tmp_path_factory):
    """The packaged grader after the command, and what the command printed as JSON."""
    folder = tmp_path_factory.mktemp("recalibrated")
    words = ["model", "recalibrate", str(box_artifact()), "--data", str(clinic)]
    out = folder / "ours.tar.gz"
    shown = CliRunner().invoke(build_app(), [*words, "--out", str(out)], catch_exceptions=False)
    assert re.search(r"calibration slope, grade >= 2.*\(.*\).*\(.*\)", shown.stdout)
    report = folder / "ours-recalibration.json"
    return out, json.loads(report.read_text("utf-8"))


def test_the_manifest_says_what_was_adapted_on_what(recalibrated, clinic):
    archive, document = recalibrated
    manifest = read_manifest_in_archive(archive)
    found = manifest.recalibration
    assert found is not None
    assert document["recalibration"] == json.loads(msgspec.json.encode(found))
    n = len(read_labels(clinic)) - len(document["left_out"])
    assert n > 95
    assert found.photographs == sum(found.photographs_per_grade) == n
    assert found.adapted_on == f"{n} photographs of {found.groups} patients in {clinic.name}"
    assert found.prevalence == pytest.approx(sum(found.photographs_per_grade[2:]) / n, abs=1e-4)
    assert found.original_digest == open_artifact(box_artifact()).digest
    original = read_manifest_in_archive(box_artifact())
    assert manifest.files == original.files, "the network stays as it is"
    assert manifest.clinical.grade_thresholds == original.clinical.grade_thresholds
    assert manifest.clinical.chosen_on == found.adapted_on


def test_the_gain_is_cross_fitted_and_has_intervals(recalibrated):
    archive, document = recalibrated
    before, after = document["gain"]["before"], document["gain"]["after"]
    was, now = (state["calibration_at_grade_2"] for state in (before, after))
    assert was["slope"]["value"] < 0.8, "the other camera made the grader overconfident"
    assert was["observed_over_expected"]["high"] < 1, "and it expects too much disease"
    assert now["slope"]["low"] < 1 < now["slope"]["high"]
    assert abs(now["intercept"]["value"]) < abs(was["intercept"]["value"])
    assert was["observed_over_expected"]["high"] < now["observed_over_expected"]["value"] < 1.1
    assert document["gain"]["log_loss_change"]["high"] < 0
    for state in (before, after):
        for figure in state["calibration_at_grade_2"].values():
            assert figure["low"] < figure["value"] < figure["high"]
        assert len(state["operating_points"]) == 4
    points = {
        (point.name, point.at_or_above): point
        for point in read_manifest_in_archive(archive).clinical.operating_points
    }
    for shown in after["operating_points"]:
        point = points[(shown["name"], shown["at_or_above"])]
        assert point.sensitivity.value == pytest.approx(shown["sensitivity"]["value"], abs=1e-4)


def test_the_gain_says_what_happens_to_the_answered_grade(recalibrated, clinic, tmp_path):
    before, after = (recalibrated[1]["gain"][when] for when in ("before", "after"))
    evaluated = evaluate(clinic, box_artifact(), own_names=True).evaluation
    assert before["kappa"]["value"] == pytest.approx(evaluated.kappa.value, abs=1e-6)
    for shown, found in zip(
        before["answered_grade"], (evaluated.referable, evaluated.vision_threatening), strict=True
    ):
        assert shown["sensitivity"]["value"] == pytest.approx(found.sensitivity.value, abs=1e-6)
        assert shown["specificity"]["value"] == pytest.approx(found.specificity.value, abs=1e-6)
    stated = recalibrate(box_artifact(), clinic, tmp_path / "rare.tar.gz", prevalence=0.05)
    rare = stated.gain.document["after"]["answered_grade"][0]
    assert rare["sensitivity"]["value"] < after["answered_grade"][0]["sensitivity"]["value"]
    assert rare["sensitivity"]["low"] < rare["sensitivity"]["value"] < rare["sensitivity"]["high"]
    assert any("the answered grade misses more disease" in note for note in stated.notes)


def make_gain(*, before, after, answered=0.9):
    """The gain of a recalibration with these specificities of the default decision."""

    def make_state(specificity):
        rates = estimate_proportion(9, 10), estimate_proportion(round(100 * specificity), 100)
        graded = estimate_proportion(9, 10), estimate_proportion(round(100 * answered), 100)
        return GraderState(None, None, None, {Grade.MODERATE: graded}, {DEFAULT_POINT: rates})

    return RecalibrationGain(make_state(before), make_state(after), estimate_proportion(1, 2))


def test_a_default_decision_that_refers_most_healthy_eyes_is_warned_of():
    [warning] = warn_about_specificity(make_gain(before=0.46, after=0.14))
    assert "is only 14 % (95 % interval: 9 % to 22 %)" in warning
    assert "Before recalibration, it was 46 %." in warning
    assert not warn_about_specificity(make_gain(before=0.46, after=0.5))
    assert not warn_about_specificity(make_gain(before=0.8, after=0.8, answered=0.2))


def test_the_command_shows_the_warning_and_the_archive_is_written(clinic, tmp_path, monkeypatch):
    monkeypatch.setattr("drdeploy.grader.recalibration.gains.DEFAULT_MIN_SPECIFICITY", 0.999)
    out = tmp_path / "new.tar.gz"
    words = ["model", "recalibrate", str(box_artifact()), "--data", str(clinic), "--out", str(out)]
    shown = CliRunner().invoke(build_app(), [*words, "--json"])
    assert (shown.exit_code, out.exists()) == (0, True)
    assert "Warning: The specificity of the default decision" in " ".join(shown.stderr.split())
    assert json.loads(shown.stdout)["warnings"][0].startswith("The specificity of the default")


def test_an_evaluation_on_the_same_photographs_says_that_the_grader_knew_them(recalibrated, clinic):
    archive, document = recalibrated
    evaluated = evaluate(clinic, archive, own_names=True)
    n = document["recalibration"]["photographs"]
    assert evaluated.known.recalibrated_on == n
    assert any(f"was recalibrated on {n} of the" in note for note in evaluated.notes)
    answers = {item.topic: item.answer for item in fill_reporting_checklist(evaluated)}
    assert f"recalibrated on {n} of the" in answers["Separation of training and evaluation"]
    changes = answers["Changes to the model"]
    assert changes.startswith("The grader was recalibrated before this evaluation")
    assert f"some of these photographs are evaluated here, too: {n}." in changes
    [thresholds] = [answer for topic, answer in answers.items() if topic.startswith("Thresholds")]
    assert f"to choose the thresholds and are evaluated here, too: {n}." in thresholds
    [cell] = [MatrixCell.from_evaluated_graders(evaluated, None)]
    assert build_json_document([cell])["grader"]["recalibrated"]["photographs"] == n
    page = render_evaluation_page([cell], written_at=datetime.now(UTC))
    assert "<dt>recalibrated</dt>" in page


def test_photographs_that_the_grader_was_not_recalibrated_on_are_not_called_known(
    recalibrated, clinic
):
    archive, _ = recalibrated
    manifest = read_manifest_in_archive(archive)
    choice = choose_test_photographs(load_dataset(clinic))
    others = msgspec.structs.replace(manifest.recalibration, adapted_to=("0" * 12,))
    grader = Grader("ours", "", msgspec.structs.replace(manifest, recalibration=others))
    known = find_known_photographs(grader, choice)
    assert known.recalibrated_on == 0
    assert not collect_notes_on_grader(grader, known)
    older = msgspec.structs.replace(manifest.recalibration, adapted_to=())
    grader = Grader("ours", "", msgspec.structs.replace(manifest, recalibration=older))
    known = find_known_photographs(grader, choice)
    assert known.recalibrated_on is None
    [note] = collect_notes_on_grader(grader, known)
    assert note.startswith("The artifact does not list the photographs that it was recalibrated on")


def test_the_list_of_a_clinics_photographs_holds_only_digests(recalibrated, clinic):
    archive, _ = recalibrated
    manifest = read_manifest_in_archive(archive)
    digests = manifest.recalibration.adapted_to
    assert len(digests) == manifest.recalibration.photographs
    assert set(digests) <= set(list_short_digests(load_dataset(clinic)))
    for wrong in (("anna-meier.jpg",), (*digests, "0" * 12)):
        found = msgspec.structs.replace(manifest.recalibration, adapted_to=wrong)
        with pytest.raises(ManifestError, match=r"recalibration\.adapted_to"):
            check_manifest(msgspec.structs.replace(manifest, recalibration=found))
    shown = CliRunner().invoke(build_app(), ["artifact", "inspect", str(archive)])
    assert digests[0] not in shown.stdout


def test_the_new_artifact_answers_with_the_adapted_probabilities(recalibrated, clinic):
    archive, _ = recalibrated
    found = read_manifest_in_archive(archive).recalibration
    photograph = next(clinic.glob("*.jpg")).read_bytes()
    [before] = InferenceService.load(box_artifact()).infer([photograph])
    [after] = InferenceService.load(archive).infer([photograph])
    expected = adjust_probabilities(
        before.prediction.probabilities[None], found.temperature, found.grade_weights
    )
    assert after.prediction.probabilities == pytest.approx(expected[0], abs=1e-5)
    assert after.prediction.probabilities != pytest.approx(
        before.prediction.probabilities, abs=0.01
    )


def test_a_second_recalibration_replaces_the_first(recalibrated, clinic, tmp_path):
    archive, document = recalibrated
    again = recalibrate(archive, clinic, tmp_path / "again.tar.gz", prevalence=0.2)
    assert again.recalibration.temperature == document["recalibration"]["temperature"]
    assert again.recalibration.prevalence == 0.2
    assert again.recalibration.is_prevalence_stated
    fitted = np.array(document["recalibration"]["grade_weights"])
    ratio = np.array(again.recalibration.grade_weights) / fitted
    share = document["recalibration"]["prevalence"]
    odds = 0.2 / 0.8 / (share / (1 - share))
    assert ratio[2:] / ratio[0] == pytest.approx([odds] * 3, rel=1e-2)
    n = document["recalibration"]["photographs"]
    assert any(f"was recalibrated before, on {n} of these {n}" in note for note in again.notes)
    with pytest.raises(InvalidInput, match="Quantize the original grader"):
        quantize(archive, clinic)


@pytest.mark.parametrize(
    ("choose", "reason"),
    [
        (lambda rows: rows[:49], "49 photographs can be used, but recalibration needs at least 50"),
        (
            lambda rows: [row for row in rows if int(row[1]) < 3],
            "Only 0 of the 71 photographs have grade 3 or worse",
        ),
        (
            lambda rows: [row for row in rows if int(row[1]) >= 2][:60],
            "Only 0 of the 60 photographs have a grade below 2",
        ),
        (
            lambda rows: [(file, grade, str(at % 4)) for at, (file, grade, _) in enumerate(rows)],
            "The photographs are of 4 patients, but recalibration needs at least 20",
        ),
    ],
)
def test_too_few_photographs_are_refused_with_the_reason(clinic, tmp_path, choose, reason):
    rows = [(str(clinic / file), grade, patient) for file, grade, patient in read_labels(clinic)]
    write_labels(tmp_path / "labels.csv", choose(rows))
    with pytest.raises(InvalidInput, match=reason):
        recalibrate(box_artifact(), tmp_path, tmp_path / "new.tar.gz")
    assert not (tmp_path / "new.tar.gz").exists()


def test_photographs_that_were_set_aside_are_counted(clinic, tmp_path):
    rows = [(str(clinic / file), grade, patient) for file, grade, patient in read_labels(clinic)]
    extra = [("gone.jpg", 2, "p1"), ("gone too.jpg", 3, "p2"), (rows[0][0], rows[0][1], "p3")]
    write_labels(tmp_path / "labels.csv", rows + extra)
    outcome = recalibrate(box_artifact(), tmp_path, tmp_path / "new.tar.gz")
    (note,) = (note for note in outcome.notes if "set aside" in note)
    assert note.startswith("Photographs that were set aside: 3 (missing: 2, copies: 1).")


def test_copies_of_training_photographs_are_refused(clinic, tmp_path):
    dataset = load_dataset(clinic, names=OWN_NAMES).select_by_index(range(3))
    original = open_artifact(box_artifact())
    manifest = original.manifest
    provenance = msgspec.structs.replace(
        manifest.provenance, trained_on=list_short_digests(dataset)
    )
    archive = tmp_path / "trained.tar.gz"
    pack_archive(
        original.entry_path, archive, msgspec.structs.replace(manifest, provenance=provenance)
    )
    with pytest.raises(InvalidInput, match="trained on 3 of the 103 photographs"):
        recalibrate(archive, clinic, tmp_path / "new.tar.gz")


def test_a_fit_finds_the_temperature_and_the_shares_that_were_changed():
    random = np.random.default_rng(0)
    logits = random.normal(size=(5000, 5)) * 2
    true = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (true.cumsum(axis=1) < random.random((5000, 1))).sum(axis=1)
    weights = np.array([4.0, 2.0, 1.0, 0.5, 0.25])
    distorted = adjust_probabilities(true, 0.5, 1 / weights)
    found = fit_adjustment(labels, distorted)
    assert found.temperature == pytest.approx(2, rel=0.05)
    # The distortion divided the logits by 0.5 before it weighted them.
    assert found.grade_weights == pytest.approx(np.sqrt(weights), rel=0.1)


def test_a_manifest_with_impossible_weights_is_refused(recalibrated, tmp_path):
    artifact = open_artifact(recalibrated[0])
    for field, value in (("temperature", 0.0), ("grade_weights", (1.0, 1.0, -1.0, 1.0, 1.0))):
        wrong = msgspec.structs.replace(artifact.manifest.recalibration, **{field: value})
        with pytest.raises(ManifestError, match=f"recalibration.{field}"):
            pack_archive(
                artifact.entry_path,
                tmp_path / "wrong.tar.gz",
                msgspec.structs.replace(artifact.manifest, recalibration=wrong),
            )


def test_no_option_that_the_command_lacks_is_recommended(clinic):
    rows = read_labels(clinic)
    dataset = load_dataset(clinic)
    halves = tuple(
        replace(one, split="train" if at % 2 else "test", group=f"{at // 2}")
        for at, one in enumerate(dataset.photographs[: len(rows) // 2 * 2])
    )
    choice = choose_test_photographs(
        replace(dataset, photographs=halves), offers_new_sessions=False
    )
    assert any("share a session" in note for note in choice.test_set.notes)
    assert not any("--new-sessions" in note for note in choice.test_set.notes)
