"""``drdeploy model train``: from labelled photographs to a grader whose quality is known."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Self

import msgspec
import typer

from drdeploy.cli.console import err, out, print_json
from drdeploy.cli.figures import shown
from drdeploy.cli.options import JsonOption
from drdeploy.files import write_json
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE

if TYPE_CHECKING:
    from drdeploy.grader.training.checkpoint import History
    from drdeploy.grader.training.train import TrainingPlan

CACHE = Path("build/cache")


def train(
    architecture: Annotated[str, typer.Argument(help="A network that `model list` shows.")],
    data: Annotated[
        Path, typer.Option("--data", help="Labelled photographs; of its splits, `train` is used.")
    ],
    *,
    preset: Annotated[
        str, typer.Option(help="fine-tuned, or study: the original study's recipe.")
    ] = "fine-tuned",
    recipe: Annotated[
        Path | None, typer.Option(help="A TOML file with a recipe of your own instead.")
    ] = None,
    weights: Annotated[
        str,
        typer.Option(help="Of the base at the start: random, imagenet, or a file."),
    ] = "imagenet",
    folds: Annotated[int, typer.Option(min=2, help="Out-of-fold predictions come from these.")] = 5,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Instead of the recipe's own number.")
    ] = None,
    side_px: Annotated[
        int | None, typer.Option("--size", min=32, max=1024, help="Side of the input in pixels.")
    ] = None,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    licence: Annotated[str, typer.Option(help="Of the data, for the manifest.")] = "",
    out_dir: Annotated[
        Path | None,
        typer.Option("--out", help="The run's folder; build/training/ARCHITECTURE by default."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Train a grader; an interrupted run goes on where it stopped.

    Every photograph is predicted by a network that never saw its capture session, and all
    figures come from that. Then the network that is exported is trained on all of them.
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
    _say_what_is_set_aside(plan)
    with _Progress(plan) as progress:
        trained = run(plan, folder, cache=CACHE, on_epoch=progress.on_epoch)
    document = run_document(trained)
    write_json(folder / "metrics.json", document)
    if as_json:
        print_json(document)
    else:
        _print(document)


def _say_what_is_set_aside(plan: TrainingPlan) -> None:
    for one in plan.dataset.set_aside:
        err.print(f"set aside: {one.file}: {one.reason}", markup=False, soft_wrap=True)


def _print(document: dict[str, Any]) -> None:
    out.print(f"{document['architecture']}, {document['evaluated_on']}:", highlight=False)
    referable, threatening = document["referable"], document["vision_threatening"]
    for name, figure in (
        ("kappa", document["kappa"]),
        ("accuracy", document["accuracy"]),
        ("AUROC, grade >= 2", referable["auroc"]),
        ("sensitivity, grade >= 2", referable["sensitivity"]),
        ("AUROC, grade >= 3", threatening["auroc"]),
        ("sensitivity, grade >= 3", threatening["sensitivity"]),
    ):
        out.print(f"  {name:24} {shown(figure)}", highlight=False)
    for path in (*document["archives"].values(), document["keras_file"]):
        out.print(f"  {path}", highlight=False, soft_wrap=True)
    err.print(RESEARCH_USE_NOTICE, style="yellow")


class _Progress:
    """One bar for all networks; a line when one is finished."""

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
        """An epoch of a network is done."""
        self._done[name] = history.epochs
        kappa = history.kappas[-1]
        watched = "" if kappa is None else f", validation kappa {kappa:.3f}"
        text = f"{name}: epoch {history.epochs}/{self._epochs}, loss {history.losses[-1]:.3f}"
        self._bar.update(self._task, description=text + watched, completed=sum(self._done.values()))
        if history.epochs == self._epochs:
            self._bar.console.print(text + watched, highlight=False)
