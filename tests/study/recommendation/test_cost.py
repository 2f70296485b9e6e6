"""Cost is a pure function of seconds and a dated price."""

import pandas as pd
import pytest

from drdeploy.errors import AnalysisError, UnknownPrice
from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.recommendation.inference_cost import (
    CostBasis,
    compute_cost_of_each_row_usd,
    look_up_price_per_second,
)

ROWS = pd.DataFrame({"total_latency_s": [2.0, 4.0], "container_latency_s": [1.0, None]})


def test_serverless_costs_memory_price_times_total_latency():
    price = look_up_price_per_second("serverless", 2048, "", PriceSheet.load())
    assert list(compute_cost_of_each_row_usd(ROWS, price)) == pytest.approx([0.00008, 0.00016])


def test_an_instance_costs_its_hour_spread_over_seconds():
    price = look_up_price_per_second("realtime", None, "ml.m5.xlarge", PriceSheet.load())
    assert price.usd_per_hour == pytest.approx(0.23)
    assert list(compute_cost_of_each_row_usd(ROWS, price)) == pytest.approx(
        [0.46 / 3600, 0.92 / 3600]
    )


def test_rows_without_a_container_time_are_absent_not_free():
    price = look_up_price_per_second("serverless", 1024, "", PriceSheet.load())
    assert list(
        compute_cost_of_each_row_usd(ROWS, price, CostBasis.CONTAINER_TIME)
    ) == pytest.approx([0.00002])


def test_a_price_carries_its_date_and_source():
    source = look_up_price_per_second("serverless", 1024, "", PriceSheet.load()).source
    assert source.date
    assert source.source


@pytest.mark.parametrize(
    ("kind", "memory_mb", "instance"),
    [("serverless", 1500, ""), ("realtime", None, "ml.p99.giant")],
)
def test_an_unknown_price_is_an_error(kind, memory_mb, instance):
    with pytest.raises(UnknownPrice):
        look_up_price_per_second(kind, memory_mb, instance, PriceSheet.load())


def test_an_unknown_kind_of_endpoint_is_an_error():
    with pytest.raises(AnalysisError, match="carrier pigeon"):
        look_up_price_per_second("carrier pigeon", None, "", PriceSheet.load())
