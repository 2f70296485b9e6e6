"""A prevalence is set in an artifact without graded photographs, and reaches every answer."""

import csv
import json
import re
import shutil
from pathlib import Path

import msgspec
import numpy as np
import pytest
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.cli.grade import print_rows_as_table
from drdeploy.clinic.graded_rows import grade_file, make_row_of_answer, write_rows_as_csv
from drdeploy.errors import InvalidInput, ManifestError
from drdeploy.grader.artifacts import open_artifact, read_manifest_in_archive
from drdeploy.grader.artifacts.manifest import check_manifest
from drdeploy.grader.box import box_artifact
from drdeploy.grader.evaluation.evaluate import evaluate
from drdeploy.grader.evaluation.prevalence import find_shares_during_calibration
from drdeploy.grader.inference import InferenceService
from drdeploy.grader.quantization.quantize import quantize
from drdeploy.grader.recalibration import set_prevalence
from drdeploy.hosting.serving.answer import ContainerFacts, ModelFacts, make_json_answer
from drdeploy.photograph_names import OWN_NAMES

EXAMPLES = Path(__file__).resolve().parents[3] / "examples" / "photographs"


@pytest.fixture(scope="module")
def rare(tmp_path_factory):
    """The packaged grader for a clinic where 10 % of the eyes have grade 2 or worse."""
    archive = tmp_path_factory.mktemp("rare") / "rare.tar.gz"
    return set_prevalence(box_artifact(), 0.1, archive)


@pytest.fixture(scope="module")
def ungraded(shared, tmp_path_factory):
    """Sixty of IDRiD's test photographs, a copy of one of them, and a file that is no picture."""
    folder = tmp_path_factory.mktemp("ungraded")
    files = sorted((shared / "data" / "idrid_512" / "test").glob("*.jpg"))[:60]
    for file in files:
        shutil.copy(file, folder)
    shutil.copy(files[0], folder / "copy.jpg")
    (folder / "broken.jpg").write_bytes(b"no picture")
    return folder


def odds(share):
    return share / (1 - share)


def test_the_odds_of_disease_move_by_the_ratio_of_the_prevalences(rare):
    photograph = min(EXAMPLES.glob("*.jpg"))
    [before] = grade_file(InferenceService.load(box_artifact()), photograph, OWN_NAMES)
    [after] = grade_file(InferenceService.load(rare.archive), photograph, OWN_NAMES)
    share = find_shares_during_calibration(
        read_manifest_in_archive(box_artifact()).clinical
    ).at_or_above[2]
    assert rare.during_calibration == share
    assert odds(after.at_prevalence.probability_referable) == pytest.approx(
        odds(before.probability_referable) * odds(0.1) / odds(share), rel=1e-3
    )
    severe_among_diseased = before.probability_vision_threatening / before.probability_referable
    assert after.at_prevalence.probability_vision_threatening == pytest.approx(
        after.at_prevalence.probability_referable * severe_among_diseased, rel=1e-3
    )
    for decision in ("grade", "referable", "screening", "referable_rule", "probabilities"):
        assert getattr(after, decision) == getattr(before, decision)
    assert before.at_prevalence is None


def test_a_server_answers_with_the_probabilities_that_grade_shows(rare, tmp_path, capsys):
    photograph = min(EXAMPLES.glob("*.jpg"))
    service = InferenceService.load(rare.archive)
    [row] = grade_file(service, photograph, OWN_NAMES)
    answer = make_json_answer(
        service.infer([photograph.read_bytes()]),
        manifest=service.manifest,
        model=ModelFacts("rare", "", "fp32", "trained", "onnxruntime"),
        container=ContainerFacts("here", 1),
        request_latency_s=0.0,
    )
    body = msgspec.json.encode(answer)
    assert json.loads(body)["at_prevalence"]["prevalence"] == 0.1
    assert make_row_of_answer("x", body).at_prevalence == row.at_prevalence
    table = tmp_path / "rows.csv"
    write_rows_as_csv(table, [row], service.manifest.classes)
    with table.open(encoding="utf-8") as file:
        [cells] = csv.DictReader(file)
    shown = row.at_prevalence.probability_referable
    assert float(cells["probability_referable_at_prevalence"]) == shown
    print_rows_as_table([row])
    printed = capsys.readouterr().out
    assert f"{shown:.3f}" in printed
    assert "at a prevalence of 10.0%" in " ".join(printed.split())


def test_inspect_tells_the_prevalence(rare):
    shown = CliRunner().invoke(build_app(), ["artifact", "inspect", str(rare.archive)])
    assert re.search(r"prevalence:\n\s+prevalence\s+0\.1\n\s+how\s+stated", shown.stdout)


def test_an_evaluation_uses_the_prevalence_of_the_artifact(rare, ungraded, shared, tmp_path):
    source = shared / "data" / "idrid_512"
    with (source / "labels.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["split"] == "test"][:30]
    with (tmp_path / "labels.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("file", "icdr_grade"))
        writer.writerows((str(source / row["file"]), row["icdr_grade"]) for row in rows)
    own = evaluate(tmp_path, rare.archive)
    given = evaluate(tmp_path, rare.archive, prevalence=0.3)
    plain = evaluate(tmp_path, box_artifact())
    assert own.evaluation.referable.prevalence == 0.1
    assert given.evaluation.referable.prevalence == 0.3
    assert own.evaluation.referable.sensitivity == plain.evaluation.referable.sensitivity
    assert [one.adjusted.how for one in own.details.adjustments] == ["estimated", "stated"]
    assert any("has a prevalence of 10.0% (stated)" in note for note in own.notes)


def test_the_prevalence_is_estimated_from_ungraded_photographs(ungraded, tmp_path):
    out = tmp_path / "new.tar.gz"
    words = ["artifact", "set-prevalence", str(box_artifact()), "--prevalence", "estimate"]
    shown = CliRunner().invoke(
        build_app(), [*words, "--data", str(ungraded), "--out", str(out), "--json"]
    )
    document = json.loads(shown.stdout)
    found = read_manifest_in_archive(out).prevalence
    assert document["prevalence"]["prevalence"] == found.prevalence
    assert found.how == "estimated"
    assert 0.05 < found.low < found.prevalence < found.high < 0.99
    assert found.photographs == len(found.adapted_to) == 60
    notes = " ".join(document["notes"])
    assert "left out because they are copies of others: 1." in notes
    assert "left out because they cannot be graded: 1." in notes
    weights = np.array(found.grade_weights)
    expected = odds(found.prevalence) / odds(document["during_calibration"])
    assert weights[2:] / weights[0] == pytest.approx([expected] * 3, rel=1e-2)


def test_what_cannot_work_is_refused(rare, ungraded, tmp_path):
    out = tmp_path / "new.tar.gz"
    for prevalence, data, reason in (
        (1.0, None, "must be between 0 and 1"),
        (0.1, ungraded, "A stated prevalence needs no photographs"),
        ("estimate", None, "Without photographs"),
        ("estimate", tmp_path, "0 photographs can be graded, but an estimate needs at least 50"),
    ):
        with pytest.raises(InvalidInput, match=reason):
            set_prevalence(box_artifact(), prevalence, out, data=data)
    assert not out.exists()
    with pytest.raises(InvalidInput, match="Quantize the original grader"):
        quantize(rare.archive, EXAMPLES)
    words = ["model", "recalibrate", str(box_artifact()), "--data", str(ungraded)]
    shown = CliRunner().invoke(build_app(), [*words, "--prevalence", "estimate"])
    assert shown.exit_code
    assert "is counted among them" in str(shown.exception or shown.stderr)
    manifest = open_artifact(rare.archive).manifest
    for field, value in (("prevalence", 1.5), ("grade_weights", (1.0, 1.0, 0.0, 1.0, 1.0))):
        wrong = msgspec.structs.replace(manifest.prevalence, **{field: value})
        with pytest.raises(ManifestError, match=rf"prevalence\.{field}"):
            check_manifest(msgspec.structs.replace(manifest, prevalence=wrong))


def test_a_second_prevalence_replaces_the_first(rare, tmp_path):
    again = set_prevalence(rare.archive, 0.2, tmp_path / "again.tar.gz")
    fresh = set_prevalence(box_artifact(), 0.2, tmp_path / "fresh.tar.gz")
    assert again.assumed == fresh.assumed
    assert again.notes == (
        "The new prevalence replaces the earlier prevalence of the artifact, 10.0%.",
    )
