"""A month's bill is quantities times dated prices; an unknown price is an error."""

import pytest

from drdeploy.errors import AnalysisError, UnknownPrice
from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.recommendation.bill import (
    BilledEndpoint,
    MonthlyUsage,
    price_monthly_usage,
)

REGION = "us-east-1"
PROVISIONED = """
[[provisioned_second]]
region = "us-east-1"
date = "2030-01"
source = "made up for a test"
held_usd_by_memory_mb = { 2048 = 0.00001 }
duration_usd_by_memory_mb = { 2048 = 0.00002 }

[[request]]
region = "us-east-1"
date = "2025-01"
source = "made up for a test"
usd = 0.000001
"""


@pytest.fixture
def sheet(tmp_path):
    packaged = PriceSheet.load()
    path = tmp_path / "prices.toml"
    path.write_text(PROVISIONED)
    return PriceSheet((*packaged.prices, *PriceSheet.load(path).prices))


def test_a_serverless_month_is_seconds_data_and_storage():
    usage = MonthlyUsage(
        requests=1000, on_demand_s=500.0, data_gb=2.0, image_gb=0.5, artifact_gb=1.0
    )
    found = price_monthly_usage(BilledEndpoint(memory_mb=2048), usage, PriceSheet.load(), REGION)
    assert found.usd == pytest.approx(500 * 4e-5 + 2 * 0.016 + 0.5 * 0.10 + 1.0 * 0.023)


def test_provisioned_concurrency_is_paid_held_and_at_work(sheet):
    usage = MonthlyUsage(provisioned_held_s=3600.0, provisioned_duration_s=100.0)
    found = price_monthly_usage(BilledEndpoint(memory_mb=2048), usage, sheet, REGION)
    assert found.usd == pytest.approx(0.036 + 0.002)


def test_an_instance_month_is_its_hours():
    found = price_monthly_usage(
        BilledEndpoint(instance_type="ml.m5.xlarge"),
        MonthlyUsage(requests=10, instance_hours=1460.0),
        PriceSheet.load(),
        REGION,
    )
    assert found.usd == pytest.approx(335.80)


def test_requests_are_charged_only_by_a_sheet_that_prices_them(sheet):
    usage = MonthlyUsage(requests=1e6)
    assert price_monthly_usage(
        BilledEndpoint(memory_mb=2048), usage, sheet, REGION
    ).usd == pytest.approx(1.0)
    assert (
        price_monthly_usage(BilledEndpoint(memory_mb=2048), usage, PriceSheet.load(), REGION).usd
        == 0
    )


@pytest.mark.parametrize(
    ("endpoint", "usage"),
    [
        (BilledEndpoint(memory_mb=3072), MonthlyUsage(provisioned_held_s=1.0)),
        (BilledEndpoint(instance_type="ml.c6g.large"), MonthlyUsage(instance_hours=1.0)),
    ],
)
def test_what_was_used_without_a_known_price_is_an_error(endpoint, usage):
    with pytest.raises(UnknownPrice):
        price_monthly_usage(endpoint, usage, PriceSheet.load(), REGION)


def test_an_unknown_region_is_an_error():
    with pytest.raises(UnknownPrice, match="mars-1"):
        price_monthly_usage(
            BilledEndpoint(memory_mb=1024),
            MonthlyUsage(on_demand_s=1.0),
            PriceSheet.load(),
            "mars-1",
        )


def test_an_endpoint_is_one_of_the_two_kinds():
    with pytest.raises(AnalysisError):
        BilledEndpoint(memory_mb=1024, instance_type="ml.m5.xlarge")
    with pytest.raises(AnalysisError):
        BilledEndpoint()
