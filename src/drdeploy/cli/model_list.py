"""``drdeploy model list``: list the networks that can be built."""

from __future__ import annotations

from drdeploy.cli.console import Column, Table, print_json
from drdeploy.cli.options import JsonOption

IN_WORDS = {
    "tf": "RGB, -1 to 1",
    "caffe": "BGR, 0 to 255, minus the mean",
    "torch": "RGB, 0 to 1, standardised",
    "in-graph": "RGB, 0 to 255, network scales",
}
"""A short text for each kind of preprocessing; ``--json`` prints the exact numbers."""


def list_models(as_json: JsonOption = False) -> None:
    """List the networks that can be built and trained."""
    from drdeploy.grader.networks.architectures import ARCHITECTURES

    rows = [
        {
            "architecture": architecture.name,
            "parameters": architecture.parameter_count,
            "height_px": architecture.transform.height_px,
            "width_px": architecture.transform.width_px,
            "preprocessing": architecture.preprocessing,
            "value_range": list(architecture.transform.value_range),
            "channel_order": architecture.transform.channel_order,
            "mean": list(architecture.transform.mean),
            "std": list(architecture.transform.std),
        }
        for architecture in ARCHITECTURES.values()
    ]
    if as_json:
        print_json(rows)
        return
    columns = (Column("input"), Column("preprocessing"))
    table = Table([Column.of_names("architecture"), Column.of_numbers("parameters"), *columns])
    for architecture in ARCHITECTURES.values():
        side = architecture.transform
        table.add_row(
            architecture.name,
            f"{architecture.parameter_count:,}",
            f"{side.height_px} x {side.width_px}",
            IN_WORDS[architecture.preprocessing],
        )
    table.print()
