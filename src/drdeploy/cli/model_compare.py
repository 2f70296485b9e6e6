"""``drdeploy model compare``: compare the quality and cost of networks on the same folds."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drdeploy.cli.console import (
    Column,
    Table,
    err,
    format_figure_with_interval,
    print_json,
    print_line,
    print_note,
    print_note_on_photograph_names,
    print_notice,
)
from drdeploy.cli.options import (
    FoldsOption,
    JsonOption,
    NamesOption,
    SeedOption,
    TrainingDataOption,
    parse_weights_source,
)
from drdeploy.errors import InvalidInput, format_count
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE
from drdeploy.photograph_names import PhotographNames
from drdeploy.units import MB

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.grader.networks.weights import WeightsSource
    from drdeploy.grader.training.compare import Candidate, ComparedNetwork, NetworkComparison
    from drdeploy.study.recommendation.inference_cost import SecondPrice

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
            help=(
                "Weights of the frozen networks: random (the default), imagenet, or a file. "
                "ARCHITECTURE=WEIGHTS gives the weights of one network. Repeatable."
            )
        ),
    ] = None,
    folds: FoldsOption = 5,
    seed: SeedOption = 0,
    memory_mb: Annotated[
        int, typer.Option(help="Memory of the serverless endpoint whose price is used, in MB.")
    ] = 2048,
    out_dir: Annotated[
        Path,
        typer.Option(
            "--out",
            file_okay=False,
            help=(
                "Folder for the results; a network with results in the folder is not trained again."
            ),
        ),
    ] = Path("build/compare"),
    names: NamesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compare the quality and the cost of networks.

    The final layers of each network are replaced by the final layers of the 2023 study. Only these
    layers are trained. All networks are trained on the same folds of the same photographs. All
    photographs of a capture session are in the same fold.

    For research use. Not a medical device.
    """
    from drdeploy.grader.datasets import (
        load_dataset,
        set_copies_aside,
        set_undecodable_aside,
    )
    from drdeploy.grader.training.compare import NetworkComparison
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.recommendation.candidates import (
        convert_candidate_to_json,
        evaluate_and_price_candidates,
    )
    from drdeploy.study.recommendation.inference_cost import look_up_price_per_second

    price = look_up_price_per_second("serverless", memory_mb, "", PriceSheet.load())
    candidates = _make_candidates(architectures, weights or ["random"])
    with err.status("Reading the data set"):
        dataset = load_dataset(data, names=PhotographNames.choose_file_names_or_hashes(own=names))
        dataset = set_undecodable_aside(set_copies_aside(dataset).select_training_part())
    for one in dataset.set_aside:
        print_line(f"set aside: {one.name}: {one.reason}", to=err)
    for note in dataset.notes:
        print_note(note)
    print_note_on_photograph_names(own=names)
    comparison = NetworkComparison(dataset, folds, seed, out_dir)
    compared = _compare_all_networks(comparison, candidates)
    rows = [
        convert_candidate_to_json(summary)
        for summary in evaluate_and_price_candidates(compared, price, seed=seed)
    ]
    notes = _write_notes_on_comparison(comparison, rows, price)
    if as_json:
        print_json({"notice": RESEARCH_USE_NOTICE, "notes": notes, "candidates": rows})
        return
    _print_comparison_tables(rows)
    for note in notes:
        print_line(note)
    print_notice()


def _make_candidates(names: Sequence[str], specifications: Sequence[str]) -> list[Candidate]:
    """Return the networks to compare, each with the weights that the options name."""
    from drdeploy.grader.networks.architectures import ARCHITECTURES, find_architecture
    from drdeploy.grader.training.compare import Candidate

    chosen = list(ARCHITECTURES) if ALL in names else [name.lower() for name in names]
    found = [find_architecture(name) for name in dict.fromkeys(chosen)]
    common: WeightsSource = "random"
    own: dict[str, WeightsSource] = {}
    said: dict[str, str] = {}
    for specification in specifications:
        name, _, source = specification.partition("=")
        is_own = bool(source) and name.lower() in ARCHITECTURES
        earlier = said.setdefault(name.lower() if is_own else "", specification)
        if earlier != specification:
            raise InvalidInput(
                f"{earlier} and {specification} name weights for the same networks",
                where="--weights",
                remedy="Omit one of the two, or give ARCHITECTURE=WEIGHTS for each network",
            )
        if is_own:
            own[name.lower()] = parse_weights_source(source)
        else:
            common = parse_weights_source(specification)
    for name in own:
        if name not in chosen:
            raise InvalidInput(
                f"Weights are given for '{name}', but this network is not in the comparison",
                where="--weights",
                remedy="Add the network to the command, or omit its weights",
            )
    if "" in said and set(chosen) == set(own):
        raise InvalidInput(
            f"--weights {said['']} would have no effect, because every network has its own weights",
            remedy=f"Omit --weights {said['']}, or the weights of a network",
        )
    is_file = isinstance(common, Path)
    if is_file and len(set(chosen) - set(own)) > 1:
        raise InvalidInput(
            "One weights file cannot be used for several networks",
            where=str(common),
            remedy="Give the network that the weights belong to: --weights ARCHITECTURE=FILE",
        )
    return [Candidate(one, own.get(one.name.lower(), common)) for one in found]


def _compare_all_networks(
    comparison: NetworkComparison, candidates: Sequence[Candidate]
) -> list[ComparedNetwork]:
    from rich.progress import Progress

    names = [candidate.architecture.name for candidate in candidates]
    finished = [comparison.read_finished_result(candidate) is not None for candidate in candidates]
    print_line(
        f"{format_count(len(names), 'network')} on {len(comparison.dataset)} photographs, "
        f"{comparison.folds} folds; finished already: {sum(finished)}",
        to=err,
    )
    compared = []
    with Progress(console=err, transient=True) as progress:
        task = progress.add_task("", total=len(candidates))
        for name, candidate in zip(names, candidates, strict=True):

            def show_training_stage(stage: str, name: str = name) -> None:
                progress.update(task, description=f"{name}: {stage}")

            compared.append(
                comparison.measure_or_read_result(candidate, on_step=show_training_stage)
            )
            progress.advance(task)
    return compared


def _write_notes_on_comparison(
    comparison: NetworkComparison, rows: Sequence[dict[str, Any]], price: SecondPrice
) -> list[str]:
    from drdeploy.grader.evaluation.document import describe_photograph_and_group_counts
    from drdeploy.grader.networks.notes import RANDOM

    dataset = comparison.dataset
    counted = describe_photograph_and_group_counts(
        len(dataset), len(set(dataset.groups)), dataset.group_unit
    )
    whose = (
        f"{counted}, {comparison.folds} folds, seed {comparison.seed}. The most probable grade "
        "counts as the prediction. Numbers in brackets are 95 % intervals. The difference of kappa "
        "from the best network is paired by photograph."
    )
    what = (
        "Times are of single predictions by ONNX Runtime with "
        f"{format_count(rows[0]['threads'], 'thread')} on this machine. Each cost is the time of a "
        f"prediction at the price of {price.source.item}, {price.source.usd:g} USD per "
        f"{price.source.unit} ({price.source.region}, {price.source.date})."
    )
    without = [row["architecture"] for row in rows if row["weights"] == "random"]
    return [whose, what] + ([f"{', '.join(without)}: {RANDOM}"] if without else [])


def _print_comparison_tables(rows: Sequence[dict[str, Any]]) -> None:
    network = Column.of_names("network")
    agreement = Table([network, *map(Column, ("kappa", "against the best", "AUROC >= 2"))])
    # A sensitivity alone says nothing: a grader that flags every eye finds every diseased eye.
    rates = {
        name: Table([network, *map(Column, (f"sensitivity {at}", f"specificity {at}"))])
        for name, at in (("referable", ">= 2"), ("vision_threatening", ">= 3"))
    }
    cost = Table([network, Column("ms a prediction"), Column("USD a million")])
    size = Table(
        [network, Column.of_numbers("parameters"), Column.of_numbers("MB"), Column("weights")]
    )
    for row in rows:
        name, gain = row["architecture"], row["kappa_against_best"]
        agreement.add_row(
            name,
            format_figure_with_interval(row["kappa"]),
            "the best" if gain is None else format_figure_with_interval(gain),
            format_figure_with_interval(row["auroc_referable"]),
        )
        for disease, table in rates.items():
            table.add_row(
                name,
                format_figure_with_interval(row[f"sensitivity_{disease}"]),
                format_figure_with_interval(row[f"specificity_{disease}"]),
            )
        cost.add_row(
            name,
            format_figure_with_interval(row["predict_s"], digits=1, factor=1000),
            format_figure_with_interval(row["cost_per_million_usd"]),
        )
        size_mb = row["artifact_size_bytes"] / MB
        size.add_row(name, f"{row['parameters']:,}", f"{size_mb:.1f}", row["weights"])
    for table in (agreement, *rates.values(), cost, size):
        table.print()
        print_line("")
