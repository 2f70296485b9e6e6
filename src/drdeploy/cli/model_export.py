"""``drdeploy model export``: build a network, and pack it as artifacts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from drdeploy.cli.console import err, print_json, print_line
from drdeploy.cli.options import ArchitectureArgument, JsonOption, SeedOption, parse_weights_source
from drdeploy.errors import InvalidInput
from drdeploy.units import MB

FORMATS = ("saved_model", "onnx")


def export(
    architecture: ArchitectureArgument,
    *,
    weights: Annotated[
        str,
        typer.Option(
            help="Weights of the network: random, imagenet (which Keras downloads), or a file."
        ),
    ] = "random",
    seed: SeedOption = 0,
    out_dir: Annotated[
        Path, typer.Option("--out", help="Folder for the archives.", file_okay=False)
    ] = Path("build/models"),
    formats: Annotated[
        list[str] | None,
        typer.Option("--format", help="saved_model or onnx; by default, both. Repeatable."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Build a network and pack it as artifacts.

    The final layers of the network are replaced by the final layers of the 2023 study. The command
    writes one archive for each format.
    """
    from drdeploy.grader.artifacts import read_manifest_in_archive
    from drdeploy.grader.networks.export import build_and_export_model

    for name in formats or ():
        if name not in FORMATS:
            raise InvalidInput(
                f"The export format '{name}' does not exist",
                remedy=f"Choose one of {', '.join(FORMATS)}",
            )
    chosen: Any = tuple(dict.fromkeys(formats or FORMATS))
    source = parse_weights_source(weights)
    with err.status(f"Building {architecture} and exporting it to {' and '.join(chosen)}"):
        archives = build_and_export_model(
            architecture, out_dir, weights=source, seed=seed, formats=chosen
        )
    rows: list[dict[str, Any]] = [
        {
            "archive": str(path),
            "size_bytes": path.stat().st_size,
            "name": manifest.name,
            "architecture": manifest.architecture,
            "model_format": manifest.model_format,
            "precision": manifest.precision,
            "weights": manifest.weights,
            "notes": manifest.provenance.notes,
        }
        for path, manifest in ((path, read_manifest_in_archive(path)) for path in archives.values())
    ]
    if as_json:
        print_json(rows)
        return
    for row in rows:
        size_mb = row["size_bytes"] / MB
        print_line(f"{row['archive']}  {size_mb:.1f} MB, weights: {row['weights']}")
    print_line(rows[0]["notes"], style="yellow", to=err)
