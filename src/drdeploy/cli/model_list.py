"""``drdeploy model list``: the networks that can be built."""

from __future__ import annotations

from typing import Any

from drdeploy.cli.console import JsonOption, out, print_json


def list_models(as_json: JsonOption = False) -> None:
    """List the networks that can be built."""
    from drdeploy.training.architectures import ARCHITECTURES

    rows = [
        {
            "architecture": architecture.name,
            "parameters": architecture.parameter_count,
            "height_px": architecture.transform.height_px,
            "width_px": architecture.transform.width_px,
            "value_range": list(architecture.transform.value_range),
            "channel_order": architecture.transform.channel_order,
        }
        for architecture in ARCHITECTURES.values()
    ]
    if as_json:
        print_json(rows)
        return
    _print_table(rows)


def _print_table(rows: list[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table("architecture", "parameters", "input", "values", "channels", box=None)
    for row in rows:
        low, high = row["value_range"]
        table.add_row(
            row["architecture"],
            f"{row['parameters']:,}",
            f"{row['height_px']} x {row['width_px']}",
            f"{low:g} to {high:g}",
            row["channel_order"].upper(),
        )
    out.print(table)
