"""``drdeploy study`` shows before it spends, and says what is wrong in words."""

import json

import pytest
from typer.testing import CliRunner

from drdeploy.cli.study import app
from drdeploy.errors import EndpointError, StudyError


def invoke(*arguments):
    return CliRunner().invoke(app, arguments)


def test_plan_shows_trials_duration_and_cost_and_writes_nothing(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    answer = json.loads(invoke("plan", "thesis", "--json").stdout)
    assert len(answer["trials"]) == 26
    assert answer["invocations"] == 484
    assert 8 < answer["worst_case_cost_usd"] < 9
    assert answer["expected_duration_s"] > 27 * 3600
    assert list(tmp_path.iterdir()) == []


def test_plan_prints_every_trial_for_people():
    text = invoke("plan", "quick", "--only", "vgg19").stdout
    assert text.count("vgg19-fp32-lean") == 6
    assert "at most" in text


def test_status_of_a_study_that_was_not_begun_is_nothing_measured(tmp_path):
    answer = json.loads(invoke("status", "quick", "--out", str(tmp_path), "--json").stdout)
    assert [one["measured"] for one in answer] == [0] * 12


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        (["--target", "aws"], "but only 0.00 USD are allowed"),
        (["--only", "nonesuch"], "No trial matches"),
    ],
)
def test_what_cannot_or_must_not_run_is_refused(tmp_path, options, reason):
    result = invoke("run", "quick", "--out", str(tmp_path), *options)
    assert isinstance(result.exception, StudyError)
    assert reason in str(result.exception)
    assert list(tmp_path.iterdir()) == []


def test_a_local_service_that_is_not_there_is_named():
    from drdeploy.study.running.target import connect_to_local_service

    with pytest.raises(EndpointError, match=r"drdeploy local up"):
        connect_to_local_service("http://127.0.0.1:9")


def test_a_local_service_elsewhere_is_refused():
    from drdeploy.study.running.target import connect_to_local_service

    with pytest.raises(StudyError, match="on this machine"):
        connect_to_local_service("http://192.0.2.1:8765")


def test_resources_of_a_study_can_be_deleted_after_its_artifact_was_moved(tmp_path):
    study = tmp_path / "mine.toml"
    study.write_text(
        'title = "Mine"\n[models.m]\nartifact = "moved.tar.gz"\n'
        '[images.lean]\ntag = "drdeploy:lean"\nprofile = "lean"\n[[trials]]\nmodels = ["m"]\n'
        'images = ["lean"]\nendpoints = [{kind = "serverless", memory_mb = 1024}]\n'
        'scenarios = [{kind = "cold", n = 2, interval_s = 1}]\n'
    )
    out = ["--out", str(tmp_path / "results")]
    assert "The artifact does not exist" in str(invoke("plan", str(study)).exception)
    assert "no record of resources" in str(invoke("delete", str(study), *out).exception)
    assert json.loads(invoke("status", str(study), *out, "--json").stdout)[0]["of"] == 2
