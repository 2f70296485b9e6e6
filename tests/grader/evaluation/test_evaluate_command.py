"""``drdeploy model evaluate``."""

import json
import re
from html.parser import HTMLParser

import numpy as np
import pytest
from labelled_folders import write_photograph, write_table
from tiny_models import described, onnx_artifact, tiny_onnx
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.errors import InvalidInput
from drdeploy.grader.artifacts import Clinical, OperatingPoint, Rate, pack_archive
from drdeploy.grader.evaluation.predictions import GradedSet

LOCKED = Clinical(
    chosen_on="forty other photographs",
    grade_thresholds=(0.5, 0.5, 0.5, 0.5),
    operating_points=(
        OperatingPoint(
            name="high_sensitivity",
            at_or_above=2,
            threshold=0.2,
            sensitivity=Rate(0.95, 0.8, 0.99, 20),
            specificity=Rate(0.6, 0.4, 0.8, 20),
        ),
    ),
)


def run(*arguments):
    """A command that must go well; its errors are raised."""
    words = ["model", "evaluate", *map(str, arguments)]
    return CliRunner().invoke(build_app(), words, catch_exceptions=False)


def document(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


@pytest.fixture(scope="module")
def artifact(tmp_path_factory):
    """The mean colour decides; an archive with locked thresholds."""
    folder = tmp_path_factory.mktemp("locked")
    archive = folder / "locked.tar.gz"
    pack_archive(tiny_onnx(folder), archive, described("tiny", weights="trained", clinical=LOCKED))
    return archive


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """An extracted artifact without thresholds, weights random."""
    return onnx_artifact(tmp_path_factory.mktemp("other"))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Twelve photographs, a copy, a text, and a file that is not there."""
    folder = tmp_path_factory.mktemp("eyes")
    rows = [(f"{at}.jpg", at % 5) for at in range(12)]
    for file, _ in rows:
        write_photograph(folder / file, int(file.removesuffix(".jpg")))
    write_photograph(folder / "copy.jpg", 3)
    (folder / "text.jpg").write_text("no photograph")
    rows += [("copy.jpg", 3), ("text.jpg", 4), ("gone.jpg", 0)]
    write_table(folder / "labels.csv", ("file", "icdr_grade"), *rows)
    return folder


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Out-of-fold predictions of a good grader and of a worse one."""
    folder = tmp_path_factory.mktemp("run")
    random = np.random.default_rng(0)
    labels = np.arange(5).repeat(16)
    for name, noise in (("good", 0.5), ("worse", 1.4)):
        centre = labels + random.normal(0, noise, labels.size)
        shares = np.exp(-((np.arange(5) - centre[:, None]) ** 2))
        GradedSet(
            files=tuple(f"{at}.jpg" for at in range(labels.size)),
            groups=np.array([str(at // 2) for at in range(labels.size)]),
            labels=labels,
            probabilities=shares / shares.sum(axis=1, keepdims=True),
            reasons=("",) * labels.size,
        ).write_csv(folder / f"{name}.csv")
    return folder


def test_json_holds_every_figure_with_its_interval_and_n(artifact, data):
    found = document(artifact, "--data", data)
    assert found["n"] == 12
    assert found["n_per_grade"] == {"0": 3, "1": 3, "2": 2, "3": 2, "4": 2}
    figures = [found["kappa"], found["accuracy"], found["ece"], found["brier"]]
    for disease in ("referable", "vision_threatening"):
        figures += [
            found[disease][name] for name in ("auroc", "sensitivity", "specificity", "ppv", "npv")
        ]
        figures += found[disease]["ungradable_referred"].values()
    figures += found["grade_sensitivity"].values()
    for figure in figures:
        assert {"value", "low", "high", "n", "method"} <= set(figure)
        assert figure["low"] is not None or figure["reason"]
    assert "Not a medical device" in found["notice"]


def test_standard_output_carries_json_alone(artifact, data):
    result = run(artifact, "--data", data, "--json")
    json.loads(result.stdout)
    assert "grading with" not in result.stdout


def test_thresholds_are_the_artifact_s(artifact, data):
    point = document(artifact, "--data", data)["referable"]["operating_points"]["high_sensitivity"]
    assert point["threshold"] == 0.2
    assert point["sensitivity"]["n"] + point["specificity"]["n"] == 12


def test_what_cannot_be_read_is_ungradable_and_what_is_twice_is_set_aside(artifact, data):
    found = document(artifact, "--data", data, "--names")
    assert found["ungradable"]["value"] == pytest.approx(1 / 13, abs=1e-6)
    (refused,) = found["ungradable"]["files"]
    assert refused["file"] == "text.jpg"
    causes = {one["file"]: one["cause"] for one in found["data"]["set_aside"]}
    assert causes == {"copy.jpg": "duplicate", "gone.jpg": "missing"}
    referring = found["referable"]["ungradable_referred"]["sensitivity"]
    assert referring["n"] == found["referable"]["sensitivity"]["n"] + 1


def test_a_table_alone_and_a_prevalence_can_be_named(artifact, data):
    found = document(artifact, "--data", data / "labels.csv", "--prevalence", 0.4)
    assert found["n"] == 12
    assert found["referable"]["prevalence"] == 0.4


def test_two_artifacts_are_compared_eye_by_eye(artifact, other, data):
    found = document(artifact, "--data", data, "--against", other)
    comparison = found["comparison"]
    assert (comparison["first"], comparison["second"]) == ("model", "locked")
    assert comparison["n"] == 12
    assert found["against"]["n"] == 12
    lost = comparison["sensitivity_change"]["vision_threatening"]
    assert lost["lower_bound_95"] <= lost["value"]
    assert {"gained", "lost", "mcnemar_p"} <= set(lost)


def test_a_printed_comparison_has_a_specificity_for_each_sensitivity(artifact, other, data):
    printed = run(artifact, "--data", data, "--against", other).stdout
    names = re.findall(r"change of (\w+), grade >= (\d)", printed)
    assert names == [(name, at) for at in "23" for name in ("sensitivity", "specificity")]


def test_several_graders_and_sets_make_a_matrix(artifact, other, data, tmp_path):
    for at in range(4):
        write_photograph(tmp_path / "few" / f"{at}.jpg", 50 + at)
    rows = [(f"{at}.jpg", at) for at in range(4)]
    write_table(tmp_path / "few" / "labels.csv", ("file", "icdr_grade"), *rows)
    found = document(artifact, other, "--data", data, "--data", tmp_path / "few")
    assert found["matrix"]["rows"] == ["locked", "model"]
    assert found["matrix"]["columns"] == [data.name, "few"]
    assert found["matrix"]["n"] == [[12, 4], [12, 4]]
    assert len(found["evaluations"]) == 4
    alone = document(other, "--data", tmp_path / "few")
    assert found["matrix"]["kappa"][1][1] == alone["kappa"]
    assert found["matrix"]["referable_auroc"][1][1] == alone["referable"]["auroc"]


def test_predictions_in_a_file_are_evaluated_without_a_photograph(tables):
    found = document("--oof", tables / "good.csv")
    assert found["n"] == 80
    assert found["kappa"]["value"] > 0.7
    assert found["referable"]["operating_points"] == {}
    assert "most probable grade" in found["notes"][0]


def test_an_artifact_lends_its_thresholds_to_a_file(artifact, tables):
    found = document(artifact, "--oof", tables / "good.csv")
    assert "high_sensitivity" in found["referable"]["operating_points"]
    assert "optimistic" in found["notes"][0]


def test_a_better_grader_is_shown_to_be_better_on_the_same_photographs(tables):
    found = document("--oof", tables / "good.csv", "--against", tables / "worse.csv")
    change = found["comparison"]["kappa_change"]
    assert 0 < change["low"] < change["value"] < change["high"]


def test_the_terminal_says_the_same_and_names_severe_eyes_graded_0(artifact, data, tables):
    shown = run(artifact, "--data", data)
    found = document(artifact, "--data", data)
    assert f"{found['kappa']['value']:.3f}" in shown.stdout
    assert "set aside: 2" in shown.stdout
    assert "Not a medical device" in shown.stderr
    missed = found["severe_graded_0"]
    assert all(f"graded 0: {one['file']}" in shown.stdout for one in missed)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ([], "An evaluation needs photographs or predictions"),
        (["--data", "x", "--oof", "y"], "--data and --oof cannot be combined"),
        (["--oof", "missing.csv"], "file of predictions does not exist"),
        (["missing.tar.gz", "--oof", "y"], "artifact does not exist"),
        (["a", "b", "--oof", "y"], "only one artifact"),
        (["--data", "x", "--prevalence", "1"], "prevalence must be between 0 and 1"),
        (["--data", "missing-folder"], "folder of the data set does not exist"),
    ],
)
def test_what_cannot_be_evaluated_is_an_error_that_says_why(arguments, complaint):
    with pytest.raises(InvalidInput, match=complaint):
        run(*arguments)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--by", "site"], r"--by names the column 'site', which the table.*icdr_grade"),
        (["--by", "file"], "has 80 different values; subgroups need 2 to 20"),
        (["--second-label", "file"], "no ICDR grade from 0 to 4"),
        (["--patient", "nobody"], "--patient names the column 'nobody', which the table"),
        (["--prevalence", "estimate"], "artifact has no usable operating points at grades 2 and 3"),
        (["--prevalence", "often"], "prevalence must be between 0 and 1, not often"),
    ],
)
def test_what_the_table_does_not_have_is_an_error_that_says_so(tables, arguments, complaint):
    with pytest.raises(InvalidInput) as caught:
        run("--oof", tables / "good.csv", *arguments)
    assert re.search(complaint, f"{caught.value}")


def test_patients_and_cameras_come_from_the_table_of_labels(artifact, data, tmp_path):
    rows = [(data / f"{at}.jpg", at % 5, f"person {at // 2}", "AB"[at % 2]) for at in range(12)]
    write_table(tmp_path / "labels.csv", ("file", "icdr_grade", "who", "Camera"), *rows)
    asked = ["--by", "patient", "--by", "camera", "--patient", "who"]
    found = document(artifact, "--data", tmp_path, *asked)
    assert found["groups"] == {"unit": "patient", "n": 6}
    assert (found["patients"]["unit"], found["patients"]["n"]) == ("patient", 6)
    assert [(one["value"], one["n"]) for one in found["subgroups"]["camera"]] == [
        ("A", 6),
        ("B", 6),
    ]
    assert found["flow"]["read"] == 12
    with pytest.raises(InvalidInput, match="not known which photographs show the same patient"):
        run(artifact, "--data", data, "--by", "patient")


def test_the_grader_in_the_box_is_evaluated_if_none_is_named(shared, tmp_path):
    folder = shared / "data" / "idrid_512"
    lines = (folder / "labels.csv").read_text().splitlines()
    chosen = [line.split(",") for line in lines[1:] if line.split(",")[1] == "train"][:6]
    rows = [(folder / file, grade, session) for file, _, _, grade, _, session, _ in chosen]
    write_table(tmp_path / "labels.csv", ("file", "icdr_grade", "session_group"), *rows)
    found = document("--data", tmp_path)
    assert found["grader"]["weights"] == "trained"
    assert found["n"] == 6
    assert set(found["referable"]["operating_points"]) == {"high_sensitivity", "balanced"}


# ---- the page -----------------------------------------------------------------------------


class Parsed(HTMLParser):
    """Ids, links, tags and text of a page."""

    def __init__(self, text):
        super().__init__()
        self.ids, self.links, self.open, self.words = [], [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        self.links += [
            value for name, value in attrs if name in {"href", "src", "xlink:href"} and value
        ]

    def handle_data(self, data):
        self.words.append(data)

    @property
    def text(self):
        return re.sub(r"\s+", " ", " ".join(self.words))


@pytest.fixture(scope="module")
def written(artifact, other, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("out") / "evaluation"
    run(artifact, other, "--data", data, "--against", other, "--out", folder, "--names")
    return folder


def test_the_page_is_self_contained(written):
    page = Parsed((written / "evaluation.html").read_text())
    assert page.links
    assert all(link.startswith("#") for link in page.links)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))
    assert "://" not in re.sub(
        r"http://www\.w3\.org/\S+", "", (written / "evaluation.html").read_text()
    )


def test_the_page_shows_the_notice_first_and_what_the_json_holds(written):
    found = json.loads((written / "evaluation.json").read_text())["evaluations"][0]
    text = Parsed((written / "evaluation.html").read_text()).text
    assert text.index("Not a medical device") < text.index("kappa")
    assert f"{found['kappa']['value']:.3f}" in text
    assert f"{100 * found['referable']['sensitivity']['value']:.1f} %" in text
    assert "95.0% / 60.0%" in text  # what the operating point promised
    for name in ("Confusion matrix", "ROC", "Reliability", "Risk and coverage"):
        assert name in text


def test_the_page_lists_what_was_missed_refused_set_aside_and_changed(written):
    evaluations = json.loads((written / "evaluation.json").read_text())["evaluations"]
    text = Parsed((written / "evaluation.html").read_text()).text
    assert "text.jpg (grade 4)" in text
    assert "copy.jpg: copy of 3.jpg" in text
    for evaluation in evaluations:
        for miss in evaluation["severe_graded_0"]:
            assert f"{miss['file']}: grade {miss['icdr_grade']}" in text
        for change in evaluation["comparison"]["changed"]:
            line = f"label {change['icdr_grade']}, {change['first']} becomes {change['second']}"
            assert f"{change['file']}: {line}" in text


def test_predictions_are_kept_and_can_be_evaluated_again(written, artifact):
    first = json.loads((written / "evaluation.json").read_text())["evaluations"][0]
    again = document(artifact, "--oof", written / "predictions-1.csv", "--names")
    assert again["kappa"] == first["kappa"]
    assert again["ungradable"] == first["ungradable"]


def test_names_are_escaped_in_the_page(tmp_path, tables):
    path = tmp_path / "<b>" / "oof.csv"
    path.parent.mkdir()
    path.write_text((tables / "good.csv").read_text().replace("79.jpg", "<i>.jpg"))
    run("--oof", path, "--out", tmp_path / "out")
    page = (tmp_path / "out" / "evaluation.html").read_text()
    assert "&lt;b&gt;" in page
    assert "<b>/oof" not in page


def test_a_set_of_which_nothing_can_be_graded_has_a_page_too(artifact, tmp_path):
    (tmp_path / "text.jpg").write_text("no photograph")
    write_table(tmp_path / "labels.csv", ("file", "icdr_grade"), ("text.jpg", 4))
    found = document(artifact, "--data", tmp_path, "--out", tmp_path / "out")
    assert (found["n"], found["kappa"]["value"]) == (0, None)
    assert "No photograph could be graded" in (tmp_path / "out" / "evaluation.html").read_text()
