"""`drdeploy batch run` grades as InvokeEndpoint does, and lists what fails with its reason."""

import csv
import json
from pathlib import Path

import pytest
from botocore.exceptions import ClientError
from local_aws import Aws
from photographs import photograph
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.errors import EndpointError, InvalidInput, PlanDeclined, UnknownPrice

ROOT = Path(__file__).resolve().parents[3]
ASSUMED = ROOT / "examples" / "assumed-asynchronous-and-batch-prices.toml"


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "photographs"
    folder.mkdir()
    for number in range(3):
        (folder / f"eye{number}.jpg").write_bytes(photograph(256, seed=number))
    (folder / "scan.png").write_bytes(photograph(256, kind="PNG"))
    (folder / "torn.jpg").write_bytes(photograph(256)[:200])
    (folder / "empty.jpg").write_bytes(b"")
    return folder


def run(*arguments):
    return CliRunner().invoke(build_app(), [*map(str, arguments)])


def parse(result):
    assert result.exit_code in {0, 1}, result.output
    return json.loads(result.stdout)


def without_times(answer):
    times = ("requestLatency", "predictionLatency", "timing", "container")
    return {name: value for name, value in answer.items() if name not in times}


def test_a_job_answers_as_an_endpoint_does_and_lists_the_same_failures(
    local_url, tiny_archive, folder, tmp_path
):
    table = tmp_path / "rows.csv"
    command = (
        "batch",
        "run",
        folder,
        "--artifact",
        tiny_archive,
        "--endpoint-url",
        local_url,
        "--names",
    )
    printed = parse(run(*command, "--csv", table, "--json"))
    assert printed["status"] == "Failed"
    rows = {row["image"].rpartition("/")[2]: row for row in printed["results"]}
    with table.open(newline="") as file:
        assert [line["error"] for line in csv.DictReader(file)] == [
            row["error"] for row in printed["results"]
        ]
    aws = Aws.at(local_url)
    uploaded = aws.s3.put_object(
        Bucket="drdeploy", Key="tiny.tar.gz", Body=tiny_archive.read_bytes()
    )["ResponseMetadata"]["HTTPStatusCode"]
    assert uploaded == 200
    endpoint = aws.endpoint(
        url="s3://drdeploy/tiny.tar.gz", InstanceType="ml.m5.large", InitialInstanceCount=1
    )
    keys = aws.s3.list_objects_v2(Bucket="drdeploy", Prefix=f"batch/{printed['job']}/")["Contents"]
    outputs = [one["Key"] for one in keys]
    assert [key for key in outputs if "/input/" in key] == []
    answered = 0
    for number, path in enumerate(sorted(folder.iterdir())):
        key = f"batch/{printed['job']}/output/{number:06d}.out"
        try:
            invoked = aws.invoke(endpoint, path.read_bytes(), ContentType="application/x-image")
        except ClientError as err:
            message = json.loads(err.response["OriginalMessage"])["error"]["message"]
            assert rows[path.name]["error"] == message
            assert key not in outputs
            continue
        written = json.loads(aws.s3.get_object(Bucket="drdeploy", Key=key)["Body"].read())
        assert without_times(written) == without_times(invoked)
        assert rows[path.name]["probabilities"] == invoked["predictions"][0]
        answered += 1
    assert answered == 4


def test_no_version_of_an_uploaded_photograph_stays_in_a_bucket_that_keeps_versions(
    local_url, tiny_archive, folder
):
    """The bucket that the Terraform module batch-transform makes keeps versions."""
    s3 = Aws.at(local_url).s3
    s3.create_bucket(Bucket="kept")
    s3.put_bucket_versioning(Bucket="kept", VersioningConfiguration={"Status": "Enabled"})
    printed = parse(
        run("batch", "run", folder / "eye0.jpg", "-a", tiny_archive, "--endpoint-url", local_url,
            "--bucket", "kept", "--json")
    )  # fmt: skip
    assert printed["status"] == "Completed"
    left = s3.list_object_versions(Bucket="kept", Prefix=f"batch/{printed['job']}/input/")
    assert (left.get("Versions"), left.get("DeleteMarkers")) == (None, None)


def test_photographs_in_s3_are_graded_where_they_lie(local_url, tiny_archive):
    s3 = Aws.at(local_url).s3
    s3.create_bucket(Bucket="eyes")
    for number in range(2):
        s3.put_object(Bucket="eyes", Key=f"day/{number}.jpg", Body=photograph(256, seed=number))
    printed = parse(
        run(
            "batch",
            "run",
            "s3://eyes/day",
            "-a",
            tiny_archive,
            "--endpoint-url",
            local_url,
            "--json",
        )
    )
    assert printed["status"] == "Completed"
    assert len(printed["results"]) == 2
    assert printed["startup_s"] > 0
    kept = s3.list_objects_v2(Bucket="eyes", Prefix="day/")["Contents"]
    assert len(kept) == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("s3://eyes/none/",), "holds no object"),
        (("s3://eyes/day/", "here"), "A job takes either one s3://BUCKET/FOLDER/"),
        (("s3://eyes/day/", "--artifact", "no.tar.gz"), "The artifact does not exist"),
        (("nowhere",), "There is no such file or folder"),
        (("s3://eyes/day/", "--instance-type", "ml.none"), "Member must satisfy enum value set"),
    ],
)
def test_what_cannot_be_a_job_is_refused(local_url, tiny_archive, arguments, message):
    s3 = Aws.at(local_url).s3
    s3.create_bucket(Bucket="eyes")
    s3.put_object(Bucket="eyes", Key="day/0.jpg", Body=photograph(256))
    result = run("batch", "run", "-a", tiny_archive, *arguments, "--endpoint-url", local_url)
    assert isinstance(result.exception, InvalidInput | EndpointError)
    assert message in str(result.exception)


def test_aws_needs_a_bucket_a_role_and_an_image_in_ecr(folder, monkeypatch):
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.delenv("DRDEPLOY_ENDPOINT_URL", raising=False)
    place = ()
    for option, value in (("--bucket", "b"), ("--role", "arn:aws:iam::1:role/r"), ("--image", "")):
        result = run("batch", "run", folder, "--region", "us-east-1", *place)
        assert isinstance(result.exception, InvalidInput)
        assert result.exception.where == option
        place = (*place, option, value)


ECR = "123456789012.dkr.ecr.us-east-1.amazonaws.com"


@pytest.mark.parametrize(
    ("image", "instances", "message"),
    [
        (f"{ECR}/drdeploy:cuda", ("ml.m5.large",), "ml.m5.large has none"),
        (f"{ECR}/drdeploy:cuda", ("ml.g5.xlarge",), "has driver 470"),
        (f"{ECR}/grader/drdeploy:cuda-0123456789abcdef", ("ml.g5.xlarge",), "has driver 470"),
        (
            f"{ECR}/drdeploy:cuda",
            ("ml.g5.xlarge", "--transform-ami-version", "al2-ami-sagemaker-batch-gpu-535"),
            "has driver 535",
        ),
        ("cuda", ("ml.m5.large",), "ml.m5.large has none"),
    ],
)
def test_an_image_that_cannot_start_is_refused_before_anything_is_uploaded(
    folder, image, instances, message
):
    result = run(
        "batch", "run", folder, "--region", "us-east-1", "--bucket", "b", "--role",
        "arn:aws:iam::1:role/r", "--image", image, "--instance-type", *instances,
    )  # fmt: skip
    assert isinstance(result.exception, InvalidInput)
    assert message in str(result.exception)


LARGE = {"instance_type": "ml.m5.large"}


def test_no_job_starts_on_aws_without_approval(folder, tiny_archive, monkeypatch):
    class SentToAws(Exception):
        """The first request that would have been sent to AWS."""

    def connect(*_arguments, **_options):
        raise SentToAws

    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("DRDEPLOY_ENDPOINT_URL", raising=False)
    monkeypatch.setattr("drdeploy.hosting.sagemaker.client.Hosting.connect", connect)
    words = (
        *("batch", "run", str(folder), "--artifact", str(tiny_archive), "--bucket", "eyes"),
        *("--role", "arn:aws:iam::1:role/r", "--instance-count", "2"),
        *("--image", "1.dkr.ecr.us-east-1.amazonaws.com/drdeploy:lean"),
    )
    refused = run(*words, "--yes")
    assert isinstance(refused.exception, UnknownPrice)
    priced = (*words, "--prices", str(ASSUMED))
    declined = CliRunner().invoke(build_app(), priced, input="n\n")
    assert isinstance(declined.exception, PlanDeclined)
    assert "on 2 x ml.m5.large with Batch Transform; 0.23 USD an hour" in declined.stderr
    assert "Start the job?" in declined.stderr
    assert isinstance(run(*priced, "--yes").exception, SentToAws)
    accepted = run(*words, "--yes", "--accept-unknown-prices")
    assert isinstance(accepted.exception, SentToAws)
    assert "the price is not known" in accepted.stderr


@pytest.mark.parametrize("option", [("--prices", ASSUMED), ("--accept-unknown-prices",)])
def test_an_option_about_prices_is_refused_on_a_local_service(folder, tiny_archive, option):
    refused = run(
        "batch", "run", folder, "-a", tiny_archive, "--endpoint-url", "http://127.0.0.1:1", *option
    ).exception
    assert isinstance(refused, InvalidInput)
    assert f"{option[0]} would have no effect on a local service" in str(refused)


def test_the_file_of_a_recommendation_describes_the_job(local_url, tiny_archive, folder, tmp_path):
    file = tmp_path / "best.tfvars.json"
    instances = {
        "instance_type": "ml.m5.large",
        "instance_count": 1,
        "max_concurrent_transforms": 2,
    }
    file.write_text(json.dumps({"batch": instances}))
    torn = [folder / name for name in ("torn.jpg", "empty.jpg")]
    for one in torn:
        one.unlink()
    job = parse(
        run("batch", "run", folder, "-a", tiny_archive, "--endpoint-url", local_url,
            "--variables", file,
            "--json")
    )["job"]  # fmt: skip
    made = Aws.at(local_url).sagemaker.describe_transform_job(TransformJobName=job)
    assert made["TransformResources"] == {"InstanceType": "ml.m5.large", "InstanceCount": 1}
    assert made["MaxConcurrentTransforms"] == 2


@pytest.mark.parametrize(
    ("document", "arguments", "message"),
    [
        (
            {"batch": {"instance_type": "ml.m5.large"}},
            ["--concurrency", "2"],
            "--concurrency would",
        ),
        ({"endpoint": {}}, [], "describes an endpoint"),
        (
            {"batch": {"instance_type": "ml.c5.large"}},
            [],
            "for transform jobs",
        ),
        ({"batch": {"instance_type": "ml.m5.large"}, "more": 1}, [], "whose only member"),
        (
            {"batch": {"instance_type": "ml.m5.large", "max_concurrent_transforms": 101}},
            [],
            "less than or equal",
        ),
        ([], [], "whose only member is `batch`"),
    ],
)
def test_a_file_that_describes_no_job_is_refused(tmp_path, document, arguments, message):
    file = tmp_path / "best.tfvars.json"
    file.write_text(json.dumps(document))
    result = run("batch", "run", tmp_path, "--variables", file, *arguments)
    assert isinstance(result.exception, InvalidInput)
    assert message in str(result.exception)
