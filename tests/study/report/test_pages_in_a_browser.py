"""The pages as a reader meets them: on a phone, on a desk, on paper."""

from datetime import UTC, datetime

import pytest
from browser import look_at, print_page

from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.published_study.page import write_reproduction_page_and_files
from drdeploy.study.recommendation.decide import choose_cheapest_hosting
from drdeploy.study.recommendation.requirements import DecisionInputs
from drdeploy.study.recommendation.traffic import SHAPES, Traffic
from drdeploy.study.report.evidence import compute_evidence
from drdeploy.study.report.report import write_report_page_and_files

WRITTEN_AT = datetime(2025, 3, 4, tzinfo=UTC)
PHONE_PX, DESK_PX = 390, 1280
FIRST_SCREEN_PX = 844
READABLE_PX = 14
PAGES = ("report", "reproduction")
FIRST = {"report": "picture", "reproduction": "answer"}


@pytest.fixture(scope="module")
def pages(quick_results, original, tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    sheet = PriceSheet.load()
    report, rows = folder / "report.html", load_results_folder(quick_results)
    inputs = DecisionInputs(traffic=Traffic(requests_per_month=5_000, shape=SHAPES["clinic"]))
    write_report_page_and_files(
        compute_evidence(rows, sheet),
        report,
        written_at=WRITTEN_AT,
        decision=choose_cheapest_hosting(rows, sheet, inputs),
    )
    reproduction = write_reproduction_page_and_files(original, folder, sheet, written_at=WRITTEN_AT)
    return {"report": report, "reproduction": reproduction}


@pytest.fixture(scope="module")
def views(browser, pages, tmp_path_factory):
    folder = tmp_path_factory.mktemp("browser")
    return {
        (name, width): look_at(browser, page, folder, width)
        for name, page in pages.items()
        for width in (PHONE_PX, DESK_PX)
    }


@pytest.mark.parametrize("width", [PHONE_PX, DESK_PX])
@pytest.mark.parametrize("name", PAGES)
def test_nothing_lies_outside_the_screen(views, name, width):
    view = views[name, width]
    assert view["width"] == width
    assert view["outside"] == []
    assert view["scroll_width"] <= width


@pytest.mark.parametrize("name", PAGES)
def test_on_a_phone_the_answer_begins_on_the_first_screen_in_readable_letters(views, name):
    view = views[name, PHONE_PX]
    first = view["tops"][FIRST[name]]
    assert first == min(view["tops"].values())
    assert first < FIRST_SCREEN_PX / 2
    assert view["font_px"] >= READABLE_PX


@pytest.mark.parametrize("width", [PHONE_PX, DESK_PX])
@pytest.mark.parametrize(("name", "count"), [("report", 19), ("reproduction", 12)])
def test_every_figure_is_drawn_within_the_page(views, name, count, width):
    pictures = views[name, width]["pictures"]
    assert len(pictures) == count
    assert all(250 < across <= width and 120 < down < 1.2 * across for across, down in pictures)


def test_the_picture_fits_on_the_first_screen_in_the_layout_of_its_width(views):
    tops = views["report", PHONE_PX]["tops"]
    assert tops["picture"] < tops["decision"] < tops["answer"]
    across, down = views["report", PHONE_PX]["pictures"][0]
    assert tops["picture"] + down < FIRST_SCREEN_PX
    assert down > across
    across, down = views["report", DESK_PX]["pictures"][0]
    assert down < across / 2


@pytest.mark.parametrize("name", PAGES)
def test_the_page_fetches_nothing(views, name):
    assert views[name, DESK_PX]["requests"] == []


def test_on_a_phone_each_cell_carries_its_column_s_name(views):
    assert {'"mean"', '"p95"', '"USD per million"'} <= set(views["report", PHONE_PX]["labels"])
    assert views["report", DESK_PX]["labels"] == ["none"]


def test_what_lies_outside_the_screen_would_be_noticed(browser, tmp_path):
    page = tmp_path / "wide.html"
    page.write_text('<section id="answer"><p class="far" style="width:900px">Far out</p></section>')
    view = look_at(browser, page, tmp_path, PHONE_PX)
    assert any("P.far Far out" in one for one in view["outside"])
    assert view["scroll_width"] > PHONE_PX


@pytest.mark.parametrize("name", PAGES)
def test_the_page_prints_on_a_few_sheets(browser, pages, name, tmp_path):
    assert 3 <= print_page(browser, pages[name], tmp_path) <= 25
