"""The grader in the box is what its model card says it is."""

import json
from pathlib import Path

import pytest

from drdeploy.errors import ArtifactError
from drdeploy.grader.artifacts import extract, inspect
from drdeploy.grader.box import FOLDER, box_artifact
from drdeploy.grader.evaluation.document import evaluation_document
from drdeploy.grader.evaluation.evaluation import evaluate_graded
from drdeploy.grader.evaluation.predictions import GradedSet

EVIDENCE = Path(__file__).resolve().parents[2] / "evidence" / "mobilenet-idrid"
MOST_BYTES = {"fp32": 14_000_000, "int8": 4_500_000}


@pytest.fixture(scope="module")
def metrics():
    return json.loads((EVIDENCE / "metrics.json").read_text())


@pytest.mark.parametrize("precision", MOST_BYTES)
def test_an_archive_in_the_box_is_sound_trained_and_small(metrics, tmp_path, precision):
    archive = box_artifact(precision)
    manifest = extract(archive, tmp_path).manifest  # checks every digest
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
    graded = GradedSet.read(EVIDENCE / "oof.csv")
    evaluation = evaluate_graded(graded, inspect(box_artifact()).clinical)
    computed = evaluation_document(evaluation, graded)
    for name in ("n", "kappa", "accuracy", "confusion", "referable", "vision_threatening", "ece"):
        assert is_part_of(metrics["out_of_fold"][name], computed[name]), f"{name}: run make model"


def test_the_int8_grader_says_what_was_found_of_it(metrics):
    int8 = inspect(box_artifact("int8")).quantization
    found = metrics["int8_against_fp32"]
    assert (int8.verdict, int8.reason) == (found["verdict"], found["reason"])
    assert int8.verdict != "refused"
    assert int8.images == found["n"]
    assert inspect(box_artifact("fp32")).quantization is None


def test_the_model_card_quotes_the_figures_and_the_limits(metrics):
    card = (FOLDER / "MODEL_CARD.md").read_text()
    for part in (metrics["out_of_fold"], metrics["test"]["fp32"], metrics["test"]["int8"]):
        for figure in (part["kappa"], part["referable"]["auroc"], part["ece"]):
            text = f"{figure['value']:.3f} ({figure['low']:.3f} to {figure['high']:.3f})"
            assert text in card
    for promise in ("For research use. Not a medical device.", "CC BY 4.0", "Apache-2.0", "IDRiD"):
        assert promise in card


def test_a_missing_precision_is_refused_with_what_to_do():
    with pytest.raises(ArtifactError, match=r"no bf16 grader in the box.*make model"):
        box_artifact("bf16")
