"""``drdeploy archive grade --on batch-transform``: jobs of the local service, joined to a table."""

import csv
import json
import os
import signal
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from local_aws import Aws
from photographs import photograph
from typer.testing import CliRunner

if find_spec("pyarrow") is None and os.environ.get("CI") != "true":
    pytest.skip("needs the extra archive", allow_module_level=True)

import pyarrow.parquet as pq

from drdeploy.cli.app import build_app
from drdeploy.cli.archive_plan import ArchivePlan, print_transform_plan
from drdeploy.clinic.archive_grading.checkpoint import ArchiveJob, Shard
from drdeploy.clinic.archive_grading.costs import InstancePrices
from drdeploy.clinic.archive_grading.grading import (
    WorkerSettings,
    grade_photographs_at_places,
    read_graded_files,
)
from drdeploy.clinic.archive_grading.planning import ArchiveSample, MeasuredPhotographs
from drdeploy.clinic.archive_grading.sources import ArchivedPhotograph
from drdeploy.clinic.archive_grading.transform_job import SentPhotograph, TransformArchiveJob
from drdeploy.clinic.graded_rows import FOREIGN_ANSWER, RowColumns
from drdeploy.errors import (
    ClinicError,
    DrdeployError,
    InvalidInput,
    PlanDeclined,
    UnknownPrice,
)
from drdeploy.hosting.sagemaker import BatchTransform, PriceSheet
from drdeploy.photograph_names import OWN_NAMES, PhotographNames

ROOT = Path(__file__).resolve().parents[2]
ASSUMED = ROOT / "examples" / "assumed-asynchronous-and-batch-prices.toml"
CONTENTS = {
    **{f"{number}.jpg": photograph(256, seed=number) for number in range(5)},
    "scan.png": photograph(256, kind="PNG"),
    "torn.jpg": photograph(256)[:200],
    "empty.jpg": b"",
    "text.jpg": b"no photograph",
}


@pytest.fixture
def eyes(tmp_path):
    folder = tmp_path / "eyes"
    folder.mkdir()
    for name, content in CONTENTS.items():
        (folder / name).write_bytes(content)
    return folder


def run(*words):
    return CliRunner().invoke(build_app(), [str(word) for word in words])


def transform(source, table, tiny_archive, local_url, *more):
    return (
        *("archive", "grade", source, "--out", table, "--artifact", tiny_archive),
        *("--on", "batch-transform", "--endpoint-url", local_url, *more),
    )


def read_rows(table):
    return {row["image"].rpartition("/")[2]: row for row in pq.read_table(table).to_pylist()}


def read_graded(folder, tiny_archive, tmp_path):
    file = tmp_path / "grades.csv"
    run("grade", folder, "--artifact", tiny_archive, "--csv", file, "--names")
    with file.open(newline="") as lines:
        return {row["image"].rpartition("/")[2]: row for row in csv.DictReader(lines)}


def as_csv_text(cell):
    if cell is None:
        return ""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def without_times(row):
    return {name: as_csv_text(cell) for name, cell in row.items() if not name.endswith("_s")}


def list_jobs(local_url):
    return Aws.at(local_url).sagemaker.list_transform_jobs()["TransformJobSummaries"]


def list_objects(local_url, bucket="drdeploy"):
    found = Aws.at(local_url).s3.list_objects_v2(Bucket=bucket, Prefix="batch/").get("Contents", [])
    return [one["Key"] for one in found]


def list_objects_of_all_buckets(local_url):
    s3 = Aws.at(local_url).s3
    names = [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]]
    return {name: list_objects(local_url, name) for name in names}


def test_the_rows_of_a_folder_are_those_of_grade(local_url, tiny_archive, eyes, tmp_path):
    table = tmp_path / "t.parquet"
    done = run(*transform(eyes, table, tiny_archive, local_url, "--names", "--json"))
    assert done.exit_code == 1, done.output  # three files are no photographs
    counts = json.loads(done.stdout)
    assert (counts["rows"], counts["graded"], counts["failed"]) == (9, 6, 3)
    rows, graded = read_rows(table), read_graded(eyes, tiny_archive, tmp_path)
    assert list(rows["0.jpg"]) == list(graded["0.jpg"])
    assert {name: without_times(row) for name, row in rows.items()} == {
        name: without_times(row) for name, row in graded.items()
    }
    assert rows["0.jpg"]["predict_s"] > 0
    assert not any("/input" in key for key in list_objects(local_url))
    assert not list(tmp_path.glob("*.parts"))


def test_photographs_have_the_hashed_names_of_grade(local_url, tiny_archive, eyes, tmp_path):
    table, graded = tmp_path / "t.parquet", tmp_path / "grades.csv"
    run(*transform(eyes, table, tiny_archive, local_url))
    run("grade", eyes, "--artifact", tiny_archive, "--csv", graded)
    with graded.open(newline="") as lines:
        assert {row["image"] for row in csv.DictReader(lines)} == set(read_rows(table))


KILLED_RUN = """
import os, signal, sys
from drdeploy.cli import main
from drdeploy.clinic.archive_grading.checkpoint import ArchiveCheckpoint
from drdeploy.hosting.sagemaker import BatchTransform, PriceSheet

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

write_rows = ArchiveCheckpoint.write_rows

def write_rows_and_die(*arguments):
    write_rows(*arguments)
    die()

where = sys.argv.pop(1)
if where == "write_rows":
    ArchiveCheckpoint.write_rows = write_rows_and_die
else:
    setattr(BatchTransform, where, die)
main()
"""
"""The command, which kills itself where a function of its first argument would begin or end."""


@pytest.mark.parametrize("where", ["start_job", "wait_for_job", "write_rows"])
def test_a_run_that_is_killed_goes_on_with_its_job(where, local_url, tiny_archive, eyes, tmp_path):
    table = tmp_path / "t.parquet"
    words = [
        str(word) for word in transform(eyes, table, tiny_archive, local_url, "--names", "--json")
    ]
    jobs = len(list_jobs(local_url))
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_RUN, where, *words],
        capture_output=True,
        text=True,
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    other = run(*words[: words.index("--on")], "--names")
    assert "its Batch Transform job may still be running" in str(other.exception)
    done = run(*words)
    assert json.loads(done.stdout)["rows"] == len(CONTENTS), done.output
    assert set(read_rows(table)) == set(CONTENTS)
    assert len(list_jobs(local_url)) == jobs + 1
    assert not any("/input" in key for key in list_objects(local_url))


def test_a_run_begun_anew_stops_the_job_and_deletes_its_uploads(
    local_url, tiny_archive, eyes, tmp_path, monkeypatch
):
    table = tmp_path / "t.parquet"
    words = transform(eyes, table, tiny_archive, local_url, "--names", "--json")
    with monkeypatch.context() as patch:
        patch.setattr(BatchTransform, "wait_for_job", lambda *_: 1 / 0)
        assert isinstance(run(*words).exception, ZeroDivisionError)
    assert any("/input/" in key for key in list_objects(local_url))
    done = run(*words, "--fresh")
    assert json.loads(done.stdout)["rows"] == len(CONTENTS), done.output
    assert not any("/input" in key for key in list_objects(local_url))
    assert {one["TransformJobStatus"] for one in list_jobs(local_url)} <= {
        *("Stopping", "Stopped", "Completed", "Failed")
    }


def test_a_photograph_without_answer_and_reason_gets_no_row(
    local_url, tiny_archive, eyes, tmp_path, monkeypatch
):
    for name in ("torn.jpg", "empty.jpg", "text.jpg"):
        (eyes / name).unlink()
    table = tmp_path / "t.parquet"
    words = transform(eyes, table, tiny_archive, local_url, "--names", "--json")
    read_answer = BatchTransform.read_answer
    with monkeypatch.context() as patch:
        patch.setattr(
            BatchTransform,
            "read_answer",
            lambda *arguments: (
                None if arguments[2].startswith("00000002") else read_answer(*arguments)
            ),
        )
        stopped = run(*words)
    assert isinstance(stopped.exception, ClinicError)
    assert "is Completed, and 1 photograph got no answer" in str(stopped.exception)
    assert not table.exists()
    done = run(*words)
    assert done.exit_code == 0, done.output
    assert set(read_rows(table)) == {path.name for path in eyes.iterdir()}


def test_a_manifest_in_s3_is_graded_where_its_objects_lie(local_url, tiny_archive, tmp_path):
    s3 = Aws.at(local_url).s3
    s3.create_bucket(Bucket="archive-eyes")
    for name in ("day/1/0.jpg", "day/2/1.jpg"):
        s3.put_object(Bucket="archive-eyes", Key=name, Body=CONTENTS[name[-5:]])
    names = ["1/0.jpg", "2/1.jpg", "2/absent.jpg"]
    manifest = json.dumps([{"prefix": "s3://archive-eyes/day/"}, *names]).encode()
    s3.put_object(Bucket="archive-eyes", Key="day.manifest", Body=manifest)
    table = tmp_path / "t.parquet"
    done = run(
        *transform("s3://archive-eyes/day.manifest", table, tiny_archive, local_url, "--names")
    )
    assert done.exit_code == 1, done.output
    rows = pq.read_table(table).to_pylist()
    assert [row["image"] for row in rows] == [f"s3://archive-eyes/day/{name}" for name in names]
    assert [bool(row["error"]) for row in rows] == [False, False, True]
    run(*transform("s3://archive-eyes/day/", tmp_path / "u.parquet", tiny_archive, local_url))
    hashed = pq.read_table(tmp_path / "u.parquet").to_pylist()
    referable = "probability_referable"
    assert [row[referable] for row in hashed] == [row[referable] for row in rows[:2]]
    assert all(row["image"].startswith("photo-") for row in hashed)


def list_names(*words):
    return {
        one["file"].rpartition("/")[2]: one["name"]
        for one in json.loads(run("names", *words, "--json").stdout)["photographs"]
    }


def test_photographs_in_s3_can_be_found_by_the_names_of_every_result(
    local_url, tiny_archive, tmp_path, monkeypatch
):
    monkeypatch.setenv("DRDEPLOY_ENDPOINT_URL", local_url)
    s3 = Aws.at(local_url).s3
    s3.create_bucket(Bucket="found-eyes")
    contents = {"a.jpg": CONTENTS["0.jpg"], "b.jpg": CONTENTS["1.jpg"]}
    for name, content in contents.items():
        s3.put_object(Bucket="found-eyes", Key=f"day/{name}", Body=content)
    source = "s3://found-eyes/day/"
    manifest = tmp_path / "day.manifest"
    manifest.write_text(json.dumps([{"prefix": source}, *contents, "absent.jpg"]))

    table = tmp_path / "t.parquet"
    done = run(*transform(source, table, tiny_archive, local_url))
    assert "`drdeploy names SOURCE --by-address` lists the file" in " ".join(done.stderr.split())
    by_address = list_names(source, "--by-address")
    assert set(read_rows(table)) == set(by_address.values())
    listed = list_names(manifest, "--by-address")
    assert {name: listed[name] for name in contents} == by_address

    done = run("batch", "run", source, "--artifact", tiny_archive, "--json")
    assert "names s3://BUCKET/FOLDER/ --by-address`" in " ".join(done.stderr.split())
    rows = json.loads(done.stdout)["results"]
    assert [row["image"] for row in rows] == [by_address[name] for name in contents]

    # With Ray, a worker reads each photograph.
    by_content = list_names(manifest)
    settings = WorkerSettings(str(tiny_archive), None, "", local_url, None)
    naming = PhotographNames.with_user_key()
    graded = read_graded_files(
        grade_photographs_at_places([f"{source}{name}" for name in by_content], settings)
    )
    named = [row.image for one in graded for row in one.make_rows_with_file_name(naming)]
    assert named == list(by_content.values())
    assert by_content["a.jpg"] != by_address["a.jpg"]
    assert by_content["absent.jpg"] == listed["absent.jpg"]  # nothing to read
    (tmp_path / "a.jpg").write_bytes(contents["a.jpg"])
    assert list_names(tmp_path / "a.jpg")["a.jpg"] == by_content["a.jpg"]


def test_a_file_too_large_to_be_graded_is_found_by_the_name_of_its_row(eyes, monkeypatch):
    import drdeploy.grader.photograph_files as files

    monkeypatch.setattr(files, "LOCAL_FILE_LIMITS", SimpleNamespace(max_bytes=10))
    file = eyes / "0.jpg"
    named = list_names(file)["0.jpg"]
    assert named == PhotographNames.with_user_key().name_of_photograph(file, str(file))


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (("s3://no-such-bucket/",), "NoSuchBucket"),
        (("s3://named-eyes/none/",), "There is no photograph"),
        (("s3://named-eyes/", ".", "--by-address"), "is a file or folder of this machine"),
    ],
)
def test_names_refuses_what_it_cannot_list(words, reason, local_url, monkeypatch):
    monkeypatch.setenv("DRDEPLOY_ENDPOINT_URL", local_url)
    Aws.at(local_url).s3.create_bucket(Bucket="named-eyes")
    refused = run("names", *words)
    assert isinstance(refused.exception, DrdeployError)
    assert reason in str(refused.exception)


def test_a_plan_sends_nothing(local_url, tiny_archive, eyes, tmp_path):
    jobs, objects = list_jobs(local_url), list_objects_of_all_buckets(local_url)
    done = run(
        *transform(eyes, tmp_path / "t.parquet", tiny_archive, local_url, "--plan", "--json")
    )
    plan = json.loads(done.stdout)
    assert (plan["photographs"], plan["cost_usd"], plan["instance_count"]) == (9, 0, 1)
    assert (jobs, objects) == (list_jobs(local_url), list_objects_of_all_buckets(local_url))


def test_the_plan_of_a_job_on_aws_prices_the_work_and_not_the_start(capsys):
    job = ArchiveJob("id", None, 3600, 0, 0, 100)
    plan = ArchivePlan(job, 0, ArchiveSample(MeasuredPhotographs(1.0, 1e5, 9)))
    prices = InstancePrices(PriceSheet.load(ASSUMED), "ml.m5.xlarge", "us-east-1")
    print_transform_plan(plan, 1, prices, is_local=False, is_uploaded=True, as_json=True)
    said = capsys.readouterr()
    # Four vCPUs at 0.9 of one thread each; an hour of the instance costs 0.23 USD. The uploads and
    # the answers are written at 0.000005 USD, and read at 0.0000004 USD.
    requests_usd = 3600 * (2 * 5e-6 + 2 * 4e-7)
    expected_usd = 3600 / (4 * 0.9) / 3600 * 0.23 + requests_usd
    assert json.loads(said.out)["cost_usd"] == pytest.approx(expected_usd)
    assert "0.04 USD for S3 requests" in said.err
    assert "after a start of some minutes, which costs nothing" in " ".join(said.err.split())


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        (("--on", "ray", "--image", "lean"), "Without --on batch-transform, --image"),
        (("--cluster", "10.0.0.1:6379"), "--cluster would have no effect"),
        (("--runtime", "onnxruntime"), "--runtime would have no effect"),
    ],
)
def test_an_option_without_effect_is_refused(more, reason, local_url, tiny_archive, eyes, tmp_path):
    refused = run(*transform(eyes, tmp_path / "t.parquet", tiny_archive, local_url, *more))
    assert isinstance(refused.exception, InvalidInput)
    assert reason in str(refused.exception)


def test_what_no_job_can_grade_is_refused_before_it_is_sent(
    local_url, tiny_archive, eyes, tmp_path
):
    (eyes / "a.dcm").write_bytes(bytes(128) + b"DICM" + bytes(8))
    table, jobs = tmp_path / "t.parquet", list_jobs(local_url)
    refused = run(*transform(eyes, table, tiny_archive, local_url))
    assert "the archive holds DICOM files" in str(refused.exception)
    (eyes / "a.dcm").rename(eyes / "z.jpg")  # which only its content shows
    refused = run(*transform(eyes, table, tiny_archive, local_url))
    assert "the archive holds DICOM files" in str(refused.exception)
    assert not (tmp_path / "t.parquet.parts" / "transform.json").exists()
    assert not any("/input" in key for key in list_objects(local_url))
    folder = run(*transform(eyes, table, tiny_archive.parent / "model", local_url))
    assert "but the artifact is a folder" in str(folder.exception)
    assert list_jobs(local_url) == jobs


def test_a_plan_deletes_nothing(tiny_archive, eyes, tmp_path):
    table = tmp_path / "t.parquet"
    table.write_bytes(b"a table")
    words = (
        "archive",
        "grade",
        eyes,
        "--out",
        table,
        "--artifact",
        tiny_archive,
        "--plan",
        "--fresh",
    )
    assert "--plan deletes nothing" in str(run(*words).exception)
    assert table.read_bytes() == b"a table"


def test_the_name_of_a_dicom_file_is_said_only_with_names():
    listed = SimpleNamespace(
        iterate_photographs=lambda: [ArchivedPhotograph("/eyes/Garcia.dcm", 132)]
    )
    for names, is_said in ((PhotographNames(b"k" * 32), False), (OWN_NAMES, True)):
        job = TransformArchiveJob(None, listed, None, names, is_folder=True, report_state=print)
        with pytest.raises(InvalidInput, match="holds DICOM files") as refused:
            job.grade_archive_in_transform_jobs(None, None, print)
        assert ("Garcia" in str(refused.value)) == is_said


def test_an_answer_with_other_classes_than_the_table_is_a_row_with_an_error():
    columns = RowColumns((), ("0", "1", "2"))
    job = TransformArchiveJob(None, None, columns, OWN_NAMES, is_folder=True, report_state=print)
    for shares, error in (([0.1, 0.2, 0.7], ""), ([0.1, 0.9], FOREIGN_ANSWER)):
        answer = json.dumps({"predictions": [shares]}).encode()
        assert job._make_row("a.jpg", SentPhotograph("", ""), answer, None).error == error


def test_photographs_in_several_buckets_are_refused(tmp_path):
    places = ("s3://eyes-1/a.jpg", "s3://eyes-2/b.jpg")
    shard = Shard(0, tuple(ArchivedPhotograph(place, 1) for place in places))
    listed = SimpleNamespace(
        iterate_photographs=lambda: shard.photographs,
        iterate_ungraded_shards=lambda _: [shard],
        pending_transform_file=tmp_path / "transform.json",
    )
    job = TransformArchiveJob(None, listed, None, OWN_NAMES, is_folder=False, report_state=print)
    with pytest.raises(InvalidInput, match="can read only one bucket"):
        job.grade_archive_in_transform_jobs(
            SimpleNamespace(shard_photographs=2), SimpleNamespace(bucket="answers"), print
        )
    assert not listed.pending_transform_file.exists()


class SentToAws(Exception):
    """The first request of a run that would have been sent to AWS."""


ON_AWS = (
    *("--on", "batch-transform", "--bucket", "eyes", "--role", "arn:aws:iam::1:role/r"),
    *("--image", "1.dkr.ecr.us-east-1.amazonaws.com/drdeploy:lean"),
)


@pytest.fixture
def on_aws(monkeypatch):
    """AWS, which must not get a request."""

    def connect(*_arguments, **_options):
        raise SentToAws

    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("DRDEPLOY_ENDPOINT_URL", raising=False)
    monkeypatch.setattr("drdeploy.hosting.sagemaker.client.Hosting.connect", connect)


def grade_on_aws(eyes, tiny_archive, *more, answer=None):
    table = eyes.parent / "t.parquet"
    words = ("archive", "grade", eyes, "--out", table, "--artifact", tiny_archive, *ON_AWS, *more)
    return CliRunner().invoke(build_app(), [str(word) for word in words], input=answer)


def test_no_job_starts_on_aws_without_approval(on_aws, eyes, tiny_archive):
    for answer in ("n\n", ""):  # and if nobody can answer
        declined = grade_on_aws(eyes, tiny_archive, "--prices", ASSUMED, answer=answer)
        assert isinstance(declined.exception, PlanDeclined), declined.output
        assert "for instances at 0.115 USD an hour in us-east-1" in declined.stderr
        assert "Start the job?" in declined.stderr
    # The example photographs were only graded here.
    assert not (eyes.parent / "t.parquet.parts" / "transform.json").exists()


def test_an_approved_job_starts_on_aws(on_aws, eyes, tiny_archive):
    asked = grade_on_aws(eyes, tiny_archive, "--prices", ASSUMED, answer="y\n")
    assert isinstance(asked.exception, SentToAws)
    approved = grade_on_aws(eyes, tiny_archive, "--prices", ASSUMED, "--yes")
    assert isinstance(approved.exception, SentToAws)
    assert "Start the job?" not in approved.stderr


def test_someone_who_declines_is_told_that_an_earlier_job_continues(
    on_aws, eyes, tiny_archive, tmp_path
):
    grade_on_aws(eyes, tiny_archive, "--prices", ASSUMED, answer="n\n")
    (tmp_path / "t.parquet.parts" / "transform.json").write_text("{}")
    declined = grade_on_aws(eyes, tiny_archive, "--prices", ASSUMED, answer="n\n")
    assert "it continues, and --fresh stops it" in str(declined.exception)


def test_a_job_on_aws_whose_price_is_not_known_is_refused_in_a_few_words(
    on_aws, eyes, tiny_archive, tmp_path
):
    (tmp_path / "t.parquet").write_bytes(b"a table")
    for more in ((), ("--yes",), ("--fresh",)):
        refused = grade_on_aws(eyes, tiny_archive, *more)
        assert isinstance(refused.exception, UnknownPrice)
        assert "No price is known for batch transform ml.m5.large in us-east-1" in str(
            refused.exception
        )
        assert "--accept-unknown-prices" in refused.exception.remedy
        assert len(refused.exception.remedy) < 250
    assert (tmp_path / "t.parquet").exists()  # refused before --fresh deletes
    (tmp_path / "t.parquet").unlink()
    accepted = grade_on_aws(eyes, tiny_archive, "--yes", "--accept-unknown-prices")
    assert isinstance(accepted.exception, SentToAws)
    plan = grade_on_aws(eyes, tiny_archive, "--plan", "--json")
    assert json.loads(plan.stdout)["cost_usd"] is None
    assert "the cost is not known: No price is known for batch transform" in plan.stderr


def test_a_plan_uses_the_prices_of_the_region_of_the_jobs(on_aws, eyes, tiny_archive, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    plan = grade_on_aws(eyes, tiny_archive, "--plan", "--prices", ASSUMED)
    assert "No price is known for batch transform ml.m5.large in eu-west-1" in plan.stderr
    plan = grade_on_aws(
        eyes, tiny_archive, "--plan", "--prices", ASSUMED, "--region", "us-east-1", "--json"
    )
    assert json.loads(plan.stdout)["cost_usd"] > 0


def test_approval_without_a_paid_job_is_refused(eyes, tiny_archive, on_aws, tmp_path):
    assert "with --plan" in str(grade_on_aws(eyes, tiny_archive, "--plan", "--yes").exception)
    words = ("archive", "grade", eyes, "--out", tmp_path / "t.parquet", "--artifact", tiny_archive)
    assert "Without --on batch-transform, --yes" in str(run(*words, "--yes").exception)


@pytest.mark.parametrize(
    "more", [(), ("--instance-type", "ml.c5.xlarge"), ("--region", "eu-west-1")]
)
def test_aws_needs_a_bucket(more, tiny_archive, eyes, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("DRDEPLOY_ENDPOINT_URL", raising=False)
    words = ("archive", "grade", eyes, "--out", tmp_path / "t.parquet", "--artifact", tiny_archive)
    refused = run(*words, "--on", "batch-transform", *more)
    assert isinstance(refused.exception, InvalidInput)
    assert refused.exception.where == "--bucket"


@pytest.mark.parametrize(
    ("instance_type", "message"),
    [("ml.m5.large", "ml.m5.large has none"), ("ml.g5.xlarge", "has driver 470")],
)
def test_an_image_that_cannot_start_is_refused_at_the_plan(
    instance_type, message, tiny_archive, eyes, tmp_path, monkeypatch
):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.delenv("DRDEPLOY_ENDPOINT_URL", raising=False)
    refused = run(
        "archive", "grade", eyes, "--out", tmp_path / "t.parquet", "--artifact", tiny_archive,
        "--on", "batch-transform", "--plan", "--instance-type", instance_type, "--bucket", "b",
        "--role", "arn:aws:iam::1:role/r",
        "--image", "123456789012.dkr.ecr.us-east-1.amazonaws.com/drdeploy:cuda",
    )  # fmt: skip
    assert isinstance(refused.exception, InvalidInput)
    assert message in str(refused.exception)


def test_the_plan_projects_instances_with_a_gpu(tiny_archive, eyes, tmp_path):
    planned = run(
        "archive", "grade", eyes, "--out", tmp_path / "t.parquet", "--artifact", tiny_archive,
        "--plan", "--instance-type", "ml.g5.xlarge",
    )  # fmt: skip
    assert planned.exception is None
    assert "ml.g5.xlarge (4 vCPUs" in planned.output
