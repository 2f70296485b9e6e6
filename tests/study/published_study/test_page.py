"""The page of a reproduction, and what lies beside it."""

import re
from datetime import UTC, datetime

import pandas as pd
import pytest
from typer.testing import CliRunner

from drdeploy.cli.app import build_app
from drdeploy.errors import InvalidInput
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.published_study.page import (
    refuse_folder_of_another_study,
    write_reproduction_page_and_files,
)
from drdeploy.study.published_study.verdicts import reproduce_published_study

WRITTEN_AT = datetime(2025, 3, 4, tzinfo=UTC)


@pytest.fixture(scope="module")
def folder(original, tmp_path_factory):
    target = tmp_path_factory.mktemp("reproduction")
    write_reproduction_page_and_files(original, target, PriceSheet.load(), written_at=WRITTEN_AT)
    return target


@pytest.fixture(scope="module")
def page(folder) -> str:
    return (folder / "reproduction.html").read_text()


def test_the_page_has_the_twelve_figures_and_the_seven_tables(page, folder):
    captions = re.findall(r"<figcaption>Figure (6\.\d+): ", page)
    assert captions == [f"6.{number}" for number in range(1, 13)]
    assert len(list((folder / "figures").glob("figure-6-*.svg"))) == 12
    tables = re.findall(r'<h3 id="table-6-(\d)">', page)
    assert tables == ["1", "2", "3", "4", "5", "6", "7"]


def test_what_does_not_hold_comes_first_and_in_words(page):
    assert page.index('id="answer"') < page.index('id="does-not-hold"') < page.index('id="tables"')
    assert "3072 MB in place of 2048 MB (warm-up-MobileNet-3gb)" in page
    assert RESEARCH_USE_NOTICE in page


def test_the_figures_of_images_say_what_was_never_published(page):
    assert page.count("The study published no rows of the larger images") == 2


def test_the_page_refers_to_nothing_outside_itself(page):
    references = re.findall(r'(?:src|href)="([^"]+)"', page) + re.findall(r"url\(([^)]+)\)", page)
    assert all(reference.startswith("#") for reference in references)
    assert "<script" not in page


def test_every_figure_is_in_the_table_with_the_files_of_its_rows(folder):
    table = pd.read_csv(folder / "tables" / "verdicts.csv").set_index("id")
    assert len(table) == 66
    assert table.loc["t6.5-after-vgg19", "rows"] == "cold-start-VGG19-2gb"


def test_the_rows_can_be_read_as_any_other_study_s(folder, original):
    again = load_results_folder(folder / "measurements.csv")
    assert len(again.counted) == len(original.measurements.counted) == 410
    mine = again.counted.groupby("trial")["total_latency_s"].mean()
    theirs = original.measurements.counted.groupby("trial")["total_latency_s"].mean()
    pd.testing.assert_series_equal(mine, theirs)


def test_a_study_without_some_rows_says_which_figures_it_cannot_draw(made_up, tmp_path_factory):
    found = reproduce_published_study(made_up("x,Table 6.1,mean ModelSetupTime,Net,1024 MB,2,s"))
    target = tmp_path_factory.mktemp("partly")
    page = write_reproduction_page_and_files(
        found, target, PriceSheet.load(), written_at=WRITTEN_AT
    )
    text = page.read_text()
    assert text.count("The raw rows are missing.") == 12
    assert (
        "Every printed number that can be recomputed from the rows is reproduced or close." in text
    )


def test_a_name_from_a_file_cannot_become_markup(made_up, tmp_path_factory):
    found = reproduce_published_study(
        made_up('x,Table 1,<script>alert(1)</script>,Net,"1 & 2",2,s')
    )
    target = tmp_path_factory.mktemp("hostile")
    page = write_reproduction_page_and_files(
        found, target, PriceSheet.load(), written_at=WRITTEN_AT
    )
    assert "<script" not in page.read_text()


def test_the_measurements_of_another_study_are_not_overwritten(quick_results, folder):
    kept = (quick_results / "measurements.csv").read_bytes()
    refused = CliRunner().invoke(build_app(), ["reproduce", "--out", str(quick_results)]).exception
    assert isinstance(refused, InvalidInput)
    assert "The folder holds other measurements" in str(refused)
    assert (quick_results / "measurements.csv").read_bytes() == kept
    refuse_folder_of_another_study(folder)  # a reproduction may be repeated
