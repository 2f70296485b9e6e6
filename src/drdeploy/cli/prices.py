"""``drdeploy prices``: show and update the price sheet."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from drdeploy.cli.console import Column, Table, err, print_json, print_line
from drdeploy.cli.options import JsonOption, PriceRegionOption
from drdeploy.files import write_atomically

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _prices() -> None:
    """Show and update the price sheet."""


@app.command()
def show(
    sheet: Annotated[
        Path | None,
        typer.Option(
            help="A price sheet of your own, in place of the packaged one.", dir_okay=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Show every price with its region, date and source."""
    from drdeploy.hosting.sagemaker import PriceSheet

    prices = PriceSheet.load(sheet)
    if as_json:
        print_json([asdict(price) for price in prices.prices])
        return
    columns = map(Column, ("per", "region", "date"))
    table = Table([Column.name("item"), Column.number("USD"), *columns])
    for price in prices.prices:
        usd = f"{price.usd:.7f}".rstrip("0")
        table.add(price.item, usd, price.unit, price.region, price.date)
    table.print()
    for source in dict.fromkeys(price.source for price in prices.prices):
        print_line(f"source: {source}")


@app.command()
def update(
    region: PriceRegionOption = "us-east-1",
    sheet: Annotated[
        Path, typer.Option("--out", help="The price sheet to write. It is replaced.")
    ] = Path("prices.toml"),
    as_json: JsonOption = False,
) -> None:
    """Write today's prices of AWS to a price sheet of your own.

    This needs AWS credentials.
    """
    import boto3

    from drdeploy.hosting.sagemaker import PriceSheet, price_list_api

    client = boto3.client("pricing", region_name=price_list_api.API_REGION)
    with err.status("Reading the price list"):
        collected = price_list_api.recognise_prices(
            price_list_api.fetch_products(client, region), region
        )
    text = price_list_api.as_toml(collected, region=region, on=datetime.now(UTC).date())
    write_atomically(sheet, text)
    prices = PriceSheet.load(sheet).prices
    if as_json:
        print_json({"sheet": str(sheet), "prices": [asdict(price) for price in prices]})
    else:
        print_line(f"{len(prices)} prices of {region} are in {sheet}. Use it with --prices {sheet}")
