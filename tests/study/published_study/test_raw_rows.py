"""Raw files become measurements; what makes no sense is refused with its place."""

import pandas as pd
import pytest

from drdeploy.errors import AnalysisError
from drdeploy.study.measurements.scenarios import group_rows_into_scenarios
from drdeploy.study.published_study.printed_figures import read_printed_figures
from drdeploy.study.published_study.raw_rows import load_raw_rows_of_study


def test_each_file_is_one_scenario_of_the_same_kind_as_a_study_s_own(made_up):
    scenarios = {s.trial: s for s in group_rows_into_scenarios(load_raw_rows_of_study(made_up()))}
    assert len(scenarios) == 9
    cold = scenarios["cold-start-Net-2gb"]
    assert (cold.start, cold.counted_row_count, cold.configuration.memory_or_instance_type) == (
        "cold",
        10,
        "2048 MB",
    )
    instance = scenarios["Net-c7g"]
    assert (instance.name, instance.configuration.memory_or_instance_type) == (
        "real-time",
        "ml.c7g.xlarge",
    )


def test_a_file_of_another_name_is_skipped_and_reported(made_up):
    folder = made_up()
    (folder / "notes from the lab.csv").write_text("a,b\n1,2\n")
    (note,) = load_raw_rows_of_study(folder).notes
    assert "notes from the lab.csv" in note


def test_rows_beside_the_file_of_all_rows_and_rows_of_no_experiment_are_not_lost(made_up):
    folder = made_up()
    rows = pd.read_csv(folder / "Net-m5.csv", index_col=0).assign(experiment="Net-m5")
    rows.to_csv(folder / "raw_rows.csv", index_label="row")
    (note,) = load_raw_rows_of_study(folder).notes
    assert "because raw_rows.csv holds the rows: Net-c7g.csv, Net-m4.csv" in note
    rows.assign(experiment="Net m5").to_csv(folder / "raw_rows.csv", index_label="row")
    with pytest.raises(AnalysisError, match="'Net m5', which is not the name of an experiment"):
        load_raw_rows_of_study(folder)


def test_row_numbers_out_of_order_are_reported_and_the_rows_kept(made_up):
    folder = made_up()
    path = folder / "Net-m5.csv"
    path.write_text(path.read_text().replace("\n16,", "\n17,"))
    study = load_raw_rows_of_study(folder)
    assert "Missing numbers: 16. Repeated numbers: 17." in study.notes[0]
    assert (study.counted["trial"] == "Net-m5").sum() == 25


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (",requestLatency,predictionLatency\n0,1,1\n", "lacks the columns fullLatency"),
        (",requestLatency,predictionLatency,fullLatency\n", "has no rows"),
        (",requestLatency,predictionLatency,fullLatency\n0,1,1,2\n1,1,1,-2\n", "line 3"),
        (",requestLatency,predictionLatency,fullLatency\n0,1,1,fast\n", "not a time in seconds"),
        (",requestLatency,predictionLatency,fullLatency\n0,1,,2\n", "predictionLatency"),
        ("", "not a CSV file"),
    ],
)
def test_rows_that_make_no_sense_are_refused_with_their_place(made_up, text, message):
    folder = made_up()
    (folder / "Net-m4.csv").write_text(text)
    with pytest.raises(AnalysisError, match="Net-m4") as refused:
        load_raw_rows_of_study(folder)
    assert message in str(refused.value)


def test_a_folder_without_raw_files_is_refused(tmp_path):
    with pytest.raises(AnalysisError, match="no raw rows"):
        load_raw_rows_of_study(tmp_path)


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["x,T,q,m,c,about 2,s"], "is not a number"),
        (["x,T,q,m,c,nan,s"], "is not a number"),
        (["x,T,q,m,c,1,s", "x,T,q,m,c,2,s"], "Two printed numbers have the id"),
        ([], "has no rows"),
    ],
)
def test_printed_figures_that_make_no_sense_are_refused(made_up, lines, message):
    with pytest.raises(AnalysisError, match=message):
        read_printed_figures(made_up(*lines))


def test_without_printed_figures_there_is_nothing_to_recompute(made_up):
    folder = made_up()
    (folder / "published.csv").unlink()
    with pytest.raises(AnalysisError, match=r"published\.csv"):
        read_printed_figures(folder)
