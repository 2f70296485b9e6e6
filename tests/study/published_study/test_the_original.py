"""What the original study printed, against its own raw rows."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import typer
from typer.testing import CliRunner

from drdeploy.cli.reproduce import reproduce as reproduce_command
from drdeploy.errors import AnalysisError
from drdeploy.statistics.percentiles import estimate_percentile
from drdeploy.study.measurements.scenarios import group_rows_into_scenarios
from drdeploy.study.published_study.document import (
    count_figures_by_verdict,
    write_sentences_on_differing_figures,
)
from drdeploy.study.published_study.printed_figures import ReproductionVerdict
from drdeploy.study.published_study.raw_rows import (
    PUBLISHED_FILE,
    ROWS_FILE,
    STUDY_FOLDER,
    STUDY_NAME,
    load_raw_rows_of_study,
    load_results_or_published_study,
)

DIFFERS = {
    "s6.1.2.1-warm-pred-mobilenet": "3072 MB in place of 2048 MB (warm-up-MobileNet-3gb)",
    "s6.1.2.1-warm-total-mobilenet": "90th percentiles",
    "s6.1.2.1-cost-reduction-vgg19": None,
    "s6.1.3-cold-over-warm-mobilenet": "1024 MB in place of 2048 MB "
    "(cold-start-MobileNet-1gb); each mean in seconds is first rounded to two decimals",
    "s6.1.3-cold-over-warm-vgg19": "1024 MB in place of 2048 MB "
    "(cold-start-VGG19-1gb); each mean in seconds is first rounded to two decimals",
    "t6.7-max-speedup-mobilenet": "ml.c7g.xlarge in place of ml.m5.xlarge (MobileNet-c7g); "
    "each mean in seconds is first rounded to five decimals",
    "s7-warm-speedup": None,
}


@pytest.fixture(scope="module")
def run():
    app = typer.Typer()
    app.command()(reproduce_command)
    return lambda *args: CliRunner().invoke(app, [str(arg) for arg in args])


@pytest.fixture(scope="module")
def verdicts(run):
    return {row["id"]: row for row in json.loads(run("--json").stdout)}


def test_every_printed_figure_has_a_verdict(verdicts):
    assert len(verdicts) == 66
    assert {row["verdict"] for row in verdicts.values()} == {
        verdict.value for verdict in ReproductionVerdict
    }
    for row in verdicts.values():
        assert {"id", "published", "recomputed", "interval", "verdict"} <= set(row)
        assert (row["recomputed"] is None) == (row["verdict"] == "not_recomputable")
        assert row["reason"] or row["interval"]


def test_the_figures_that_do_not_follow_are_found_with_the_reading_that_gives_them(verdicts):
    differing = {
        id_: row["reading"] for id_, row in verdicts.items() if row["verdict"] == "differs"
    }
    assert differing == DIFFERS


def test_the_recomputed_value_lies_within_its_interval(verdicts):
    for row in verdicts.values():
        if row["interval"]:
            assert row["interval"][0] < row["recomputed"] < row["interval"][1]


def test_the_other_size_comes_close_to_the_total_speed_up_of_mobilenet(verdicts):
    (near,) = verdicts["s6.1.2.1-warm-total-mobilenet"]["near_readings"]
    assert near["reading"] == "3072 MB in place of 2048 MB (warm-up-MobileNet-3gb)"
    assert near["value"] == pytest.approx(1.3825, abs=1e-4)


def test_means_rounded_before_they_were_divided_explain_what_is_close(verdicts):
    for id_ in ("s6.1.2.1-warm-pred-vgg19", "s6.1.2.2-cold-vgg19", "t6.7-share-mobilenet"):
        assert verdicts[id_]["verdict"] == "close"
        assert "rounded to" in verdicts[id_]["reading"]


def test_what_rests_on_unpublished_rows_agrees_with_the_rows_that_there_are(verdicts):
    for id_ in ("s6.1.1-image-speedup-vgg19", "s6.1.3-coldspeedup-mobilenet"):
        assert verdicts[id_]["verdict"] == "not_recomputable"
        assert verdicts[id_]["cross_check"]["verdict"] == "reproduced"


def test_each_figure_that_differs_has_a_sentence(original):
    sentences = write_sentences_on_differing_figures(original.figures)
    assert (
        len(sentences)
        == len(DIFFERS)
        == count_figures_by_verdict(original.figures)[ReproductionVerdict.DIFFERS]
    )
    assert (
        "printed 57.42, the rows give 34.527 (33.3 to 35.7, n = 10 and 25), 40 % less"
        in " ".join(sentences)
    )


def test_the_command_lists_every_figure_and_counts_the_verdicts(run, original, tmp_path):
    answer = run("--out", tmp_path)
    assert answer.exit_code == 0
    assert "17 reproduced, 10 close, 7 differs, 32 not recomputable" in answer.stdout
    assert [one.printed.id for one in original.figures if one.printed.id not in answer.stdout] == []


@pytest.mark.shared
def test_the_packaged_rows_are_those_that_the_study_published(shared, original):
    published = shared / "data" / "thesis-results"
    theirs, ours = load_raw_rows_of_study(published), original.measurements
    pd.testing.assert_frame_equal(ours.frame, theirs.frame)
    assert len(ours.frame) == 410
    assert ours.notes == theirs.notes
    assert (STUDY_FOLDER / PUBLISHED_FILE).read_bytes() == (published / PUBLISHED_FILE).read_bytes()


@pytest.mark.shared
def test_every_published_row_is_in_the_package_digit_by_digit(shared):
    published = shared / "data" / "thesis-results"
    packed = (STUDY_FOLDER / ROWS_FILE).read_text().splitlines()[1:]
    theirs = [
        line.replace(",", f",{path.stem},", 1)
        for path in sorted(published.glob("*.csv"))
        if path.name != PUBLISHED_FILE
        for line in path.read_text().splitlines()[1:]
    ]
    assert sorted(packed) == sorted(theirs)


def test_a_command_takes_the_study_by_its_name_or_by_a_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    by_name = load_results_or_published_study(Path(STUDY_NAME))
    assert len(by_name.counted) == 410
    assert by_name.source.name == STUDY_NAME
    shutil.copytree(STUDY_FOLDER, tmp_path / "copy")
    pd.testing.assert_frame_equal(
        load_results_or_published_study(Path("copy")).frame, by_name.frame
    )
    with pytest.raises(AnalysisError, match="cannot be read"):
        load_results_or_published_study(Path("thesis-2024"))


def test_a_file_with_odd_row_numbers_is_noted(original):
    assert any("MobileNet-m5.csv" in note for note in original.measurements.notes)


def test_ten_cold_rows_allow_no_interval_for_p95(original):
    rows = {
        scenario.trial: scenario for scenario in group_rows_into_scenarios(original.measurements)
    }
    seconds = rows["cold-start-VGG19-1gb"].known_values_of_column("total_latency_s")
    p95 = estimate_percentile(seconds, 0.95)
    assert p95.low is None
    assert p95.reason == "no interval: 10 rows, 59 needed"
