"""The options that several commands take, each defined once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from drdeploy.grader.runtimes.protocol import RuntimeName

# ---- every command ------------------------------------------------------------------------

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on standard output.")
]
SeedOption = Annotated[
    int, typer.Option("--seed", min=0, help="Seed of everything that is random.")
]
CsvOption = Annotated[
    Path | None, typer.Option("--csv", help="Write the rows to this CSV file.", dir_okay=False)
]
PlotOption = Annotated[
    Path | None, typer.Option("--plot", help="Draw a figure, as SVG.", dir_okay=False)
]

# ---- models and photographs ---------------------------------------------------------------

ArtifactOption = Annotated[
    Path | None,
    typer.Option(
        "--artifact",
        "-a",
        help="A model.tar.gz, or the folder that one was extracted to. The grader in the box by "
        "default.",
    ),
]
ArchitectureArgument = Annotated[
    str, typer.Argument(help="A network that `drdeploy model list` shows.")
]
RuntimeOption = Annotated[
    RuntimeName | None,
    typer.Option("--runtime", help="The runtime. By default, the one that fits the model."),
]
TrainingDataOption = Annotated[
    Path,
    typer.Option("--data", help="Labelled photographs. Where they have splits, `train` is used."),
]
FoldsOption = Annotated[int, typer.Option("--folds", min=2, help="Folds of the cross-validation.")]

# ---- where to -----------------------------------------------------------------------------

EndpointUrlOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        envvar="DRDEPLOY_ENDPOINT_URL",
        help="Address of the local service, for example http://127.0.0.1:8765. AWS by default.",
    ),
]
RegionOption = Annotated[
    str | None, typer.Option("--region", help="AWS region. The session's own by default.")
]
IsolationOption = Annotated[
    Literal["auto", "container", "process"],
    typer.Option(
        "--isolation",
        help="What the local service runs endpoints in. `auto` takes containers where a container "
        "engine answers, and processes elsewhere.",
    ),
]

# ---- studies and decisions ----------------------------------------------------------------

ResultsArgument = Annotated[
    Path, typer.Argument(help="A folder with measurements.csv, or thesis-2023 for the 2023 study.")
]

PricesOption = Annotated[
    Path | None,
    typer.Option(
        "--prices", help="A price sheet of your own, in place of the packaged one.", dir_okay=False
    ),
]
PriceRegionOption = Annotated[
    str, typer.Option("--region", help="AWS region whose prices are used.")
]
ShapeOption = Annotated[
    str,
    typer.Option("--shape", help="How requests spread over a week: clinic, working-hours or flat."),
]
P95Option = Annotated[
    float | None,
    typer.Option(
        "--p95",
        help="Seconds within which 95 of 100 photographs must be answered, cold starts and waiting "
        "included.",
    ),
]
MinSensitivityOption = Annotated[
    float | None,
    typer.Option(
        "--min-sensitivity",
        help="Share of diseased eyes that must be found, for example 0.9. The lower 95 % limit "
        "must reach it.",
    ),
]
BudgetOption = Annotated[float | None, typer.Option("--budget", help="USD a month at most.")]
MixedOption = Annotated[
    bool, typer.Option("--mixed", help="Also compare rows of different platforms or machines.")
]
