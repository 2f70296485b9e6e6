"""``drdeploy prices``: show and update the price sheet, and price a Terraform plan."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Literal

import typer

from drdeploy.cli import prices_plan
from drdeploy.cli.console import Column, Table, err, print_json, print_line
from drdeploy.cli.options import JsonOption, PriceRegionOption
from drdeploy.errors import InvalidInput, format_count
from drdeploy.files import write_file_atomically

app = typer.Typer(no_args_is_help=True)
app.command()(prices_plan.plan)


@app.command()
def show(
    sheet: Annotated[
        Path | None,
        typer.Option(help="Your own price sheet; by default, the packaged sheet.", dir_okay=False),
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
    table = Table([Column.of_names("item"), Column.of_numbers("USD"), *columns])
    for price in prices.prices:
        usd = f"{Decimal(repr(price.usd)):f}"  # every digit, and no power of ten
        table.add_row(price.item, usd, price.unit, price.region, price.date)
    table.print()
    for source in dict.fromkeys(price.source for price in prices.prices):
        print_line(f"source: {source}")


@app.command()
def update(
    region: PriceRegionOption = "us-east-1",
    sheet: Annotated[
        Path,
        typer.Option(
            "--out",
            dir_okay=False,
            help="The price sheet to write; an existing file is replaced.",
        ),
    ] = Path("prices.toml"),
    origin: Annotated[
        Literal["offer-files", "api"],
        typer.Option(
            "--from",
            help="AWS's public offer files, or the Price List API, which needs AWS credentials.",
        ),
    ] = "offer-files",
    address: Annotated[
        str | None, typer.Option(help="Address of a copy of AWS's offer files.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the current AWS prices to a price sheet of your own."""
    from drdeploy.hosting.sagemaker import PriceSheet, price_list_api, price_offer_files

    if origin == "api" and address:
        raise InvalidInput(
            "--address names a copy of AWS's offer files, but --from api does not read offer files",
            where="--address",
            remedy="Omit --address, or omit --from api",
        )
    with err.status("Reading the price list"):
        if origin == "api":
            source = price_list_api.SOURCE
            client = price_list_api.make_price_list_client()
            products = price_list_api.fetch_price_list_products(client, region)
        else:
            source = price_offer_files.SOURCE
            products = price_offer_files.fetch_offer_file_products(region, address)
        collected = price_list_api.collect_hosting_prices(products, region)
    text = price_list_api.format_prices_as_toml(
        collected, region=region, on=datetime.now(UTC).date(), source=source
    )
    write_file_atomically(sheet, text)
    prices = PriceSheet.load(sheet).prices
    if as_json:
        print_json({"sheet": str(sheet), "prices": [asdict(price) for price in prices]})
    else:
        print_line(
            f"{sheet} has {format_count(len(prices), 'price')} of {region}. Use this sheet with "
            f"--prices {sheet}"
        )
