"""What counts, what does not, and what is refused."""

import json
from dataclasses import replace

import pandas as pd
import pytest

from drdeploy.errors import AnalysisError
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.measurements.measurement import COLUMNS, REQUIRED
from drdeploy.study.measurements.results import ENVIRONMENT_FILE, MEASUREMENTS_FILE
from drdeploy.study.report.caveats import write_warnings_about_measurements


def test_warm_ups_failures_and_wrong_starts_are_kept_but_do_not_count(quick):
    assert quick.left_out == {"warm_up": 6, "throttled": 1, "wrong_start": 1}
    assert len(quick.frame) == len(quick.counted) + 8


def test_a_photograph_without_a_prediction_is_left_out_and_reported(quick_rows, results_of):
    rows = [replace(quick_rows[2], outcome="ungradable"), *quick_rows[3:]]
    measured = load_results_folder(results_of(rows))
    assert measured.left_out["ungradable"] == 1
    (found,) = [
        text
        for text in write_warnings_about_measurements(measured, ())
        if "cannot be graded" in text
    ]
    assert found.startswith("1 invocation sent a photograph")


@pytest.mark.parametrize(("after", "is_reported"), [(3.0, False), (87.0, True)])
def test_other_work_on_the_machine_is_reported(quick_rows, results_of, after, is_reported):
    environment = {
        "run-1": {"cpu_busy_percent_before": 2.0, "cpu_busy_percent_after": after},
        "without rows": {"cpu_busy_percent_before": 99.0},
    }
    found = write_warnings_about_measurements(
        load_results_folder(results_of(quick_rows, environment)), ()
    )
    assert any("up to 87 % busy" in text for text in found) == is_reported
    assert is_reported or not any("busy" in text for text in found)


def test_a_cold_scenario_never_counts_a_warm_start_even_if_the_row_says_ok(quick_rows, results_of):
    cold = [row for row in quick_rows if row.scenario == "cold"]
    lying = replace(cold[0], start="warm", outcome="ok")
    assert load_results_folder(results_of([lying, *cold[1:]])).left_out["wrong_start"] == 2


def test_an_always_on_row_is_warm_though_it_does_not_say_so(quick_rows, results_of):
    row = replace(
        quick_rows[1], endpoint_kind="realtime", scenario="real-time", start="", memory_mb=None,
        instance_type="ml.m5.xlarge",
    )  # fmt: skip
    assert list(load_results_folder(results_of([row])).counted["start"]) == ["warm"]


def test_an_empty_file_says_what_to_do(tmp_path):
    (tmp_path / MEASUREMENTS_FILE).write_text("")
    with pytest.raises(AnalysisError, match=r"no measurements yet.*study run"):
        load_results_folder(tmp_path)


def test_a_header_alone_is_no_measurement(results_of):
    with pytest.raises(AnalysisError, match="no measurements yet"):
        load_results_folder(results_of([]))


@pytest.mark.parametrize(
    ("text", "what"),
    [("run_id,run_id\n1,2\n", "several columns named 'run_id'"), ("a" * 200_000, "not valid CSV")],
)
def test_a_table_that_readers_could_understand_differently_is_refused(tmp_path, text, what):
    path = tmp_path / "measurements.csv"
    path.write_text(text)
    with pytest.raises(AnalysisError, match=what):
        load_results_folder(path)


def test_a_byte_order_mark_before_the_header_is_ignored(quick_results, tmp_path):
    content = (quick_results / MEASUREMENTS_FILE).read_bytes()
    (tmp_path / MEASUREMENTS_FILE).write_bytes(b"\xef\xbb\xbf" + content)
    assert len(load_results_folder(tmp_path).counted) == len(
        load_results_folder(quick_results).counted
    )


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(AnalysisError, match=MEASUREMENTS_FILE):
        load_results_folder(tmp_path)


def test_missing_columns_are_named(quick_results, tmp_path):
    text = (quick_results / MEASUREMENTS_FILE).read_text()
    (tmp_path / MEASUREMENTS_FILE).write_text(text.replace("prediction_s", "other", 1))
    with pytest.raises(AnalysisError, match="lack the column prediction_s"):
        load_results_folder(tmp_path)


def test_a_file_of_another_tool_may_lack_the_optional_columns(quick_results, tmp_path):
    frame = pd.read_csv(quick_results / MEASUREMENTS_FILE)[list(REQUIRED)]
    frame.to_csv(tmp_path / MEASUREMENTS_FILE, index=False)
    measured = load_results_folder(tmp_path)
    assert len(measured.counted) == len(load_results_folder(quick_results).counted)
    assert set(COLUMNS) <= set(measured.frame.columns)
    assert set(measured.frame["image"]) == {""}
    assert measured.frame["payload_bytes"].isna().all()


def test_a_last_line_that_was_cut_off_is_left_out_and_reported(quick_results, tmp_path):
    data = (quick_results / MEASUREMENTS_FILE).read_bytes()
    (tmp_path / MEASUREMENTS_FILE).write_bytes(data[:-150])
    measurements = load_results_folder(tmp_path)
    assert len(measurements.frame) == len(load_results_folder(quick_results).frame) - 1
    assert "incomplete" in measurements.notes[0]


def test_a_line_written_twice_counts_once_and_is_reported(quick_rows, results_of):
    measurements = load_results_folder(results_of([*quick_rows, quick_rows[5]]))
    assert len(measurements.frame) == len(quick_rows)
    assert "an identical copy of an earlier line and was not used" in measurements.notes[0]


@pytest.mark.parametrize(
    ("column", "value", "problem"),
    [
        ("total_latency_s", "fast", "not a number"),
        ("total_latency_s", "-1.0", "latency"),
        ("total_latency_s", "inf", "not a number"),
        ("total_latency_s", "", "a successful invocation has no total latency"),
        ("is_warmup", "maybe", "not true or false"),
        ("status", "OK", "status is 'OK', which is not a number"),
        ("start", "tepid", "'tepid', which is not one of cold, warm"),
        ("platform", "", "platform is '', which is not one of local, aws"),
        ("outcome", "splendid", "'splendid', which is not one of ok, throttled"),
        ("prediction_s", "-0.1", "negative"),
    ],
)
def test_a_value_that_makes_no_sense_is_refused_with_its_line(
    quick_results, tmp_path, column, value, problem
):
    lines = (quick_results / MEASUREMENTS_FILE).read_text().splitlines()
    fields = lines[2].split(",")
    fields[COLUMNS.index(column)] = value
    lines[2] = ",".join(fields)
    (tmp_path / MEASUREMENTS_FILE).write_text("\n".join(lines) + "\n")
    with pytest.raises(AnalysisError, match=f"line 3.*{problem}"):
        load_results_folder(tmp_path)


def test_a_trial_with_two_memory_sizes_is_refused(quick_rows, results_of):
    rows = [quick_rows[1], replace(quick_rows[2], memory_mb=2048)]
    with pytest.raises(AnalysisError, match="different values of 'memory_mb'"):
        load_results_folder(results_of(rows))


def test_rows_of_one_machine_are_comparable(quick):
    assert quick.differences() == {}
    quick.require_comparable()


@pytest.mark.parametrize("change", [{"platform": "aws"}, {"isolation": "process"}])
def test_mixed_platforms_or_isolation_refuse_to_be_compared(quick_rows, results_of, change):
    other = replace(quick_rows[40], **change)
    with pytest.raises(AnalysisError, match=f"{next(iter(change))}.*--mixed"):
        load_results_folder(results_of([*quick_rows, other])).require_comparable()


def test_mixed_machines_refuse_to_be_compared(quick_rows, results_of):
    elsewhere = [replace(row, run_id="run-2") for row in quick_rows[:20]]
    environment = {"run-1": {"cpu_model": "A"}, "run-2": {"cpu_model": "B"}}
    measurements = load_results_folder(results_of([*quick_rows, *elsewhere], environment))
    with pytest.raises(AnalysisError, match="machine"):
        measurements.require_comparable()


def test_a_model_that_changed_within_a_trial_refuses_to_be_compared(quick_rows, results_of):
    rebuilt = replace(quick_rows[2], model_digest="another")
    with pytest.raises(AnalysisError, match="model digest within a trial"):
        load_results_folder(results_of([*quick_rows, rebuilt])).require_comparable()


def test_environment_facts_that_are_no_json_are_refused(quick_rows, results_of):
    folder = results_of(quick_rows)
    (folder / ENVIRONMENT_FILE).write_text("{")
    with pytest.raises(AnalysisError, match=r"environment\.json"):
        load_results_folder(folder)


def test_facts_are_kept_per_run(quick_results):
    facts = json.loads((quick_results / ENVIRONMENT_FILE).read_text())
    assert load_results_folder(quick_results).environment == facts


def test_a_file_of_measurements_that_is_too_large_is_refused_and_not_read(
    quick_rows, results_of, monkeypatch
):
    monkeypatch.setattr("drdeploy.study.measurements.load.FILE_BYTES_MAX", 100)
    with pytest.raises(AnalysisError, match="more than 100 bytes"):
        load_results_folder(results_of(quick_rows))


def test_facts_that_are_nested_without_end_are_refused(quick_rows, results_of):
    folder = results_of(quick_rows)
    (folder / ENVIRONMENT_FILE).write_text("[" * 100_000)
    with pytest.raises(AnalysisError, match="cannot be read as JSON"):
        load_results_folder(folder)
