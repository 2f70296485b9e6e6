"""``drdeploy model train``: train a grader on labelled photographs."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from drdeploy.cli.console import (
    err,
    format_figure_with_interval_and_n,
    print_facts,
    print_json,
    print_line,
    print_note,
    print_note_on_photograph_names,
    print_notice,
)
from drdeploy.cli.options import (
    ArchitectureArgument,
    FoldsOption,
    JsonOption,
    NamesOption,
    SeedOption,
    TrainingDataOption,
    parse_weights_source,
    refuse_options_without_effect,
)
from drdeploy.files import write_json_file
from drdeploy.photograph_names import PhotographNames

if TYPE_CHECKING:
    from drdeploy.grader.training.checkpoint import History
    from drdeploy.grader.training.train import TrainingPlan

CACHE = Path("build/cache")


def train(
    context: typer.Context,
    architecture: ArchitectureArgument,
    data: TrainingDataOption,
    *,
    preset: Annotated[
        str,
        typer.Option(
            help="Name of the recipe: `fine-tuned`, `study` for the recipe of the 2023 study, or "
            "`fine-tuned-vgg`, which trains the last blocks of VGG16 or VGG19."
        ),
    ] = "fine-tuned",
    recipe: Annotated[
        Path | None,
        typer.Option(help="Instead of --preset: a TOML file with a recipe of your own."),
    ] = None,
    weights: Annotated[
        str, typer.Option(help="Weights to start from: random, imagenet, or a file.")
    ] = "imagenet",
    folds: FoldsOption = 5,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Number of epochs; by default, the recipe's number.")
    ] = None,
    side_px: Annotated[
        int | None,
        typer.Option(
            "--size",
            min=32,
            max=1024,
            help="Width and height of the input, in pixels; by default, those that `drdeploy model "
            "list` shows.",
        ),
    ] = None,
    seed: SeedOption = 0,
    licence: Annotated[str, typer.Option(help="Licence of the data, for the manifest.")] = "",
    out_dir: Annotated[
        Path | None,
        typer.Option(
            "--out",
            file_okay=False,
            help="Folder for the results; by default, build/training/ARCHITECTURE.",
        ),
    ] = None,
    names: NamesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train a grader, or continue an interrupted training.

    The reported quality comes from cross-validation: each photograph is graded by a network that
    was not trained on any photograph of the same capture session. The exported network is trained
    on all photographs.

    For research use. Not a medical device.
    """
    from drdeploy.grader.datasets import load_dataset
    from drdeploy.grader.training.recipe import read_recipe_or_preset
    from drdeploy.grader.training.run_document import build_training_run_document
    from drdeploy.grader.training.train import TrainingPlan
    from drdeploy.grader.training.train import train_grader as run

    if recipe is not None:
        refuse_options_without_effect(
            context, ["preset"], why="with --recipe, a recipe of your own", remedy="omit --recipe"
        )
    chosen = read_recipe_or_preset(preset, recipe)
    if epochs is not None:
        chosen = msgspec.structs.replace(chosen, epochs=epochs)
    with err.status("Reading the data set"):
        plan = TrainingPlan.for_training_split(
            architecture,
            load_dataset(data, names=PhotographNames.choose_file_names_or_hashes(own=names)),
            chosen,
            weights=parse_weights_source(weights),
            side_px=side_px,
            folds=folds,
            seed=seed,
            licence=licence,
        )
    folder = out_dir or Path("build/training") / plan.architecture.name.lower()
    for one in plan.dataset.set_aside:
        print_line(f"set aside: {one.name}: {one.reason}", to=err)
    for note in plan.dataset.notes:
        print_note(note)
    with _TrainingProgress(plan) as progress:
        trained = run(plan, folder, cache=CACHE, on_epoch=progress.on_epoch)
    document = build_training_run_document(trained)
    write_json_file(folder / "metrics.json", document)
    if as_json:
        print_json(document)
    else:
        _print_training_run(document)
    print_note_on_photograph_names(own=names)


def _print_training_run(document: dict[str, Any]) -> None:
    print_line(f"{document['architecture']}, {document['evaluated_on']}:")
    referable, threatening = document["referable"], document["vision_threatening"]
    figures = {
        "kappa": document["kappa"],
        "accuracy": document["accuracy"],
        "AUROC, grade >= 2": referable["auroc"],
        "sensitivity, grade >= 2": referable["sensitivity"],
        "specificity, grade >= 2": referable["specificity"],
        "AUROC, grade >= 3": threatening["auroc"],
        "sensitivity, grade >= 3": threatening["sensitivity"],
        "specificity, grade >= 3": threatening["specificity"],
    }
    print_facts(
        (name, format_figure_with_interval_and_n(figure)) for name, figure in figures.items()
    )
    for path in (*document["archives"].values(), document["keras_file"]):
        print_line(path, indent=2)
    print_notice()


class _TrainingProgress(Progress):
    """A progress bar for all networks together, and a line for each finished network."""

    def __init__(self, plan: TrainingPlan) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        super().__init__(*columns, console=err)
        self._epochs = plan.recipe.epochs
        self._done: dict[str, int] = {}
        total = plan.recipe.epochs * (plan.folds + 1)
        self._task = self.add_task("preparing photographs", total=total)

    def on_epoch(self, name: str, history: History) -> None:
        """Advance the progress bar by one epoch of a network."""
        self._done[name] = history.finished_epochs
        kappa = history.kappas[-1]
        watched = "" if kappa is None else f", validation kappa {kappa:.3f}"
        text = (
            f"{name}: epoch {history.finished_epochs}/{self._epochs}, loss {history.losses[-1]:.3f}"
        )
        self.update(self._task, description=text + watched, completed=sum(self._done.values()))
        if history.finished_epochs == self._epochs:
            self.console.print(text + watched, highlight=False)
