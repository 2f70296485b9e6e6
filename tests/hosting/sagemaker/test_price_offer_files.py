"""Prices are read from the public offer files of AWS, as a server of such files has them."""

import contextlib
import gzip
import json
import tracemalloc
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from typer.testing import CliRunner

from drdeploy.cli.prices import app
from drdeploy.errors import EndpointError, InvalidInput
from drdeploy.hosting.sagemaker import price_offer_files
from drdeploy.hosting.sagemaker.price_sheet import PriceSheet
from drdeploy.units import MIB

REGION = "eu-west-3"


def offer_file(service, prices, currency="USD"):
    """A file in the format of AWS: products by SKU, and terms by kind, SKU and term."""
    products, on_demand = {}, {}
    for number, (usagetype, price, attributes) in enumerate(prices):
        sku = f"SKU{number}"
        products[sku] = {
            "sku": sku,
            "productFamily": "ML Instance",
            "attributes": {
                "servicecode": service,
                "regionCode": REGION,
                "usagetype": usagetype,
                **attributes,
            },
        }
        code = f"{sku}.JRTCKXETXF"
        on_demand[sku] = {
            code: {
                "offerTermCode": "JRTCKXETXF",
                "sku": sku,
                "effectiveDate": "2026-10-01T00:00:00Z",
                "priceDimensions": {
                    f"{code}.6YS6EN2CT7": {
                        "rateCode": f"{code}.6YS6EN2CT7",
                        "beginRange": "0",
                        "endRange": "Inf",
                        "unit": "Hrs",
                        "pricePerUnit": {currency: f"{price:.10f}"},
                        "appliesTo": [],
                    }
                },
                "termAttributes": {},
            }
        }
    return {
        "formatVersion": "v1.0",
        "disclaimer": "This pricing list is for informational purposes only.",
        "offerCode": service,
        "version": "20261004025606",
        "publicationDate": "2026-10-04T02:56:06Z",
        "products": products,
        "terms": {"OnDemand": on_demand, "Reserved": {}},
        "attributesList": {},
    }


HOSTING = (
    ("EUW3-Host:ml.g4dn.xlarge", 0.861, {}),
    ("EUW3-Tsform:ml.g4dn.xlarge", 0.861, {}),
    ("EUW3-AsyncInf:ml.g4dn.2xlarge", 1.099, {}),
    ("EUW3-ServerlessInf:Mem-2GB", 0.000047, {}),
    (
        "EUW3-ProvisionedConcurrency:Usage-2GB",
        0.0000117,
        {"group": "ServerlessProvisionedConcurrency-Usage"},
    ),
    (
        "EUW3-ProvisionedConcurrency:Mem-2GB",
        0.0000273,
        {"group": "ServerlessProvisionedConcurrency-Duration"},
    ),
)
STORED = ("EUW3-TimedStorage-ByteHrs", 0.024, {"volumeType": "Standard"})


@pytest.fixture
def offers(tmp_path):
    """Write the files of a region, and return the address of the server that has them."""
    root = tmp_path / "offers"

    def write(service, document):
        folder = root / "offers/v1.0/aws" / service / "current" / REGION
        folder.mkdir(parents=True)
        (folder / "index.json").write_text(document)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            """Log nothing."""

    root.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(root)))
    Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}", write
    server.shutdown()
    server.server_close()


def update(address, path, *more):
    arguments = ["update", "--region", REGION, "--address", address, "--out", str(path), *more]
    return CliRunner().invoke(app, arguments)


def test_the_offer_files_of_a_region_become_a_price_sheet(offers, tmp_path):
    address, write = offers
    write("AmazonSageMaker", json.dumps(offer_file("AmazonSageMaker", HOSTING)))
    write(
        "AmazonECR", json.dumps(offer_file("AmazonECR", [("EUW3-TimedStorage-ByteHrs", 0.1, {})]))
    )
    write("AmazonS3", json.dumps(offer_file("AmazonS3", [STORED])))
    path = tmp_path / "prices.toml"
    result = update(address, path)
    assert result.exit_code == 0, result.output
    sheet = PriceSheet.load(path)
    assert sheet.instance_hour("ml.g4dn.xlarge", REGION).usd == 0.861
    assert sheet.batch_hour("ml.g4dn.xlarge", REGION).usd == 0.861
    assert sheet.asynchronous_hour("ml.g4dn.2xlarge", REGION).usd == 1.099
    assert sheet.serverless_second(2048, REGION).usd == 0.000047
    assert sheet.provisioned_held_second(2048, REGION).usd == 0.0000117
    assert sheet.provisioned_processing_second(2048, REGION).usd == 0.0000273
    assert sheet.registry_gb_month(REGION).usd == 0.1
    assert sheet.bucket_gb_month(REGION).usd == 0.024
    assert {price.source for price in sheet.prices} == {"AWS price list, public offer files"}


def test_a_region_without_offer_files_is_refused(offers, tmp_path):
    result = update(offers[0], tmp_path / "prices.toml")
    assert isinstance(result.exception, InvalidInput)
    assert f"no offer file of AmazonSageMaker for the region {REGION}" in str(result.exception)
    assert not (tmp_path / "prices.toml").exists()


@pytest.mark.parametrize("document", ["<html>", "[]", '{"products": {}}'])
def test_what_is_no_offer_file_is_refused(offers, tmp_path, document):
    offers[1]("AmazonSageMaker", document)
    result = update(offers[0], tmp_path / "prices.toml")
    assert isinstance(result.exception, EndpointError)
    assert "AmazonSageMaker" in str(result.exception)


def test_an_address_that_does_not_answer_names_the_other_way(tmp_path):
    result = update("http://127.0.0.1:9", tmp_path / "prices.toml")
    assert isinstance(result.exception, EndpointError)
    assert "--from api" in str(result.exception)


def test_prices_in_another_currency_are_refused_with_its_name(offers, tmp_path):
    listed = offer_file("AmazonSageMaker", HOSTING, currency="CNY")
    offers[1]("AmazonSageMaker", json.dumps(listed))
    offers[1]("AmazonECR", json.dumps(offer_file("AmazonECR", [])))
    offers[1]("AmazonS3", json.dumps(offer_file("AmazonS3", [])))
    result = update(offers[0], tmp_path / "prices.toml")
    assert isinstance(result.exception, InvalidInput)
    assert "in CNY, but a price sheet is in US dollars" in str(result.exception)


def test_an_address_without_offer_files_is_not_ignored(tmp_path):
    result = update("http://127.0.0.1:9", tmp_path / "prices.toml", "--from", "api")
    assert isinstance(result.exception, InvalidInput)
    assert "--from api does not read offer files" in str(result.exception)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: "[" * 100_000,
        lambda text: text.replace('"0.8610000000"', '"1e999"'),
        lambda text: text.replace('"0.8610000000"', '"cheap"'),
        lambda text: text.replace('"0.8610000000"', "[]"),
        lambda text: text.replace('"beginRange": "0"', '"beginRange": {}'),
        lambda text: json.dumps(json.loads(text) | {"products": []}),
        lambda text: json.dumps(json.loads(text) | {"products": {"SKU0": 7}}),
        lambda text: json.dumps(json.loads(text) | {"terms": {"OnDemand": {"SKU0": [1]}}}),
        lambda text: json.dumps(json.loads(text) | {"terms": 7}),
    ],
)
def test_a_file_of_another_format_is_an_error_and_no_traceback(offers, tmp_path, change):
    address, write = offers
    write("AmazonSageMaker", change(json.dumps(offer_file("AmazonSageMaker", HOSTING))))
    write("AmazonECR", json.dumps(offer_file("AmazonECR", [])))
    write("AmazonS3", json.dumps(offer_file("AmazonS3", [STORED])))
    result = update(address, tmp_path / "prices.toml")
    assert isinstance(result.exception, EndpointError)
    assert not (tmp_path / "prices.toml").exists()


def test_a_file_that_grows_when_it_is_unpacked_is_not_read_to_its_end(monkeypatch):
    monkeypatch.setattr(price_offer_files, "FILE_BYTES_MAX", 10 * MIB)
    bomb = gzip.compress(bytes(200 * MIB), 1)

    class Bomb(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.send_header("Content-Length", str(len(bomb)))
            self.end_headers()
            with contextlib.suppress(OSError):
                self.wfile.write(bomb)

        def log_message(self, *_):
            """Log nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Bomb) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        tracemalloc.start()
        try:
            with pytest.raises(EndpointError, match="more than 10,485,760 bytes"):
                list(price_offer_files.fetch_offer_file_products(REGION, address))
            assert tracemalloc.get_traced_memory()[1] < 50 * MIB
        finally:
            tracemalloc.stop()
            server.shutdown()
