"""An option that would have no effect beside the others is refused by its name."""

import pytest
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.errors import InvalidInput


def refusal(*words):
    result = CliRunner().invoke(build_app(), [*map(str, words)])
    assert isinstance(result.exception, InvalidInput), result.output
    return str(result.exception)


@pytest.mark.parametrize(
    ("words", "option"),
    [
        (("recommend", "thesis-2023", "--requests", 100, "--at-grade", 3), "--at-grade"),
        (("study", "run", "quick", "--endpoint-url", "http://127.0.0.1:1", "--isolation",
            "process"), "--isolation"),
        (("study", "run", "quick", "--target", "aws", "--isolation", "process"), "--isolation"),
        (("study", "run", "quick", "--target", "aws", "--endpoint-url", "http://127.0.0.1:1"),
            "--endpoint-url"),
        (("study", "run", "quick", "--kms-key", "arn:aws:kms:us-east-1:1:key/k"), "--kms-key"),
        (("study", "run", "quick", "--keep"), "--keep"),
        (("study", "run", "quick", "--target", "local", "--accept-unknown-prices"),
            "--accept-unknown-prices"),
        (("study", "run", "quick", "--prices", "prices.toml"), "--prices"),
        (("archive", "grade", "x", "--out", "y", "--instance-type", "ml.m5.large"),
            "--instance-type"),
        (("archive", "grade", "x", "--out", "y", "--region", "eu-west-1"), "--region"),
        (("endpoint", "deploy", "eyes", "--target", "local", "--instance-type", "ml.m5.large",
            "--max-concurrency", 3), "--max-concurrency"),
        (("endpoint", "deploy", "eyes", "--target", "local", "--instance-count", 2),
            "--instance-count"),
        (("endpoint", "deploy", "eyes", "--target", "local", "--accept-unknown-prices"),
            "--accept-unknown-prices"),
        (("clinic", "serve", "x", "--endpoint-url", "http://127.0.0.1:1"), "--endpoint-url"),
        (("clinic", "serve", "x", "--region", "eu-west-1"), "--region"),
        (("study", "run", "quick", "--max-cost-usd", 5), "--max-cost-usd"),
        (("study", "run", "quick", "--target", "local", "--max-cost-usd", 5), "--max-cost-usd"),
        (("model", "train", "mobilenet", "--data", "x", "--recipe", "r.toml", "--preset", "study"),
            "--preset"),
        (("model", "evaluate", "--oof", "oof.csv", "--split", "test"), "--split"),
        (("model", "evaluate", "--oof", "oof.csv", "--new-sessions"), "--new-sessions"),
        (("model", "evaluate", "--oof", "oof.csv", "--runtime", "openvino"), "--runtime"),
        (("model", "quantize", "m.tar.gz", "--calibration", "x", "--split", "test"), "--split"),
        (("artifact", "set-prevalence", "m.tar.gz", "--prevalence", 0.1, "--seed", 3), "--seed"),
        (("artifact", "set-prevalence", "m.tar.gz", "--prevalence", 0.1, "--runtime",
            "openvino"), "--runtime"),
        (("artifact", "pack", "src", "--no-gradability"), "--no-gradability"),
        (("names", "eye.jpg", "--endpoint-url", "http://127.0.0.1:1"), "--endpoint-url"),
        (("archive", "grade", "tests", "--out", "y", "--endpoint-url", "http://127.0.0.1:1"),
            "--endpoint-url"),
        (("recommend", "thesis-2023", "--requests", 100, "--photographs-per-patient", 1,
            "--between-photographs-s", 5), "--between-photographs-s"),
        (("image", "sizes", "--json", "--top", 3), "--top"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)  # fmt: skip
def test_an_option_that_would_be_ignored_is_refused_before_anything_is_done(words, option):
    said = refusal(*words)
    assert f"{option} would have no effect" in said
    assert "Omit" in said


@pytest.mark.parametrize(
    "words",
    [("--host", "127.0.0.1"), ("--host", "192.0.2.1", "--tls-certificate", "c.pem")],
    ids=["this machine", "TLS"],
)
def test_a_listener_is_not_told_to_do_without_tls_for_nothing(tmp_path, words):
    said = refusal("clinic", "listen", tmp_path / "records", "--plain", *words)
    assert "--plain would have no effect" in said
    assert not (tmp_path / "records").exists()


def test_captured_photographs_are_deleted_only_with_a_deployment_of_this_folder(
    tmp_path, monkeypatch
):
    """Without its record, the bucket is not known; the endpoint must not be deleted either."""
    monkeypatch.chdir(tmp_path)
    words = ("endpoint", "delete", "eyes", "--endpoint-url", "http://127.0.0.1:1")
    assert "--delete-captured would have no effect" in refusal(*words, "--delete-captured")


@pytest.mark.parametrize(
    "given",
    [
        ("--weights", "random", "--weights", "imagenet"),
        ("--weights", "VGG16=random", "--weights", "vgg16=imagenet"),
    ],
    ids=["all", "one"],
)
def test_weights_that_would_replace_other_weights_are_refused(given):
    said = refusal("model", "compare", "vgg16", "vgg19", "--data", "x", *given)
    assert "name weights for the same networks" in said


def test_weights_for_no_network_are_refused():
    words = ("--weights", "vgg16=random", "--weights", "imagenet")
    said = refusal("model", "compare", "vgg16", "--data", "x", *words)
    assert "--weights imagenet would have no effect" in said


@pytest.mark.parametrize("classes", ["a,,b", "a, ,b", "cat,dog,cat", ","])
def test_every_class_has_a_name_of_its_own(classes):
    """A class without a name was dropped, so the names belonged to other outputs."""
    assert "no name, or the name of another class" in refusal(
        "artifact", "pack", "src", "--classes", classes
    )


@pytest.mark.parametrize(
    "words",
    [
        ("capacity", "eyes", "--p95", "inf"),
        ("local", "up", "--port", 0, "--vcpu-per-gb", "inf"),
        ("prices", "plan", "none.json", "--request-s", "inf"),
        ("prices", "plan", "none.json", "--request-kb", "inf"),
        ("image", "cold-start", "drdeploy:lean", "--bandwidth-mbit-s", "inf"),
        ("image", "conform", "drdeploy:lean", "-a", "m.tar.gz", "--cpus", "inf"),
    ],
    ids=lambda words: words[-2],
)
def test_an_infinite_number_is_refused(words):
    assert f"{words[-2]}: The value is not a finite number" in refusal(*words)


def test_a_plan_deletes_nothing(tmp_path):
    (tmp_path / "t.parquet").write_bytes(b"rows")
    words = ("archive", "grade", tmp_path, "--out", tmp_path / "t.parquet", "--plan", "--fresh")
    assert "--plan deletes nothing" in refusal(*words)
    assert (tmp_path / "t.parquet").read_bytes() == b"rows"


def test_an_endpoint_that_runs_has_its_own_isolation():
    words = ("capacity", "eyes", "--p95", 1, "--isolation", "process")
    assert "--isolation would have no effect on" in refusal(*words)


def test_processes_are_not_restricted_like_containers():
    words = ("local", "up", "--port", 0, "--isolation", "process", "--strict")
    assert "Processes cannot be restricted like containers" in refusal(*words)


def test_a_folder_of_photographs_that_does_not_exist_is_refused_even_if_all_is_measured(tmp_path):
    """A study whose trials are all measured reads no photographs, and would not notice."""
    words = ["study", "run", "quick", "--images", str(tmp_path / "none"), "--out", str(tmp_path)]
    result = CliRunner().invoke(build_app(), words)
    assert result.exit_code == 2
    assert "--images" in result.output
    assert "does not exist" in result.output
