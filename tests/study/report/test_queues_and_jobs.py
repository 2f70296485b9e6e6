"""A queue and transform jobs on the page, beside the requests and never among them."""

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from drdeploy.errors import AnalysisError
from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.recommendation.configurations import collect_measured_configurations
from drdeploy.study.report.evidence import compute_evidence, convert_evidence_to_json
from drdeploy.study.report.report import write_report_page_and_files
from drdeploy.study.report.tables import make_all_tables

ASSUMED = Path(__file__).parents[3] / "examples" / "assumed-asynchronous-and-batch-prices.toml"
SHEET = PriceSheet.load().joined(PriceSheet.load(ASSUMED))


def on_instances(row, kind, **changes):
    return replace(
        row,
        trial=f"mobilenet-fp32-lean-c5.large-{kind}",
        scenario=kind,
        endpoint_kind=kind,
        memory_mb=None,
        instance_type="ml.c5.large",
        instance_count=2,
        vcpu=2.0,
        is_warmup=False,
        **changes,
    )


@pytest.fixture(scope="module")
def queued(quick_rows):
    """Ten requests; each waits a second for each request ahead."""
    row = next(row for row in quick_rows if row.scenario == "warm" and row.model == "mobilenet")
    return [
        on_instances(
            row,
            "asynchronous",
            sequence=n,
            status=202,
            requests_ahead=n - 1,
            container_latency_s=0.5,
            total_latency_s=0.5 + n - 1 + n / 100,
        )
        for n in range(1, 11)
    ]


@pytest.fixture(scope="module")
def jobs(quick_rows):
    """Three jobs of 100 photographs: 60 s to start, and 0.2 s of work for each photograph."""
    row = next(row for row in quick_rows if row.scenario == "cold" and row.model == "mobilenet")
    return [
        on_instances(
            row,
            "batch",
            sequence=n,
            outcome="ok",
            start="cold",
            photograph="",
            startup_s=60.0,
            photograph_count=100,
            total_latency_s=60.0 + 20.0 + n / 1000,
            container_latency_s=None,
            prediction_s=None,
            decode_s=None,
            transform_s=None,
            model_setup_s=None,
            container_invocation=None,
        )
        for n in range(1, 4)
    ]


@pytest.fixture
def evidence(quick_rows, queued, jobs, results_of):
    folder = results_of([*quick_rows, *queued, *jobs])
    return compute_evidence(load_results_folder(folder), SHEET)


def test_the_queue_is_what_the_container_does_not_explain(evidence):
    (queue,) = evidence.queues
    assert queue.longest_queue == 9
    assert queue.container.value == pytest.approx(0.5)
    assert queue.outside.value == pytest.approx(4.5 + 0.055)
    assert queue.arrival_to_output.value == pytest.approx(queue.outside.value + 0.5)


def test_a_queue_whose_length_no_row_gives_is_not_said_to_be_empty(queued, results_of, tmp_path):
    rows = [replace(row, requests_ahead=None) for row in queued]
    evidence = compute_evidence(load_results_folder(results_of(rows)), SHEET)
    assert evidence.queues[0].longest_queue is None
    page = tmp_path / "report.html"
    write_report_page_and_files(evidence, page, written_at=datetime(2025, 3, 3, tzinfo=UTC))
    assert 'data-label="longest queue"><b>—</b>' in page.read_text()


def test_only_the_time_in_the_container_of_a_queued_request_costs_money(evidence):
    (summary,) = [one for one in evidence.summaries if one.scenario.name == "asynchronous"]
    assert summary.cost.inference.value == pytest.approx(0.5 * 0.102 / 3600)


def test_a_job_has_its_whole_time_its_start_up_and_its_work_per_photograph(evidence):
    (one,) = evidence.jobs
    assert (one.photographs, one.scenario.counted_row_count) == (100, 3)
    assert one.total.value == pytest.approx(80.002)
    assert one.startup.value == pytest.approx(60.0)
    assert one.per_photograph.value == pytest.approx(0.20002)
    # Both instances are paid while they work; starting them costs nothing.
    assert one.cost_per_million_usd.value == pytest.approx(1e6 * 2 * 0.20002 * 0.102 / 3600)


def test_jobs_and_queues_stand_apart_from_the_requests(evidence, quick):
    assert all(not one.scenario.has_rows_of_transform_jobs for one in evidence.summaries)
    kinds = {finding.endpoint_kind for finding in evidence.findings}
    assert kinds == {"serverless"}
    configurations = collect_measured_configurations(evidence.measurements)
    assert configurations
    assert {one.configuration.endpoint_kind for one in configurations} == {"serverless"}


def test_the_page_the_tables_and_json_show_both(evidence, tmp_path):
    write_report_page_and_files(
        evidence, tmp_path / "report.html", written_at=datetime(2025, 3, 4, tzinfo=UTC)
    )
    page = (tmp_path / "report.html").read_text()
    text = re.sub(r"<[^>]+>", " ", page)
    assert "Asynchronous requests and their queue" in text
    assert "Batch Transform jobs" in text
    tables = make_all_tables(evidence)
    assert list(tables["queues"]["longest_queue"]) == [9]
    assert list(tables["jobs"]["photographs"]) == [100]
    document = convert_evidence_to_json(evidence)
    assert document["queues"][0]["longest_queue"] == 9
    assert document["jobs"][0]["startup_s"]["value"] == pytest.approx(60.0)


def test_a_page_of_jobs_alone_can_be_written(jobs, results_of, tmp_path):
    evidence = compute_evidence(load_results_folder(results_of(jobs)), PriceSheet.load())
    write_report_page_and_files(
        evidence, tmp_path / "report.html", written_at=datetime(2025, 3, 4, tzinfo=UTC)
    )
    assert "unknown price" in (tmp_path / "report.html").read_text()
    assert any("batch transform ml.c5.large" in warning for warning in evidence.warnings)


def test_jobs_that_failed_are_left_out_and_said_so(jobs, results_of):
    failed = [replace(row, outcome="model_error", error="The job is Failed") for row in jobs]
    evidence = compute_evidence(load_results_folder(results_of(failed)), PriceSheet.load())
    assert evidence.jobs == ()
    assert list(make_all_tables(evidence)["left_out"]["rows"]) == [3]
    assert any("none of its rows counts" in warning for warning in evidence.warnings)


def test_a_queue_without_its_columns_is_refused(jobs, results_of):
    with pytest.raises(AnalysisError, match="photograph_count"):
        load_results_folder(results_of([replace(row, photograph_count=None) for row in jobs]))
