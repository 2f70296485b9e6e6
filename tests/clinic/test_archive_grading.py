"""``drdeploy archive grade``: every photograph has one row, whatever is killed meanwhile."""

import csv
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from types import SimpleNamespace

import pytest
from photographs import photograph
from tiny_models import described, onnx_artifact, tiny_onnx
from typer.testing import CliRunner

# Ray reads how it authenticates when it is imported.
if find_spec("ray") is None and os.environ.get("CI") != "true":
    pytest.skip("needs the extra archive", allow_module_level=True)

import pyarrow.parquet as pq

from drdeploy.cli.app import build_app
from drdeploy.cli.archive import _RayRun
from drdeploy.cli.archive_plan import ArchivePlan, RayWorkers
from drdeploy.clinic.archive_grading import grading, planning, ray_session
from drdeploy.clinic.archive_grading.checkpoint import (
    ArchiveCheckpoint,
    ArchiveJob,
    ArchiveSettings,
)
from drdeploy.clinic.archive_grading.costs import InstancePrices, estimate_reading_cost
from drdeploy.clinic.archive_grading.grading import (
    WorkerSettings,
    grade_photographs_at_places,
    read_graded_files,
)
from drdeploy.clinic.archive_grading.planning import (
    WORKER_EFFICIENCY,
    ArchiveSample,
    MeasuredPhotographs,
)
from drdeploy.clinic.archive_grading.ray_job import ENDED_WORKER, RayArchiveJob
from drdeploy.clinic.archive_grading.ray_session import start_or_join_ray
from drdeploy.clinic.archive_grading.sources import (
    ArchivedPhotograph,
    ManifestSource,
    open_photograph_source,
)
from drdeploy.clinic.graded_rows import list_columns_of_model
from drdeploy.errors import ClinicError, InvalidInput
from drdeploy.grader.artifacts import pack_archive
from drdeploy.grader.inference import InferenceService
from drdeploy.hosting.container_engine import find_free_port
from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.photograph_names import OWN_NAMES, PhotographNames

NO_S3 = None
KILLER = "killer.jpg"
WORKERS = 2


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return onnx_artifact(tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def eyes(tmp_path_factory):
    """Nine photographs, of which one is not a photograph and one will kill its worker."""
    folder = tmp_path_factory.mktemp("eyes")
    for number in range(7):
        (folder / f"{number}.jpg").write_bytes(photograph(seed=number))
    (folder / "text.jpg").write_text("no photograph")
    (folder / KILLER).write_bytes(photograph(seed=9))
    (folder / "labels.csv").touch()
    return folder


@pytest.fixture(scope="module")
def grader(model):
    return InferenceService.load(model, threads=1)


@pytest.fixture(scope="module")
def ray():
    with start_or_join_ray(None, WORKERS) as it:
        # This module is not on the path of the workers.
        it.cloudpickle.register_pickle_by_value(sys.modules[__name__])
        yield it


def grade_or_die(places, settings):
    if any(place.endswith(KILLER) for place in places):
        os.kill(os.getpid(), signal.SIGKILL)
    return grade_photographs_at_places(places, settings)


def worker_settings(model, folder):
    return WorkerSettings(str(model), None, str(folder), None, None)


def archive_settings(folder, grader):
    names = PhotographNames.with_user_key()
    digest = grader.classifier.artifact.digest
    return ArchiveSettings(str(folder), digest, "", names.description_of_photograph_names)


def run_command(*words):
    return CliRunner().invoke(build_app(), [str(word) for word in words])


def as_csv_text(cell):
    if cell is None:
        return ""
    return str(cell).lower() if isinstance(cell, bool) else str(cell)


def read_rows(table):
    return pq.read_table(table).to_pylist()


def test_every_photograph_has_one_row_that_grade_gives_too(
    ray, eyes, model, grader, tmp_path, monkeypatch
):
    monkeypatch.setattr("drdeploy.clinic.archive_grading.checkpoint.LEAST_SHARDS", 2)
    table, columns = tmp_path / "t.parquet", list_columns_of_model(grader)
    with ArchiveCheckpoint.open(table) as checkpoint:
        source = open_photograph_source(str(eyes), NO_S3)
        settings = archive_settings(eyes, grader)
        job = checkpoint.prepare_job(source, settings, show_paths=False)
        RayArchiveJob(
            ray, checkpoint, columns, PhotographNames.with_user_key(),
            worker_settings(model, eyes), grade=grade_or_die,
        ).grade_archive_on_ray(job, lambda _: None)  # fmt: skip
        counts = checkpoint.join_rows(job, columns)
        checkpoint.delete_checkpoint_folder()
    assert counts == {"rows": 9, "graded": 7, "need_a_human": 0, "failed": 2}
    assert [path.name for path in tmp_path.iterdir()] == ["t.parquet"]
    graded = tmp_path / "grades.csv"
    run_command("grade", eyes, "--artifact", model, "--csv", graded)
    with graded.open(newline="") as file:
        expected = {row["image"]: row for row in csv.DictReader(file)}
    killed = []
    for row in read_rows(table):
        assert list(row) == list(next(iter(expected.values())))
        if row["error"] == ENDED_WORKER:
            killed.append(row["image"])
            continue
        for name, cell in row.items():
            if not name.endswith("_s"):
                assert as_csv_text(cell) == expected[row["image"]][name], name
    assert len(killed) == 1
    assert len({row["image"] for row in read_rows(table)}) == len(expected) == 9


@pytest.fixture
def handed_over(monkeypatch):
    """For each step of Ray Data: how many tasks are with Ray, and how many were in all."""
    from ray.data._internal.execution import streaming_executor

    steps = []
    process_completed_tasks = streaming_executor.process_completed_tasks

    def note_tasks(topology, *arguments, **named):
        grading = list(topology)[-1]
        steps.append((grading.num_active_tasks(), grading.metrics.num_tasks_submitted))
        return process_completed_tasks(topology, *arguments, **named)

    monkeypatch.setattr(streaming_executor, "process_completed_tasks", note_tasks)
    return steps


def grade_on_ray(ray, table, folder, model, grader, report):
    with ArchiveCheckpoint.open(table) as checkpoint:
        source = open_photograph_source(str(folder), NO_S3)
        job = checkpoint.prepare_job(source, archive_settings(folder, grader), show_paths=False)
        RayArchiveJob(
            ray, checkpoint, list_columns_of_model(grader), PhotographNames.with_user_key(),
            worker_settings(model, folder),
        ).grade_archive_on_ray(job, report)  # fmt: skip


def test_a_task_waits_for_each_worker_so_that_none_is_idle_between_two_tasks(
    ray, eyes, model, grader, tmp_path, handed_over
):
    grade_on_ray(ray, tmp_path / "t.parquet", eyes, model, grader, lambda _: None)
    assert max(active for active, _ in handed_over) == 2 * WORKERS


def test_no_task_starts_while_many_results_wait_to_be_written(
    ray, eyes, model, grader, tmp_path, handed_over, monkeypatch
):
    monkeypatch.setattr("drdeploy.clinic.archive_grading.ray_session.MOST_UNREAD_RESULTS", 2)
    folder = tmp_path / "eyes"
    folder.mkdir()
    for number in range(32):
        (folder / f"{number}.jpg").symlink_to(eyes / f"{number % 7}.jpg")
    submitted = []

    def wait_until_all_workers_are_idle(_photographs):
        while not submitted and handed_over[-1][0] and handed_over[-1][1] < 32:
            time.sleep(0.05)
        submitted.append(handed_over[-1][1])

    grade_on_ray(
        ray, tmp_path / "t.parquet", folder, model, grader, wait_until_all_workers_are_idle
    )
    assert submitted[0] < 16
    assert submitted[-1] == 32


KILLED_RUN = """
import os, signal, sys
from drdeploy.cli import main
from drdeploy.clinic.archive_grading.checkpoint import ArchiveCheckpoint

write_rows = ArchiveCheckpoint.write_rows

def write_rows_and_die(self, *arguments):
    write_rows(self, *arguments)
    if len(list(self.folder.glob("*.parquet"))) == 3:
        os.kill(os.getpid(), signal.SIGKILL)

ArchiveCheckpoint.write_rows = write_rows_and_die
main()
"""
"""The command, which kills itself when three shards have their rows."""


def test_a_run_that_is_killed_goes_on_with_no_row_twice_or_missing(
    ray, eyes, model, grader, tmp_path
):
    folder, table = tmp_path / "eyes", tmp_path / "t.parquet"
    folder.mkdir()
    for number in range(24):
        (folder / f"{number}.jpg").symlink_to(eyes / f"{number % 7}.jpg")
    words = ["archive", "grade", folder, "--out", table, "--artifact", model, "--names"]
    command = [sys.executable, "-c", KILLED_RUN, *map(str, words)]
    killed = subprocess.run(command, capture_output=True, text=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    parts = tmp_path / "t.parquet.parts"
    finished = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.parquet")}
    assert len(finished) == 3
    with ArchiveCheckpoint.open(table) as checkpoint:
        job = checkpoint.load_job()
        columns = list_columns_of_model(grader)
        RayArchiveJob(
            ray, checkpoint, columns, PhotographNames(None), worker_settings(model, folder)
        ).grade_archive_on_ray(job, lambda _: None)
        again = {path.name: path.stat().st_mtime_ns for path in parts.glob("*.parquet")}
        assert finished.items() <= again.items()
    other = run_command("archive", "grade", folder, "--out", table, "--artifact", model)
    assert "with other settings" in str(other.exception)  # hashed names, and those are not
    done = run_command(*words, "--json")  # has nothing left to grade, and joins
    assert done.exit_code == 0, done.output
    assert json.loads(done.stdout)["rows"] == 24
    images = [row["image"] for row in read_rows(table)]
    assert images == sorted(str(folder / f"{number}.jpg") for number in range(24))
    assert "exists already" in str(run_command(*words).exception)


@pytest.mark.parametrize("piece", [1, 7, 4096])
def test_a_manifest_is_read_in_pieces(piece, tmp_path, monkeypatch):
    monkeypatch.setattr("drdeploy.clinic.archive_grading.sources.CHUNK_BYTES", piece)
    names = ["a.jpg", 'M\u00fcller, "Jo" [1].jpg', "deep/b.png"]
    file = tmp_path / "eyes.manifest"
    file.write_text(json.dumps([{"prefix": "s3://eyes/in/"}, *names], indent=1))
    source = open_photograph_source(str(file), NO_S3)
    assert isinstance(source, ManifestSource)
    listed = [one.place for one in source.iterate_photographs(print)]
    assert listed == [f"s3://eyes/in/{name}" for name in names]


def test_a_manifest_of_notepad_is_read(tmp_path):
    file = tmp_path / "eyes.manifest"
    file.write_text('[{"prefix": "s3://eyes/"}, "a.jpg"]', "utf-8-sig")
    source = open_photograph_source(str(file), NO_S3)
    assert [one.place for one in source.iterate_photographs(print)] == ["s3://eyes/a.jpg"]


def test_an_object_in_an_archive_class_of_s3_is_a_row_and_stops_no_run(model, monkeypatch):
    boto3 = pytest.importorskip("boto3", reason="needs the extra cloud")
    from botocore.stub import Stubber

    s3 = boto3.client("s3", "us-east-1", aws_access_key_id="a", aws_secret_access_key="b")
    monkeypatch.setattr(grading, "_make_s3_client", lambda *_: s3)
    settings = WorkerSettings(str(model), None, "", None, None)
    with Stubber(s3) as stub:
        stub.add_client_error("get_object", "InvalidObjectState")
        graded = read_graded_files(grade_photographs_at_places(["s3://eyes/a.jpg"], settings))
    assert "archive storage class of S3, such as Glacier" in graded[0].failure


def test_the_folder_of_ray_is_locked_although_another_program_deletes_it(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    make, made = tempfile.mkdtemp, []

    def make_and_delete_the_first(**options):
        made.append(make(**options))
        if len(made) == 1:
            Path(made[0]).rmdir()
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", make_and_delete_the_first)
    with ray_session._make_folder_of_session() as folder:
        assert str(folder) == made[1]
        assert [one.name for one in folder.iterdir()] == ["lock"]
    assert [*tmp_path.iterdir()] == []


def test_the_folder_of_another_user_is_not_touched(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    other = tmp_path / "drdeploy-ray-other"
    other.mkdir()
    (other / "lock").symlink_to(tmp_path / "made")
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    with ray_session._make_folder_of_session():
        pass
    assert [one.name for one in tmp_path.iterdir()] == ["drdeploy-ray-other"]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{}",
        "[]",
        "[" * 9000,
        '["a.jpg"]',
        '[{"prefix": "s3://a/"}, 5]',
        '[{"prefix": "s3://a/"}',
    ],
)
def test_what_is_no_manifest_is_refused(text, tmp_path):
    (tmp_path / "eyes.json").write_text(text)
    with pytest.raises(InvalidInput, match="The file is not"):
        list(open_photograph_source(str(tmp_path / "eyes.json"), NO_S3).iterate_photographs(print))


def test_a_source_is_refused_with_its_reason(tmp_path):
    (tmp_path / "a.jpg").touch()
    for name, reason in (("missing", "no such file"), ("a.jpg", "not a manifest")):
        with pytest.raises(InvalidInput, match=reason):
            open_photograph_source(str(tmp_path / name), NO_S3)
    with pytest.raises(InvalidInput, match="names no bucket"):
        open_photograph_source("s3://", NO_S3)
    result = run_command("archive", "grade", tmp_path / "no", "--out", tmp_path / "t.parquet")
    assert "no such file" in str(result.exception)
    (tmp_path / "empty").mkdir()
    result = run_command("archive", "grade", tmp_path / "empty", "--out", tmp_path / "t.parquet")
    assert "There is no JPEG" in str(result.exception)
    assert not (tmp_path / "t.parquet.parts").exists()


def test_an_address_without_a_cluster_is_an_error_at_once(eyes, model, tmp_path):
    address = f"127.0.0.1:{find_free_port()}"
    table = tmp_path / "t.parquet"
    words = ("archive", "grade", eyes, "--out", table, "--artifact", model, "--cluster", address)
    for more in ((), ("--plan",)):
        result = run_command(*words, *more)
        assert isinstance(result.exception, ClinicError)
        assert "No Ray cluster answers at this address: Connection refused" in str(result.exception)
        assert f"joining the Ray cluster at {address}" in result.stderr
        assert "photographs" not in result.stderr  # nothing was listed or graded meanwhile


@pytest.mark.parametrize("address", ["ray://10.0.0.1:10001", "10.0.0.1", "10.0.0.1:head", ":6379"])
def test_an_address_of_a_cluster_that_has_no_host_and_port_is_refused(address):
    with pytest.raises(InvalidInput, match="has the form HOST:PORT"), start_or_join_ray(address, 0):
        pass


def test_ray_gives_up_soon_at_an_address_where_another_program_listens():
    code = """if True:
    import os, socket, sys
    from drdeploy.clinic.archive_grading.ray_session import start_or_join_ray
    from drdeploy.errors import ClinicError
    with socket.create_server(("127.0.0.1", 0)) as server:
        try:
            with start_or_join_ray(f"127.0.0.1:{server.getsockname()[1]}", 0):
                pass
        except ClinicError as error:
            print(error)
    """
    quick = (
        "RAY_gcs_rpc_server_connect_timeout_s",
        "RAY_py_gcs_connect_timeout_s",
        "RAY_gcs_server_request_timeout_seconds",
    )
    # The Ray of other tests has set variables that make it wait longer.
    others = {name: value for name, value in os.environ.items() if not name.startswith("RAY_")}
    environ = others | dict.fromkeys(quick, "1")
    ended = subprocess.run(
        [sys.executable, "-c", code], env=environ, capture_output=True, text=True, timeout=240,
        check=False,
    )  # fmt: skip
    assert "The Ray cluster cannot be joined" in ended.stdout, ended.stderr
    assert ended.stderr.count("Failed to get cluster ID") == 2  # Ray itself would try 20 times


def test_a_node_whose_processors_are_busy_is_named_while_the_run_waits(
    ray, eyes, model, grader, tmp_path, monkeypatch
):
    monkeypatch.setattr("drdeploy.clinic.archive_grading.ray_job.REPORT_WAIT_S", 0)
    said = []
    with ArchiveCheckpoint.open(tmp_path / "t.parquet") as checkpoint:
        job = checkpoint.prepare_job(
            open_photograph_source(str(eyes), NO_S3), archive_settings(eyes, grader),
            show_paths=False,
        )  # fmt: skip
        RayArchiveJob(
            ray, checkpoint, list_columns_of_model(grader), PhotographNames.with_user_key(),
            worker_settings(model, eyes), report_state=said.append,
        ).grade_archive_on_ray(job, lambda _: None)  # fmt: skip
    assert len(said) == 1
    assert "has not loaded the model yet" in said[0]


def test_a_worker_keeps_no_extracted_model_that_would_stay_when_it_is_killed(
    eyes, tmp_path, monkeypatch
):
    archive, temporary = tmp_path / "model.tar.gz", tmp_path / "temporary"
    pack_archive(tiny_onnx(tmp_path), archive, described())
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    graded = grade_photographs_at_places([str(eyes / "0.jpg")], worker_settings(archive, eyes))
    assert json.loads(graded)["files"][0]["rows"][0]["error"] == ""
    assert not list(temporary.iterdir())


def test_a_plan_grades_a_sample_and_nothing_else(eyes, model, tmp_path):
    table = tmp_path / "t.parquet"
    result = run_command(
        "archive", "grade", eyes, "--out", table, "--artifact", model, "--plan", "--json"
    )
    plan = json.loads(result.stdout)
    assert (plan["photographs"], plan["finished"], plan["cost_usd"]) == (9, 0, 0)
    assert plan["notes"] == ["1 file that is no picture is left out: .csv"]
    assert not table.exists()


def test_the_sample_of_a_plan_comes_from_every_folder_and_is_the_same_each_time(
    eyes, grader, tmp_path
):
    places = [f"/{folder}/{number}.jpg" for folder in "abcdef" for number in range(20)]
    source = SimpleNamespace(
        location="/", iterate_photographs=lambda _: [ArchivedPhotograph(one, 9) for one in places]
    )
    samples = []
    for name in ("t", "u"):
        with ArchiveCheckpoint.open(tmp_path / f"{name}.parquet") as checkpoint:
            job = checkpoint.prepare_job(source, archive_settings(eyes, grader), show_paths=False)
            samples.append([one.place for one in checkpoint.sample_photographs(job, 12)])
            assert len(checkpoint.sample_photographs(job, 200)) == len(places)
    assert samples[0] == samples[1]
    assert len(set(samples[0])) == 12
    assert len({place[1] for place in samples[0]}) > 3


def test_files_that_cannot_be_graded_do_not_shorten_the_time_of_a_photograph(
    eyes, model, monkeypatch
):
    ticks = iter(range(100))
    monkeypatch.setattr(time, "perf_counter", lambda: next(ticks))
    broken, good = str(eyes / "text.jpg"), [str(eyes / f"{number}.jpg") for number in range(3)]
    settings = worker_settings(model, eyes)

    def grade(places, _settings):
        for _ in range(0 if places == [broken] else 5):  # a photograph takes six ticks
            next(ticks)
        return grade_photographs_at_places(places, settings)

    monkeypatch.setattr(planning, "grade_photographs_at_places", grade)
    sample = planning.measure_photographs([broken, *good, broken], [], settings)
    assert (sample.measured.seconds, sample.measured.measured, sample.failed) == (6, 3, 2)
    assert planning.measure_photographs([broken], [], settings).measured is None


def test_a_plan_says_how_many_of_its_sample_could_not_be_graded(eyes, model, tmp_path):
    words = ("archive", "grade", eyes, "--out", tmp_path / "t.parquet", "--artifact", model)
    said = run_command(*words, "--plan").stderr
    assert "measured here on 8 drawn at random; 1 more could not be graded, and does not" in said
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.jpg").write_text("no photograph")
    words = (*words[:2], tmp_path / "broken", "--out", tmp_path / "u.parquet", *words[5:])
    result = run_command(*words, "--plan", "--json")
    plan = json.loads(result.stdout)
    assert (plan["seconds_per_photograph"], plan["sample_failed"]) == (None, 1)
    assert (plan["expected_s"], plan["projected"]) == (None, [])
    assert "the photograph drawn at random cannot be graded" in result.stderr


def plan_of(*, photographs, size_bytes):
    job = ArchiveJob("id", None, photographs, size_bytes, photographs, 64)
    return ArchivePlan(job, 0, ArchiveSample(MeasuredPhotographs(0.5, 1e5, 12)))


def test_a_plan_does_not_call_unknown_sizes_zero_bytes():
    job = ArchiveJob("id", None, 5, 0, 0, 64)
    assert ArchivePlan(job, 0, ArchiveSample(None, 1, "No.")).make_document()["bytes"] is None
    assert plan_of(photographs=2, size_bytes=6).make_document()["bytes"] == 6


S3_COSTS = (
    "0.40 USD for S3 requests in us-east-1; outside the bucket's region, sending 300.0 GB out of "
    "S3 costs more, but no sheet has a price for S3 transfer out"
)


@pytest.mark.parametrize(
    ("workers", "usd", "sentence"),
    [
        (RayWorkers(2, None, read_from_aws=False), 0.0, "no cost beyond this machine"),
        (
            RayWorkers(2, None, read_from_aws=True),
            0.4,
            S3_COSTS,
        ),
        (
            RayWorkers(2, "10.0.0.1:6379", read_from_aws=False),
            None,
            "what the machines of the cluster cost is not known",
        ),
    ],
)
def test_a_plan_prices_what_s3_charges_and_not_what_it_cannot_know(workers, usd, sentence):
    prices = InstancePrices(PriceSheet.load(), "ml.m5.large", "us-east-1")
    plan = plan_of(photographs=1_000_000, size_bytes=300_000_000_000)
    found, said = workers.estimate_cost(plan, prices)
    assert found == (usd if usd is None else pytest.approx(usd))
    assert said == sentence


def test_a_sheet_may_have_the_price_of_data_that_leaves_s3(tmp_path):
    (tmp_path / "own.toml").write_text(
        '[[other_service]]\nregion = "us-east-1"\ndate = "2026-09"\nsource = "a test"\n'
        'usd_per_gb = { "S3 transfer out" = 0.5 }\n'
    )
    prices = InstancePrices(PriceSheet.load(tmp_path / "own.toml"), "ml.m5.large", "us-east-1")
    sentence = estimate_reading_cost(1000, 2e9, prices).sentence
    assert "sending 2.0 GB out of S3 costs about 1.00 USD more" in sentence
    assert "costs 0.5 USD a GB more" in estimate_reading_cost(1000, None, prices).sentence


def test_a_region_without_prices_of_s3_is_said():
    prices = InstancePrices(PriceSheet.load(), "ml.m5.large", "eu-west-1")
    cost = estimate_reading_cost(1000, 2e9, prices)
    assert cost.usd is None
    assert "S3 requests are not included: No price is known for S3 read request" in cost.sentence


def test_the_plan_of_a_cluster_counts_the_processors_of_the_cluster(model, eyes, capsys):
    prices = InstancePrices(PriceSheet.load(), "ml.m5.large", "us-east-1")
    run = _RayRun(OWN_NAMES, worker_settings(model, eyes), "10.0.0.1:6379", prices, False)
    run._ray_of_cluster = SimpleNamespace(cluster_resources=lambda: {"CPU": 40.0})
    run.print_plan(plan_of(photographs=3600, size_bytes=30_000), is_all=True, as_json=True)
    said = capsys.readouterr()
    plan = json.loads(said.out)
    expected_s = 3600 * 0.5 / (40 * WORKER_EFFICIENCY)
    assert (plan["workers"], plan["cost_usd"]) == (40, None)
    assert plan["expected_s"] == pytest.approx(expected_s)
    assert "3,600 photographs, 30 kB on 40 processes of the cluster 10.0.0.1:6379" in said.err
    assert "so about 50 s on processors as fast as those here" in said.err


def test_the_price_of_a_million_photographs_in_s3_has_their_requests(model, eyes, capsys):
    prices = InstancePrices(PriceSheet.load(), "ml.m5.large", "us-east-1")
    usd = {}
    for in_s3 in (False, True):
        run = _RayRun(OWN_NAMES, worker_settings(model, eyes), None, prices, in_s3)
        run.print_plan(plan_of(photographs=9, size_bytes=9), is_all=True, as_json=True)
        plan = json.loads(capsys.readouterr().out)
        usd[in_s3] = plan["projected"][0]["cost_usd_per_million"]
    assert usd[True] - usd[False] == pytest.approx(0.4)


def test_nodes_are_limited_by_processors_by_reading_or_by_the_table():
    small = MeasuredPhotographs(seconds=0.01, size_bytes=1e5, measured=12)
    assert small.project_grading_rate(1, 2).photographs_per_hour == pytest.approx(
        2 * WORKER_EFFICIENCY * 360000
    )
    assert small.project_grading_rate(3, 2).photographs_per_hour == pytest.approx(
        6 * WORKER_EFFICIENCY * 360000
    )
    large = MeasuredPhotographs(seconds=0.01, size_bytes=1e6, measured=12)
    limits = [
        small.project_grading_rate(1, 2),
        large.project_grading_rate(1, 2),
        small.project_grading_rate(200, 2),
    ]
    assert [one.limit for one in limits] == ["processors", "reading", "writing the table"]
    (one, _, many) = limits
    assert many.cost_usd_per_million(0.1) > one.cost_usd_per_million(0.1)
