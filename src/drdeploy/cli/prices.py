"""``drdeploy prices``: the dated price sheet."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import err, out, print_json
from drdeploy.cli.options import JsonOption
from drdeploy.files import write_atomically

if TYPE_CHECKING:
    from rich.table import Table

    from drdeploy.hosting.sagemaker import PriceSheet

app = typer.Typer(no_args_is_help=True)


@app.callback()
def _prices() -> None:
    """The dated price sheet."""


@app.command()
def show(
    sheet: Annotated[
        Path | None, typer.Option(help="A sheet of your own instead of the packaged one.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Print every known price with its region, date and source."""
    from drdeploy.hosting.sagemaker import PriceSheet

    prices = PriceSheet.load(sheet)
    if as_json:
        print_json([asdict(price) for price in prices.prices])
    else:
        out.print(_table(prices))


@app.command()
def update(
    region: Annotated[str, typer.Option(help="Whose prices.")] = "us-east-1",
    sheet: Annotated[
        Path, typer.Option("--out", help="The sheet to write; what it held before is replaced.")
    ] = Path("prices.toml"),
    as_json: JsonOption = False,
) -> None:
    """Read today's prices from AWS (needs credentials) and write them as a sheet of your own."""
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
        out.print(
            f"{len(prices)} prices of {region} are in {sheet}; use it with --prices {sheet}",
            markup=False,
            highlight=False,
            soft_wrap=True,
        )


def _table(sheet: PriceSheet) -> Table:
    from rich.table import Table

    table = Table("item", "USD", "per", "region", "date", "source")
    for price in sheet.prices:
        usd = f"{price.usd:.7f}".rstrip("0")
        table.add_row(price.item, usd, price.unit, price.region, price.date, price.source)
    return table
