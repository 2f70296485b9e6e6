"""``drdeploy recommend``: the cheapest way of hosting that meets every requirement."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import Column, Table, err, print_json, print_line, print_note
from drdeploy.cli.options import (
    BudgetOption,
    JsonOption,
    MinSensitivityOption,
    MixedOption,
    P95Option,
    PriceRegionOption,
    PricesOption,
    ResultsArgument,
    SeedOption,
    ShapeOption,
)
from drdeploy.errors import InvalidInput
from drdeploy.files import write_json

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from drdeploy.study.recommendation.decision import Decision, EvaluatedOption
    from drdeploy.study.recommendation.traffic.arrivals import Arrivals, Traffic
    from drdeploy.study.recommendation.traffic.shape import Shape

SHOWN = 8


def recommend(
    results: ResultsArgument,
    *,
    requests_per_month: Annotated[
        float | None, typer.Option("--requests", help="Photographs a month.")
    ] = None,
    shape: ShapeOption = "clinic",
    hours: Annotated[
        str | None,
        typer.Option(help="A shape of your own: 24 weights of the hours, separated by commas."),
    ] = None,
    days: Annotated[
        str, typer.Option(help="With --hours: 7 weights of the days, Monday first.")
    ] = "1,1,1,1,1,0,0",
    trace: Annotated[
        Path | None,
        typer.Option(
            help="Instead of --requests: a CSV file with the column arrived_at, or with minute "
            "and count."
        ),
    ] = None,
    p95_s: P95Option = None,
    min_sensitivity: MinSensitivityOption = None,
    at_grade: Annotated[
        int, typer.Option(help="ICDR grade from which an eye counts as diseased: 2 or 3.")
    ] = 2,
    budget_usd: BudgetOption = None,
    photographs_per_patient: Annotated[
        int, typer.Option(help="Photographs of a patient: two of each eye.")
    ] = 4,
    between_photographs_s: Annotated[
        float, typer.Option(help="Seconds between two photographs of a patient.")
    ] = 20.0,
    idle_s: Annotated[
        float, typer.Option(help="Seconds after which the platform removes an idle container.")
    ] = 600.0,
    max_concurrency: Annotated[
        int, typer.Option(help="Requests that a serverless endpoint answers at once.")
    ] = 200,
    headroom: Annotated[
        float, typer.Option(help="Share of the instances that is free in the busiest hour.")
    ] = 0.3,
    fewest_instances: Annotated[
        int, typer.Option(help="Instances of a real-time endpoint at least.")
    ] = 1,
    requests_at_once: Annotated[
        int, typer.Option(help="Requests that one instance answers at once.")
    ] = 1,
    request_kb: Annotated[
        float, typer.Option(help="Size of a photograph in kB, where the rows do not say.")
    ] = 310.0,
    image_gb: Annotated[float, typer.Option(help="GB of images in the registry.")] = 0.5,
    artifact_gb: Annotated[float, typer.Option(help="GB of artifacts in the bucket.")] = 0.1,
    prices: PricesOption = None,
    add_prices: Annotated[
        Path | None,
        typer.Option(help="A second price sheet, for prices that the first lacks.", dir_okay=False),
    ] = None,
    region: PriceRegionOption = "us-east-1",
    mixed: MixedOption = False,
    seed: SeedOption = 2023,
    page: Annotated[
        Path | None, typer.Option(help="Also write the decision as a page (HTML).", dir_okay=False)
    ] = None,
    tfvars: Annotated[
        Path | None,
        typer.Option(
            help="Also write the best option as Terraform variables (JSON).", dir_okay=False
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Choose the cheapest hosting that meets your requirements.

    The traffic is simulated on every configuration that was measured, with every policy against
    cold starts, and priced.
    """
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.recommendation.decide import decide
    from drdeploy.study.recommendation.decision import as_json as decision_as_json
    from drdeploy.study.recommendation.requirements import Assumptions, DecisionInputs, Requirements
    from drdeploy.study.recommendation.traffic.shape import Shape, shape_named
    from drdeploy.study.thesis.raw_rows import load_results

    if hours is None:
        weekly = shape_named(shape)
    else:
        weekly = Shape.of("of your own", _numbers(hours, "--hours"), _numbers(days, "--days"))
    inputs = DecisionInputs(
        traffic=_traffic(
            requests_per_month,
            trace,
            weekly,
            (photographs_per_patient, between_photographs_s),
            seed,
        ),
        required=Requirements(
            p95_s=p95_s, min_sensitivity=min_sensitivity, at_grade=at_grade, budget_usd=budget_usd
        ),
        assumptions=Assumptions(
            idle_s=idle_s,
            max_concurrency=max_concurrency,
            headroom=headroom,
            fewest_instances=fewest_instances,
            requests_at_once=requests_at_once,
            photographs_per_patient=photographs_per_patient,
            request_bytes=request_kb * 1000,
            image_gb=image_gb,
            artifact_gb=artifact_gb,
            region=region,
        ),
        seed=seed,
    )
    sheet = PriceSheet.load(prices)
    if add_prices:
        sheet = sheet.joined(PriceSheet.load(add_prices))
    with err.status("Simulating the options"):
        decision = decide(load_results(results), sheet, inputs, allow_mixed=mixed)
    if page:
        from drdeploy.study.recommendation.page import page as page_of

        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(page_of(decision, written_at=datetime.now(UTC)), "utf-8")
        print_line(f"The page is at {page}", to=err)
    if tfvars:
        if decision.winner is None:
            raise InvalidInput(
                "No option meets the requirements, so there are no Terraform variables to write",
                where=str(tfvars),
                remedy="Require less, or leave --tfvars out",
            )
        write_json(tfvars, decision.winner.settings)
        print_line(f"The Terraform variables are at {tfvars}", to=err)
    if as_json:
        print_json(decision_as_json(decision))
    else:
        _print(decision)


def _traffic(
    requests_per_month: float | None,
    trace: Path | None,
    shape: Shape,
    visit: tuple[int, float],
    seed: int,
) -> Traffic | Arrivals:
    from drdeploy.study.recommendation.traffic.arrivals import Traffic
    from drdeploy.study.recommendation.traffic.trace import read_trace

    if (requests_per_month is None) == (trace is None):
        raise InvalidInput(
            "Traffic is missing" if trace is None else "Traffic is given twice",
            remedy="Give --requests (photographs a month) or --trace (a CSV file), not both",
        )
    if trace is not None:
        return read_trace(trace, seed=seed)
    return Traffic(
        requests_per_month=requests_per_month or 0.0,
        shape=shape,
        photographs_per_patient=visit[0],
        between_photographs_s=visit[1],
    )


def _numbers(text: str, where: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidInput(
            f"{text!r} are not numbers", where=where, remedy="Separate numbers by commas"
        ) from error


def _print(decision: Decision) -> None:
    from drdeploy.study.recommendation.wording import best_policy_sentence, short_names

    names = short_names(decision.options)
    for sentence in decision.answer:
        print_line(sentence)
    if decision.winner:
        _print_options([decision.winner, *decision.runners_up], names)
    if decision.excluded:
        print_line("Excluded:")
    for option in decision.excluded[:SHOWN]:
        print_line(f"{names[option.name]}: {'; '.join(option.failures)}", indent=2)
    _print_rest(decision.excluded)
    for one in decision.unusable:
        print_line(f"{one.name}: {one.reason}")
    if decision.mitigation:
        print_line(best_policy_sentence(decision))
    for note in decision.notes:
        print_note(note)
    print_line(decision.notice, style="yellow", to=err)


def _print_options(options: Sequence[EvaluatedOption], names: Mapping[str, str]) -> None:
    from drdeploy.study.recommendation.wording import seconds, usd

    table = Table(
        [
            Column.name("meets every requirement"),
            *map(Column.number, ("a month", "per patient", "p95", "cold")),
        ]
    )
    for option in options[:SHOWN]:
        table.add(
            names[option.name],
            usd(option.usd_per_month),
            usd(option.usd_per_patient),
            seconds(option.p95_s),
            f"{option.cold_share:.2%}",
        )
    table.print()
    _print_rest(options)


def _print_rest(options: Sequence[EvaluatedOption]) -> None:
    if len(options) > SHOWN:
        print_line(f"and {len(options) - SHOWN} more (--json and --page list all)", indent=2)
