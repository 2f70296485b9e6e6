"""``drdeploy model train``: train a grader on labelled photographs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import msgspec
import typer

from drdeploy.cli.console import err, print_facts, print_json, print_line, print_notice
from drdeploy.cli.figures import in_full
from drdeploy.cli.options import (
    ArchitectureArgument,
    FoldsOption,
    JsonOption,
    SeedOption,
    TrainingDataOption,
)
from drdeploy.files import write_json

if TYPE_CHECKING:
    from drdeploy.grader.training.checkpoint import History
    from drdeploy.grader.training.train import TrainingPlan

CACHE = Path("build/cache")


def train(
    architecture: ArchitectureArgument,
    data: TrainingDataOption,
    *,
    preset: Annotated[
        str, typer.Option(help="Recipe: fine-tuned, or study for that of the 2023 study.")
    ] = "fine-tuned",
    recipe: Annotated[
        Path | None, typer.Option(help="A TOML file with a recipe of your own.")
    ] = None,
    weights: Annotated[
        str, typer.Option(help="Weights to start from: random, imagenet, or a file.")
    ] = "imagenet",
    folds: FoldsOption = 5,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Epochs, in place of the recipe's number.")
    ] = None,
    side_px: Annotated[
        int | None,
        typer.Option("--size", min=32, max=1024, help="Width and height of the input, in pixels."),
    ] = None,
    seed: SeedOption = 0,
    licence: Annotated[str, typer.Option(help="Licence of the data, for the manifest.")] = "",
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", help="Folder of the run. By default, build/training/ARCHITECTURE."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a grader, or go on with an interrupted training.

    Figures come from cross-validation: each photograph is graded by a network that never saw its
    capture session. The network that is exported is then trained on all photographs.

    For research use. Not a medical device.
    """
    from drdeploy.grader.datasets import load_dataset
    from drdeploy.grader.training.recipe import find_recipe
    from drdeploy.grader.training.run_document import run_document
    from drdeploy.grader.training.train import TrainingPlan
    from drdeploy.grader.training.train import train as run

    chosen = find_recipe(preset, recipe)
    if epochs is not None:
        chosen = msgspec.structs.replace(chosen, epochs=epochs)
    start: Any = weights if weights in {"random", "imagenet"} else Path(weights)
    with err.status("Reading the data set"):
        plan = TrainingPlan.make(
            architecture,
            load_dataset(data),
            chosen,
            weights=start,
            side_px=side_px,
            folds=folds,
            seed=seed,
            licence=licence,
        )
    folder = out_dir or Path("build/training") / plan.architecture.name.lower()
    for one in plan.dataset.set_aside:
        print_line(f"set aside: {one.file}: {one.reason}", to=err)
    with _Progress(plan) as progress:
        trained = run(plan, folder, cache=CACHE, on_epoch=progress.on_epoch)
    document = run_document(trained)
    write_json(folder / "metrics.json", document)
    if as_json:
        print_json(document)
    else:
        _print(document)


def _print(document: dict[str, Any]) -> None:
    print_line(f"{document['architecture']}, {document['evaluated_on']}:")
    referable, threatening = document["referable"], document["vision_threatening"]
    figures = {
        "kappa": document["kappa"],
        "accuracy": document["accuracy"],
        "AUROC, grade >= 2": referable["auroc"],
        "sensitivity, grade >= 2": referable["sensitivity"],
        "AUROC, grade >= 3": threatening["auroc"],
        "sensitivity, grade >= 3": threatening["sensitivity"],
    }
    print_facts((name, in_full(figure)) for name, figure in figures.items())
    for path in (*document["archives"].values(), document["keras_file"]):
        print_line(path, indent=2)
    print_notice()


class _Progress:
    """A progress bar for all networks, and a line for each that is finished."""

    def __init__(self, plan: TrainingPlan) -> None:
        from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

        self._epochs = plan.recipe.epochs
        self._bar = Progress(
            TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=err
        )
        self._done: dict[str, int] = {}
        total = plan.recipe.epochs * (plan.folds + 1)
        self._task = self._bar.add_task("preparing photographs", total=total)

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def on_epoch(self, name: str, history: History) -> None:
        """Advance the bar by an epoch of one network."""
        self._done[name] = history.epochs
        kappa = history.kappas[-1]
        watched = "" if kappa is None else f", validation kappa {kappa:.3f}"
        text = f"{name}: epoch {history.epochs}/{self._epochs}, loss {history.losses[-1]:.3f}"
        self._bar.update(self._task, description=text + watched, completed=sum(self._done.values()))
        if history.epochs == self._epochs:
            self._bar.console.print(text + watched, highlight=False)
