"""The page and what lies beside it."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from drdeploy.cli.report import report as report_command
from drdeploy.errors import AnalysisError, InvalidInput
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.report.evidence import compute_evidence
from drdeploy.study.report.report import render_report_page, write_report_page_and_files

WRITTEN_AT = datetime(2025, 3, 4, tzinfo=UTC)
VOID = {"meta", "link", "br", "img", "input", "hr"}


def page_of(folder, **options) -> str:
    """The page without its figures, which are what takes time."""
    evidence = compute_evidence(load_results_folder(folder), PriceSheet.load(), **options)
    return render_report_page(evidence, [], written_at=WRITTEN_AT)


def text_of(html: str) -> str:
    body = html[html.index("<body") :]
    flat = re.sub(r"<svg.*?</svg>|<[^>]+>", " ", body, flags=re.DOTALL)
    return re.sub(r"\s+", " ", flat.replace("&nbsp;", " ").replace("\u00a0", " "))


@pytest.fixture(scope="module")
def written(quick_results, tmp_path_factory):
    evidence = compute_evidence(load_results_folder(quick_results), PriceSheet.load())
    page = tmp_path_factory.mktemp("report") / "report.html"
    write_report_page_and_files(evidence, page, written_at=WRITTEN_AT)
    return page


@pytest.fixture(scope="module")
def page(written) -> str:
    return written.read_text()


class _Balance(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.ids: list[str] = []

    def handle_starttag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.ids += [value for name, value in attrs if name == "id"]

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_well_formed_and_its_ids_are_unique(page):
    parser = _Balance()
    parser.feed(page)
    assert parser.open == []
    assert len(parser.ids) == len(set(parser.ids))


def test_the_page_refers_to_nothing_outside_itself(page):
    assert "<script" not in page
    assert "<link" not in page
    assert "@import" not in page
    references = re.findall(r'(?:src|href)="([^"]+)"', page) + re.findall(r"url\(([^)]+)\)", page)
    assert all(reference.startswith("#") for reference in references)


def test_every_scenario_is_on_the_page_with_n_interval_and_cost(page):
    rows = re.findall(r'<tr id="([^"]+)"[^>]*>(.*?)</tr>', page, flags=re.DOTALL)
    assert len(rows) == 12
    for _, row in rows:
        shown = text_of("<body>" + row)
        assert re.search(r" 1[02] ", shown)
        assert len(re.findall(r"[\d.]+ to [\d.]+", shown)) >= 4
        assert re.search(r"0\.0000\d+ each", shown)


def test_the_answer_comes_before_everything_else(page):
    assert page.index('id="answer"') < page.index('id="scenarios"') < page.index('id="figures"')
    assert page.count('class="card"') == 6


def test_the_page_says_what_was_left_out(page):
    assert "8 of 140 rows are kept in the file but do not count" in text_of(page)
    assert "6 warm up, 1 throttled, 1 wrong start" in text_of(page)


def test_a_warning_says_that_grades_of_untrained_weights_mean_nothing(page):
    assert "random weights, so the predicted grades mean nothing" in text_of(page)


def test_the_page_shows_the_research_notice_prices_with_dates_and_the_environment(page):
    shown = text_of(page)
    assert RESEARCH_USE_NOTICE in shown
    assert "serverless 1024 MB 0.00002 second us-east-1 2026-05 AWS price list" in shown
    assert "Example CPU @ 2.5 GHz" in shown


def test_a_local_study_says_what_it_cannot_know(page):
    assert "no network, no image pull" in text_of(page)


def test_the_same_rows_give_the_same_page(quick_results):
    assert page_of(quick_results) == page_of(quick_results)


def test_processes_without_limits_are_flagged_at_the_top_and_in_their_rows(quick_rows, results_of):
    page = page_of(results_of([replace(row, isolation="process") for row in quick_rows]))
    warnings = page[: page.index('id="answer"')]
    assert "limits were not enforced in 12 of 12 scenarios" in text_of(warnings)
    assert page.count("no limits enforced") == 12


def test_an_unknown_price_is_stated_in_its_cell_and_at_the_top(quick_rows, results_of):
    rows = [replace(row, memory_mb=7168) if row.memory_mb == 3072 else row for row in quick_rows]
    shown = text_of(page_of(results_of(rows)))
    assert shown.count("unknown price") == 4
    assert "No price is known for serverless 7168 MB in us-east-1" in shown


def test_a_trial_with_failures_only_has_a_row_that_says_so(quick_rows, results_of):
    rows = [
        replace(row, outcome="unavailable", error="no room")
        if row.trial == "vgg19-fp32-lean-1024mb-cold"
        else row
        for row in quick_rows
    ]
    shown = text_of(page_of(results_of(rows)))
    assert "No row counts, so there is no number: 10 unavailable." in shown
    assert "The trial vgg19-fp32-lean-1024mb-cold has no results" in shown


def test_failures_alone_still_make_a_report(quick_rows, results_of):
    rows = [replace(row, outcome="timeout") for row in quick_rows]
    shown = text_of(page_of(results_of(rows)))
    assert "No row of vgg19 counts" in shown


def test_mixed_platforms_are_refused_unless_allowed_and_then_noted(quick_rows, results_of):
    other = [replace(row, platform="aws", trial=f"aws-{row.trial}") for row in quick_rows]
    folder = results_of([*quick_rows, *other])
    with pytest.raises(AnalysisError, match="--mixed"):
        page_of(folder)
    assert "Because of --mixed, rows that differ in platform are compared" in page_of(
        folder, allow_mixed=True
    )


def test_a_name_from_the_file_cannot_become_markup(quick_rows, results_of):
    rows = [replace(row, model="<script>alert(1)</script>") for row in quick_rows[:14]]
    assert "<script" not in page_of(results_of(rows))


def test_the_tables_have_the_page_s_numbers_in_full(quick_results, written):
    table = pd.read_csv(written.parent / "tables" / "scenarios.csv")
    frame = pd.read_csv(quick_results / "measurements.csv")
    trial = "vgg19-fp32-lean-2048mb-warm"
    rows = frame[(frame.trial == trial) & ~frame.is_warmup & (frame.outcome == "ok")]
    shown = table.set_index("trial").loc[trial]
    assert shown["n"] == len(rows)
    assert shown["total_latency_mean_s"] == pytest.approx(rows["total_latency_s"].mean())
    assert shown["cost_per_inference_usd"] == pytest.approx(rows["total_latency_s"].mean() * 4e-5)
    assert {path.name for path in (written.parent / "tables").iterdir()} == {
        "breakdown.csv",
        "comparisons.csv",
        "left_out.csv",
        "scenarios.csv",
        "steadiness.csv",
    }


def test_every_scenario_names_the_lines_of_its_rows(quick_results, written):
    table = pd.read_csv(written.parent / "tables" / "steadiness.csv").set_index("trial")
    lines = (quick_results / "measurements.csv").read_text().splitlines()
    first, last = map(int, table.loc["vgg19-fp32-lean-2048mb-warm", "lines"].split("-"))
    rows = lines[first - 1 : last]
    assert len(rows) == table.loc["vgg19-fp32-lean-2048mb-warm", "n"]
    assert all("vgg19-fp32-lean-2048mb-warm" in row for row in rows)


def test_outliers_are_listed_with_their_line_and_counted(quick_rows, results_of):
    slow = replace(quick_rows[5], total_latency_s=9.0)
    page = page_of(results_of([*quick_rows[:5], slow, *quick_rows[6:]]))
    assert "9.00 s (line 7)" in text_of(page)


def test_a_drift_is_reported_at_the_top(quick_rows, results_of):
    rows = [
        replace(row, total_latency_s=0.2 + 0.02 * row.sequence)
        if row.trial == "vgg19-fp32-lean-2048mb-warm"
        else row
        for row in quick_rows
    ]
    page = page_of(results_of(rows))
    warnings = page[: page.index('id="answer"')]
    assert "latency drifts from the first row to the last" in warnings
    assert "vgg19-fp32-lean-2048mb-warm" in warnings


def test_no_ratio_is_shown_without_its_interval_and_n(written, page):
    ratios = pd.read_csv(written.parent / "tables" / "comparisons.csv")
    needed = ["ratio_of_means_low", "ratio_of_means_high", "numerator_n", "denominator_n"]
    assert ratios[needed].notna().all().all()
    assert re.search(r"\d times (?!.{0,50}n = )", text_of(page)) is None


def test_the_picture_and_the_decision_come_before_everything_else(decided):
    text = decided.read_text()
    assert text.index('id="picture"') < text.index('class="warnings"') < text.index('id="decision"')
    assert text.index('id="decision"') < text.index('id="answer"') < text.index('id="scenarios"')
    assert re.search(r"Host mobilenet fp32 lean, \d+ MB: ", text_of(text))
    assert "a difference in cost of up to 5%" in text_of(text)
    assert "50,000 photographs a month, 4 of each patient, 20 s apart" in text_of(text)


def test_failures_alone_give_no_decision_and_say_why(quick_rows, results_of, command):
    folder = results_of([replace(row, outcome="timeout") for row in quick_rows])
    answer = command(folder)
    assert answer.exit_code == 0
    assert "No decision" in answer.stdout
    page = (folder / "report.html").read_text()
    assert "No configuration has the rows that a decision needs" in text_of(page)
    assert 'id="picture"' not in page  # there is nothing to draw


def test_unknown_prices_give_no_decision_and_say_why(quick_rows, results_of, command):
    rows = [
        replace(row, memory_mb=7168)
        for row in quick_rows
        if row.trial.startswith("mobilenet-fp32-lean-1024mb")
    ]
    folder = results_of(rows)
    answer = command(folder)
    assert answer.exit_code == 0, answer.exception
    assert "No decision" in answer.stdout
    page = text_of((folder / "report.html").read_text())
    assert "No option has a known cost" in page


@pytest.fixture(scope="module")
def decided(quick_results, tmp_path_factory):
    """The report as the command writes it."""
    page = tmp_path_factory.mktemp("decided") / "report.html"
    app = typer.Typer()
    app.command()(report_command)
    answer = CliRunner().invoke(app, [str(quick_results), "--out", str(page)])
    assert answer.exit_code == 0, answer.output
    return page


@pytest.fixture
def small_results(quick_rows, results_of):
    """One model, warm: few figures to draw."""
    return results_of([row for row in quick_rows if row.model == "vgg19" and "warm" in row.trial])


@pytest.fixture
def command():
    app = typer.Typer()
    app.command()(report_command)
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


def test_the_command_writes_the_page_and_prints_the_answer(command, small_results):
    result = command(small_results)
    assert result.exit_code == 0
    assert (small_results / "report.html").is_file()
    figures = {path.name for path in (small_results / "figures").glob("*.svg")}
    assert len(figures) == 6
    assert {"scenarios-wide.svg", "scenarios-narrow.svg"} < figures
    assert "Cheapest when warm is 1024 MB" in result.stdout


def test_the_command_prints_estimates_as_json(command, small_results, tmp_path):
    page = tmp_path / "elsewhere" / "page.html"
    result = command(small_results, "--json", "--out", page)
    document = json.loads(result.stdout)
    assert document["report"] == str(page)
    assert page.is_file()
    assert len(document["scenarios"]) == 3
    mean = document["scenarios"][0]["total_latency_s"]["mean"]
    assert mean["low"] < mean["value"] < mean["high"]
    assert mean["n"] == 12


def test_the_command_takes_a_price_sheet_of_one_s_own(command, small_results, tmp_path):
    sheet = tmp_path / "prices.toml"
    sheet.write_text(
        '[[serverless_second]]\nregion = "us-east-1"\ndate = "2030-01"\nsource = "mine"\n'
        "usd_by_memory_mb = { 1024 = 1.0, 2048 = 1.0, 3072 = 1.0 }\n"
    )
    result = command(small_results, "--json", "--prices", sheet)
    assert {price["source"] for price in json.loads(result.stdout)["prices"]} == {"mine"}


def test_the_command_refuses_a_folder_without_measurements(command, tmp_path):
    error = command(tmp_path).exception
    assert isinstance(error, AnalysisError)
    assert str(error).startswith(str(tmp_path))


def test_the_command_refuses_a_broken_price_sheet(command, quick_results, tmp_path):
    (tmp_path / "prices.toml").write_text("not toml at all")
    result = command(quick_results, "--prices", tmp_path / "prices.toml")
    assert isinstance(result.exception, InvalidInput)
    assert "price sheet cannot be read" in str(result.exception)
