"""``drdeploy model``: train, evaluate, compare, export, quantize and recalibrate networks."""

from __future__ import annotations

import typer

from drdeploy.cli.model_compare import compare
from drdeploy.cli.model_evaluate import evaluate
from drdeploy.cli.model_export import export
from drdeploy.cli.model_list import list_models
from drdeploy.cli.model_quantize import quantize
from drdeploy.cli.model_recalibrate import recalibrate
from drdeploy.cli.model_train import train

app = typer.Typer(no_args_is_help=True)
app.command("list")(list_models)
app.command("export")(export)
app.command("train")(train)
app.command("quantize")(quantize)
app.command("recalibrate")(recalibrate)
app.command("compare")(compare)
app.command("evaluate")(evaluate)
