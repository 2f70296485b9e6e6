"""A price has a date, a region and a source; an unknown one is an error."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from drdeploy.cli.prices import app
from drdeploy.errors import InvalidInput, UnknownPrice
from drdeploy.hosting.sagemaker.price_sheet import PriceSheet


@pytest.fixture(scope="module")
def sheet():
    return PriceSheet.load()


@pytest.mark.parametrize(
    ("memory_mb", "usd"),
    [(1024, 2e-5), (2048, 4e-5), (3072, 6e-5), (4096, 8e-5), (5120, 1e-4), (6144, 1.2e-4)],
)
def test_serverless_seconds_cost_what_the_study_says(sheet, memory_mb, usd):
    price = sheet.serverless_second(memory_mb)
    assert (price.usd, price.unit, price.region) == (usd, "second", "us-east-1")
    # The study's prices of 2023 were read again in 2026 for the two smallest sizes.
    assert price.date == ("2026-05" if memory_mb <= 2048 else "2023-03")


def test_provisioned_concurrency_costs_what_the_public_source_says(sheet):
    # Its golden files have 9.32 USD for 400,000 s and 122.46 USD for 5,256,000 s of work.
    held, at_work = sheet.provisioned_held_second(2048), sheet.provisioned_processing_second(2048)
    assert held.usd * 400_000 == pytest.approx(4.00)
    assert round(at_work.usd * 400_000, 2) == 9.32
    assert round(at_work.usd * 5_256_000, 2) == 122.46
    assert held.date == at_work.date == "2026-05"
    with pytest.raises(UnknownPrice, match=r"3072 MB.*us-east-1"):
        sheet.provisioned_held_second(3072)


def test_instance_hours_carry_their_source(sheet):
    price = sheet.instance_hour("ml.c7g.xlarge")
    assert price.usd == 0.174
    assert "study" in price.source


def test_data_processing_is_priced_per_gb(sheet):
    assert (sheet.data_processed_gb().usd, sheet.data_processed_gb().unit) == (0.016, "GB")


def test_unknown_item_names_item_region_and_similar_known_items(sheet):
    with pytest.raises(UnknownPrice) as caught:
        sheet.instance_hour("ml.p5.48xlarge")
    message = str(caught.value)
    assert "ml.p5.48xlarge" in message
    assert "us-east-1" in message
    known = caught.value.remedy.partition(". ")[0].partition(": ")[2].split(", ")
    assert known
    assert all(sheet.instance_hour(item).usd for item in known)
    assert "KMS key" not in message  # not everything that the sheet prices
    assert "`drdeploy prices show` lists all known prices" in message


def test_unknown_region_names_where_the_item_is_known(sheet):
    with pytest.raises(UnknownPrice, match=r"sa-east-1.*known in us-east-1"):
        sheet.serverless_second(1024, "sa-east-1")


def test_the_newest_of_two_prices_wins(tmp_path):
    path = tmp_path / "prices.toml"
    entry = '[[data_processed_gb]]\nregion = "r"\nsource = "s"\ndate = "{}"\nusd = {}\n'
    path.write_text(entry.format("2025-01", 2.0) + entry.format("2024-12", 1.0))
    assert PriceSheet.load(path).data_processed_gb("r").usd == 2.0


@pytest.mark.parametrize(
    "text",
    [
        "not toml",
        "a = " + "[" * 5000,
        "a = " + "9" * 5000,
        "# " + "long" * 1_100_000,
        '[[data_processed_gb]]\nregion = "r"\ndate = "2025-01"\nusd = 1.0\n',
        '[[data_processed_gb]]\nregion = "r"\nsource = "s"\ndate = "soon"\nusd = 1.0\n',
        '[[data_processed_gb]]\nregion = "r"\nsource = "s"\ndate = "2025-01"\nusd = -1.0\n',
        '[[data_processed_gb]]\nregion = "r"\nsource = "s"\ndate = "2025-13"\nusd = 1.0\n',
        '[[data_processed_gb]]\nregion = "r"\nsource = "s"\ndate = "2025-02-30"\nusd = 1.0\n',
    ],
)
def test_a_price_without_source_date_or_sense_is_refused(tmp_path, text):
    path = tmp_path / "prices.toml"
    path.write_text(text)
    with pytest.raises(InvalidInput, match=r"prices\.toml") as refused:
        PriceSheet.load(path)
    assert "\n" not in str(refused.value)


def test_show_prints_every_price_as_json(sheet):
    result = CliRunner().invoke(app, ["show", "--json"])
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)) == len(sheet.prices)


def test_a_joined_sheet_has_the_prices_of_both(sheet, tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(
        '[[data_processed_gb]]\nregion = "us-east-1"\nsource = "s"\ndate = "2030-01"\nusd = 9.0\n'
    )
    joined = sheet.joined(PriceSheet.load(path))
    assert joined.data_processed_gb().usd == 9.0
    assert joined.serverless_second(1024) == sheet.serverless_second(1024)


def test_the_example_sheet_adds_provisioned_concurrency(sheet):
    root = Path(__file__).resolve().parents[3]
    joined = sheet.joined(PriceSheet.load(root / "examples/assumed-provisioned-prices.toml"))
    for memory_mb in (1024, 2048, 3072, 4096, 5120, 6144):
        on_demand = joined.serverless_second(memory_mb).usd
        held = joined.provisioned_held_second(memory_mb)
        assert held.usd == pytest.approx(on_demand / 4)
        assert held.usd < joined.provisioned_processing_second(memory_mb).usd < on_demand
        # The real price of one size is newer than the assumption, and confirms it.
        assert ("ASSUMED" in held.source) == (memory_mb != 2048)


def test_the_command_shows_every_digit_of_a_small_price(tmp_path):
    path = tmp_path / "prices.toml"
    path.write_text(
        '[[serverless_second]]\nregion = "us-east-1"\ndate = "2030-01"\nsource = "made up"\n'
        "usd_by_memory_mb = { 1024 = 0.0000116666, 2048 = 0.00000002 }\n"
    )
    shown = CliRunner().invoke(app, ["show", "--sheet", str(path)]).stdout
    assert "0.0000116666" in shown
    assert "0.00000002" in shown
