"""``drdeploy model compare``: what networks find and cost, on the same folds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drdeploy.cli.console import Column, Table, err, print_json, print_line, print_notice
from drdeploy.cli.figures import in_brief
from drdeploy.cli.options import FoldsOption, JsonOption, SeedOption, TrainingDataOption
from drdeploy.errors import InvalidInput
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.units import MB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.grader.networks.weights import WeightsSource
    from drdeploy.grader.training.compare import Candidate, ComparedNetwork, NetworkComparison
    from drdeploy.study.recommendation.cost import SecondPrice

ALL = "all"


def compare(
    architectures: Annotated[
        list[str], typer.Argument(help="Networks that `drdeploy model list` shows, or `all`.")
    ],
    *,
    data: TrainingDataOption,
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help="Weights of the frozen networks: random, imagenet, or a file. "
            "ARCHITECTURE=WEIGHTS names those of one network. Repeatable; random by default."
        ),
    ] = None,
    folds: FoldsOption = 5,
    seed: SeedOption = 0,
    memory_mb: Annotated[
        int, typer.Option(help="Memory of the serverless endpoint whose price is used, in MB.")
    ] = 2048,
    out_dir: Annotated[
        Path, typer.Option("--out", help="Folder of the results. What it holds is not done again.")
    ] = Path("build/compare"),
    as_json: JsonOption = False,
) -> None:
    """Compare networks: what they find, and what they cost.

    The study's head is trained on each network, whose own weights stay as they are. All networks
    see the same folds of the same photographs, and capture sessions are kept together.

    For research use. Not a medical device.
    """
    from drdeploy.grader.datasets import deduplicate, load_dataset
    from drdeploy.grader.training.compare import NetworkComparison
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.recommendation.candidates import document_of, summarise
    from drdeploy.study.recommendation.cost import second_price

    price = second_price("serverless", memory_mb, "", PriceSheet.load())
    candidates = _candidates(architectures, weights or ["random"])
    with err.status("Reading the data set"):
        dataset = deduplicate(load_dataset(data)).training_part()
    for one in dataset.set_aside:
        print_line(f"set aside: {one.file}: {one.reason}", to=err)
    comparison = NetworkComparison(dataset, folds, seed, out_dir)
    compared = _run(comparison, candidates)
    rows = [document_of(summary) for summary in summarise(compared, price, seed=seed)]
    notes = _notes(comparison, rows, price)
    if as_json:
        print_json({"notice": RESEARCH_USE_NOTICE, "notes": notes, "candidates": rows})
        return
    _print_tables(rows)
    for note in notes:
        print_line(note)
    print_notice()


def _candidates(names: Sequence[str], specifications: Sequence[str]) -> list[Candidate]:
    """Return every network with its weights."""
    from drdeploy.grader.networks.architectures import ARCHITECTURES, find_architecture
    from drdeploy.grader.training.compare import Candidate

    chosen = list(ARCHITECTURES) if ALL in names else [name.lower() for name in names]
    found = [find_architecture(name) for name in dict.fromkeys(chosen)]
    common: WeightsSource = "random"
    own: dict[str, WeightsSource] = {}
    for specification in specifications:
        name, _, source = specification.partition("=")
        if source and name.lower() in ARCHITECTURES:
            own[name.lower()] = _source(source)
        else:
            common = _source(specification)
    for name in own:
        if name not in chosen:
            raise InvalidInput(f"Weights are given for '{name}', which is not compared")
    is_file = isinstance(common, Path)
    if is_file and len(set(chosen) - set(own)) > 1:
        raise InvalidInput(
            "One file of weights cannot fill several networks",
            where=str(common),
            remedy="Say which it is for: --weights ARCHITECTURE=FILE",
        )
    return [Candidate(one, own.get(one.name.lower(), common)) for one in found]


def _source(text: str) -> WeightsSource:
    match text:
        case "random" | "imagenet":
            return text
        case _:
            return Path(text)


def _run(comparison: NetworkComparison, candidates: Sequence[Candidate]) -> list[ComparedNetwork]:
    from rich.progress import Progress

    names = [candidate.architecture.name for candidate in candidates]
    finished = [comparison.finished(candidate) is not None for candidate in candidates]
    print_line(
        f"{len(names)} networks on {len(comparison.dataset)} photographs, {comparison.folds} "
        f"folds; {sum(finished)} are finished already",
        to=err,
    )
    compared = []
    with Progress(console=err, transient=True) as progress:
        task = progress.add_task("", total=len(candidates))
        for name, candidate in zip(names, candidates, strict=True):

            def on_step(stage: str, name: str = name) -> None:
                progress.update(task, description=f"{name}: {stage}")

            compared.append(comparison.run(candidate, on_step=on_step))
            progress.advance(task)
    return compared


def _notes(
    comparison: NetworkComparison, rows: Sequence[dict[str, Any]], price: SecondPrice
) -> list[str]:
    from drdeploy.grader.networks.notes import RANDOM

    sessions = len(set(comparison.dataset.groups))
    whose = (
        f"{len(comparison.dataset)} photographs of {sessions} capture sessions, "
        f"{comparison.folds} folds, seed {comparison.seed}; the most probable grade counts. "
        "In brackets: 95 % intervals; kappa against the best one's is paired."
    )
    what = (
        f"Times are of single predictions by ONNX Runtime with {rows[0]['threads']} threads on "
        f"this machine. Cost: these alone, at {price.source.item}'s {price.source.usd:g} USD per "
        f"{price.source.unit} ({price.source.region}, {price.source.date})."
    )
    without = [row["architecture"] for row in rows if row["weights"] == "random"]
    return [whose, what] + ([f"{', '.join(without)}: {RANDOM}"] if without else [])


def _print_tables(rows: Sequence[dict[str, Any]]) -> None:
    network = Column.name("network")
    agreement = Table([network, *map(Column, ("kappa", "against the best", "AUROC >= 2"))])
    sensitivity = Table([network, *map(Column, ("sensitivity >= 2", "sensitivity >= 3"))])
    cost = Table([network, Column("ms a prediction"), Column("USD a million")])
    size = Table([network, Column.number("parameters"), Column.number("MB"), Column("weights")])
    for row in rows:
        name, gain = row["architecture"], row["kappa_against_best"]
        agreement.add(
            name,
            in_brief(row["kappa"]),
            "the best" if gain is None else in_brief(gain),
            in_brief(row["auroc_referable"]),
        )
        sensitivity.add(
            name,
            in_brief(row["sensitivity_referable"]),
            in_brief(row["sensitivity_vision_threatening"]),
        )
        cost.add(
            name,
            in_brief(row["predict_s"], digits=1, factor=1000),
            in_brief(row["cost_per_million_usd"]),
        )
        size_mb = row["artifact_size_bytes"] / MB
        size.add(name, f"{row['parameters']:,}", f"{size_mb:.1f}", row["weights"])
    for table in (agreement, sensitivity, cost, size):
        table.print()
        print_line("")
