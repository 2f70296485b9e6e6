"""``drdeploy model compare``: frozen networks on the same folds, in one table."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drdeploy.cli.console import err, out, print_json
from drdeploy.cli.options import JsonOption
from drdeploy.errors import InvalidInput
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.units import MB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.grader.networks.weights import WeightsSource
    from drdeploy.grader.training.compare import Candidate, Compared, NetworkComparison
    from drdeploy.study.recommendation.cost import SecondPrice

ALL = "all"


def compare(
    architectures: Annotated[
        list[str], typer.Argument(help="Networks that `model list` shows, or `all`.")
    ],
    *,
    data: Annotated[
        Path, typer.Option("--data", help="Labelled photographs; of its splits, `train` is used.")
    ],
    weights: Annotated[
        list[str] | None,
        typer.Option(
            help="Of the bases: random, imagenet, or a file; ARCHITECTURE=... for one of them. "
            "Repeatable; random by default."
        ),
    ] = None,
    folds: Annotated[int, typer.Option(min=2, help="Out-of-fold predictions come from these.")] = 5,
    seed: Annotated[int, typer.Option(min=0, help="Of everything random.")] = 0,
    memory_mb: Annotated[
        int, typer.Option(help="Size of the serverless endpoint whose price is used.")
    ] = 2048,
    out_dir: Annotated[
        Path, typer.Option("--out", help="Folder for results; what is finished is not repeated.")
    ] = Path("build/compare"),
    as_json: JsonOption = False,
) -> None:
    """Train the study's head on frozen networks, and compare what they find and cost.

    All see the same folds of the same photographs, each photograph once, capture sessions kept
    together.  For research use. Not a medical device.
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
        err.print(f"set aside: {one.file}: {one.reason}", markup=False, soft_wrap=True)
    comparison = NetworkComparison(dataset, folds, seed, out_dir)
    compared = _run(comparison, candidates)
    rows = [document_of(summary) for summary in summarise(compared, price, seed=seed)]
    notes = _notes(comparison, rows, price)
    if as_json:
        print_json({"notice": RESEARCH_USE_NOTICE, "notes": notes, "candidates": rows})
        return
    _print_table(rows)
    for note in notes:
        out.print(note, highlight=False)
    err.print(RESEARCH_USE_NOTICE, style="yellow")


def _candidates(names: Sequence[str], specifications: Sequence[str]) -> list[Candidate]:
    """Every network with its weights."""
    from drdeploy.grader.networks.architectures import ARCHITECTURES, find_architecture
    from drdeploy.grader.training.compare import Candidate

    chosen = list(ARCHITECTURES) if ALL in names else [name.lower() for name in names]
    found = [find_architecture(name) for name in dict.fromkeys(chosen)]
    common, own = _weights(specifications)
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


def _weights(specifications: Sequence[str]) -> tuple[WeightsSource, dict[str, WeightsSource]]:
    """What all networks are filled with, and what single ones are instead."""
    from drdeploy.grader.networks.architectures import ARCHITECTURES

    common: WeightsSource = "random"
    own: dict[str, WeightsSource] = {}
    for specification in specifications:
        name, _, source = specification.partition("=")
        if source and name.lower() in ARCHITECTURES:
            own[name.lower()] = _source(source)
        else:
            common = _source(specification)
    return common, own


def _source(text: str) -> WeightsSource:
    match text:
        case "random" | "imagenet":
            return text
        case _:
            return Path(text)


def _run(comparison: NetworkComparison, candidates: Sequence[Candidate]) -> list[Compared]:
    from rich.progress import Progress

    names = [candidate.architecture.name for candidate in candidates]
    finished = [comparison.finished(candidate) is not None for candidate in candidates]
    err.print(
        f"{len(names)} networks on {len(comparison.dataset)} photographs, {comparison.folds} "
        f"folds; {sum(finished)} are finished already",
        highlight=False,
    )
    compared = []
    with Progress(console=err, transient=True) as progress:
        task = progress.add_task("", total=len(candidates))
        for name, candidate in zip(names, candidates, strict=True):

            def on_stage(stage: str, name: str = name) -> None:
                progress.update(task, description=f"{name}: {stage}")

            compared.append(comparison.run(candidate, on_stage=on_stage))
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


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table

    table = Table(box=None, padding=(0, 1, 1, 0))
    for title in (
        "network\nparameters\nsize, weights",
        "kappa\nagainst the best\nAUROC >= 2",
        "sensitivity >= 2\nsensitivity >= 3",
        "ms a prediction\nUSD a million",
    ):
        table.add_column(title, no_wrap=True)
    for row in rows:
        gain = row["kappa_against_best"]
        size = f"{row['artifact_size_bytes'] / MB:.1f} MB, {row['weights']}"
        table.add_row(
            _lines(row["architecture"], f"{row['parameters']:,}", size),
            _lines(
                _shown(row["kappa"]),
                "the best" if gain is None else _shown(gain),
                _shown(row["auroc_referable"]),
            ),
            _lines(
                _shown(row["sensitivity_referable"]),
                _shown(row["sensitivity_vision_threatening"]),
            ),
            _lines(
                _shown(row["predict_s"], digits=1, factor=1000),
                _shown(row["cost_per_million_usd"]),
            ),
        )
    out.print(table)


def _lines(*lines: str) -> str:
    return "\n".join(lines)


def _shown(figure: dict[str, Any], digits: int = 2, factor: float = 1.0) -> str:
    """``0.72 (0.65, 0.78)``: ``n`` is the same for all and stands below the table."""
    value, low, high = (
        None if figure[name] is None else f"{figure[name] * factor:.{digits}f}"
        for name in ("value", "low", "high")
    )
    if value is None or low is None:
        return f"{value or '-'}"
    return f"{value} ({low}, {high})"
