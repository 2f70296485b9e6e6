"""``drdeploy prices``: the dated price sheet."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path  # noqa: TC003 - typer reads the annotation
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import JsonOption, out, print_json

if TYPE_CHECKING:
    from rich.table import Table

    from drdeploy.sagemaker.prices import PriceSheet

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
    from drdeploy.sagemaker.prices import PriceSheet

    prices = PriceSheet.load(sheet)
    if as_json:
        print_json([asdict(price) for price in prices.prices])
    else:
        out.print(_table(prices))


def _table(sheet: PriceSheet) -> Table:
    from rich.table import Table

    table = Table("item", "USD", "per", "region", "date", "source")
    for price in sheet.prices:
        usd = f"{price.usd:.7f}".rstrip("0")
        table.add_row(price.item, usd, price.unit, price.region, price.date, price.source)
    return table
