"""Prices are read from AWS's list, and what is not recognised stays unknown."""

import json
from datetime import date

import boto3
import pytest
from botocore.stub import Stubber
from typer.testing import CliRunner

from drdeploy.cli.prices import app
from drdeploy.errors import EndpointError, InvalidInput, UnknownPrice
from drdeploy.hosting.sagemaker import price_list_api
from drdeploy.hosting.sagemaker.price_sheet import PriceSheet

REGION = "eu-central-1"


def product(usagetype, *steps, service="AmazonSageMaker", **attributes):
    dimensions = {
        f"code.{begin}": {"beginRange": str(begin), "pricePerUnit": {"USD": str(usd)}, "unit": "x"}
        for begin, usd in steps
    }
    return {
        "product": {
            "attributes": {"usagetype": usagetype, "servicecode": service, **attributes},
            "sku": "ABC",
        },
        "terms": {"OnDemand": {"ABC.DEF": {"priceDimensions": dimensions}}},
    }


LISTED = {
    "AmazonSageMaker": [
        product("EUC1-Host:ml.m5.xlarge", (0, 0.276)),
        product("EUC1-AsyncInf:ml.m5.xlarge", (0, 0.277)),
        product("EUC1-Tsform:ml.m5.xlarge", (0, 0.278)),
        product("EUC1-Train:ml.m5.xlarge", (0, 0.9)),
        product("EUC1-ServerlessInf:Mem-2GB", (0, 0.0), (150000, 0.000043)),
        product(
            "EUC1-ProvisionedConcurrency:Mem-2GB",
            (0, 0.0000233),
            group="ServerlessProvisionedConcurrency-Duration",
        ),
        product(
            "EUC1-ProvisionedConcurrency:Usage-2GB",
            (0, 0.00001),
            group="ServerlessProvisionedConcurrency-Usage",
        ),
        product("EUC1-ProvisionedConcurrency:Odd-4GB", (0, 9.0)),
        product("EUC1-Hst:Data-Bytes-In", (0, 0.016)),
        product("EUC1-Invoke:Data-Bytes-Out", (0, 0.018), group="Hosting:OUT"),
        {"product": {"attributes": {}}, "terms": {}},
    ],
    "AmazonECR": [product("EUC1-TimedStorage-ByteHrs", (0, 0.1), service="AmazonECR")],
    "AmazonS3": [
        product(
            "EUC1-TimedStorage-ByteHrs",
            (0, 0.0245),
            (51200, 0.0235),
            service="AmazonS3",
            volumeType="Standard",
        ),
        product("EUC1-TimedStorage-ByteHrs", (0, 9.0), service="AmazonS3", volumeType="Glacier"),
    ],
}


@pytest.fixture
def pricing(monkeypatch):
    client = boto3.client(
        "pricing",
        region_name=price_list_api.API_REGION,
        aws_access_key_id="made-up",
        aws_secret_access_key="made-up",
    )
    monkeypatch.setattr(boto3, "client", lambda *_, **__: client)
    with Stubber(client) as stubber:
        yield stubber


def update(path, *more):
    arguments = ["update", "--from", "api", "--region", REGION, "--out", path, *more]
    return CliRunner().invoke(app, arguments)


def answer(stubber, listed):
    for service in price_list_api.SERVICES:
        wanted = [{"Type": "TERM_MATCH", "Field": "regionCode", "Value": REGION}]
        half = len(listed[service]) // 2
        parameters = {"ServiceCode": service, "Filters": wanted}
        pages = [
            [json.dumps(one) for one in part]
            for part in (listed[service][:half], listed[service][half:])
        ]
        stubber.add_response("get_products", {"PriceList": pages[0], "NextToken": "n"}, parameters)
        stubber.add_response(
            "get_products", {"PriceList": pages[1]}, {**parameters, "NextToken": "n"}
        )


def test_an_updated_sheet_has_every_price_that_was_recognised(pricing, tmp_path):
    answer(pricing, LISTED)
    path = tmp_path / "mine" / "prices.toml"
    result = CliRunner().invoke(
        app, ["update", "--from", "api", "--region", REGION, "--out", str(path), "--json"]
    )
    assert result.exit_code == 0, result.output
    pricing.assert_no_pending_responses()
    sheet = PriceSheet.load(path)
    assert sheet.instance_hour("ml.m5.xlarge", REGION).usd == 0.276
    assert sheet.asynchronous_hour("ml.m5.xlarge", REGION).usd == 0.277
    assert sheet.batch_hour("ml.m5.xlarge", REGION).usd == 0.278
    assert sheet.serverless_second(2048, REGION).usd == 0.000043
    assert sheet.provisioned_processing_second(2048, REGION).usd == 0.0000233
    assert sheet.provisioned_held_second(2048, REGION).usd == 0.00001
    assert sheet.data_processed_gb(REGION).usd == 0.018
    assert sheet.registry_gb_month(REGION).usd == 0.1
    assert sheet.bucket_gb_month(REGION).usd == 0.0245
    assert len(json.loads(result.stdout)["prices"]) == len(sheet.prices) == 9


def test_every_price_carries_the_day_and_the_source(pricing, tmp_path):
    collected = price_list_api.collect_hosting_prices(LISTED["AmazonSageMaker"], REGION)
    path = tmp_path / "prices.toml"
    path.write_text(
        price_list_api.format_prices_as_toml(collected, region=REGION, on=date(2025, 6, 1))
    )
    for price in PriceSheet.load(path).prices:
        assert (price.date, price.source) == ("2025-06-01", "AWS Price List API")


def test_what_is_not_recognised_stays_unknown(tmp_path):
    collected = price_list_api.collect_hosting_prices(LISTED["AmazonSageMaker"], REGION)
    path = tmp_path / "prices.toml"
    path.write_text(
        price_list_api.format_prices_as_toml(collected, region=REGION, on=date(2025, 6, 1))
    )
    sheet = PriceSheet.load(path)
    with pytest.raises(UnknownPrice):
        sheet.provisioned_held_second(4096, REGION)
    with pytest.raises(UnknownPrice):
        sheet.bucket_gb_month(REGION)


def test_a_region_without_hosting_is_an_error(pricing, tmp_path):
    answer(pricing, {service: [] for service in price_list_api.SERVICES})
    path = tmp_path / "prices.toml"
    result = CliRunner().invoke(
        app, ["update", "--from", "api", "--region", REGION, "--out", str(path)]
    )
    assert isinstance(result.exception, InvalidInput)
    assert not path.exists()


def test_a_refusal_says_what_and_where(pricing, tmp_path):
    pricing.add_client_error("get_products", "AccessDeniedException", "no")
    result = CliRunner().invoke(
        app, ["update", "--from", "api", "--region", REGION, "--out", str(tmp_path / "p")]
    )
    assert isinstance(result.exception, EndpointError)
    assert "AccessDeniedException" in str(result.exception)


def test_prices_in_another_currency_are_refused_with_its_name():
    listed = json.dumps(product("CNN1-Host:ml.m5.xlarge", (0, 1.9))).replace("USD", "CNY")
    with pytest.raises(InvalidInput, match=r"cn-north-1 in CNY, but .* US dollars.*Convert"):
        price_list_api.collect_hosting_prices([json.loads(listed)], "cn-north-1")


def test_one_price_in_another_currency_is_never_left_out():
    listed = [product("EUC1-Host:ml.m5.xlarge", (0, 0.276))]
    other = product("EUC1-Host:ml.c5.large", (0, 1.9))
    listed.append(json.loads(json.dumps(other).replace("USD", "CNY")))
    with pytest.raises(InvalidInput, match="in CNY"):
        price_list_api.collect_hosting_prices(listed, REGION)


def test_a_sheet_in_another_currency_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "prices.toml").write_text('currency = "EUR"')
    with pytest.raises(InvalidInput, match="Convert prices in other currencies to US dollars"):
        PriceSheet.load(tmp_path / "prices.toml")
