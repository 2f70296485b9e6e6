"""``drdeploy recommend``: the cheapest way of hosting that meets every requirement."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import err, out, print_json
from drdeploy.cli.options import JsonOption
from drdeploy.errors import InvalidInput
from drdeploy.files import write_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from drdeploy.study.recommendation.decision import Decision, EvaluatedOption
    from drdeploy.study.recommendation.traffic.arrivals import Arrivals, Traffic
    from drdeploy.study.recommendation.traffic.shape import Shape

SHOWN = 8


def recommend(
    results: Annotated[
        Path,
        typer.Argument(help="A folder with measurements.csv, or thesis-2023: the 2023 study."),
    ],
    *,
    requests_per_month: Annotated[
        float | None, typer.Option("--requests", help="Photographs a month.")
    ] = None,
    shape: Annotated[
        str, typer.Option(help="Of a week: clinic, working-hours or flat.")
    ] = "clinic",
    hours: Annotated[
        str | None, typer.Option(help="24 weights of the hours instead of a shape, by commas.")
    ] = None,
    days: Annotated[
        str, typer.Option(help="7 weights of the days for --hours, Monday first.")
    ] = "1,1,1,1,1,0,0",
    trace: Annotated[
        Path | None,
        typer.Option(help="CSV with arrived_at, or with minute and count, instead of --requests."),
    ] = None,
    p95_s: Annotated[
        float | None, typer.Option("--p95", help="Seconds, cold starts and waiting included.")
    ] = None,
    min_sensitivity: Annotated[
        float | None, typer.Option(help="A share; the lower 95 % limit must reach it.")
    ] = None,
    at_grade: Annotated[int, typer.Option(help="From which ICDR grade on: 2 or 3.")] = 2,
    budget_usd: Annotated[
        float | None, typer.Option("--budget", help="USD a month, at the most.")
    ] = None,
    photographs_per_patient: Annotated[int, typer.Option(help="Two eyes, two fields each.")] = 4,
    between_photographs_s: Annotated[
        float, typer.Option(help="Seconds from one photograph of a patient to the next.")
    ] = 20.0,
    idle_s: Annotated[
        float, typer.Option(help="After which the platform lets an idle container go.")
    ] = 600.0,
    max_concurrency: Annotated[int, typer.Option(help="Of a serverless endpoint.")] = 200,
    headroom: Annotated[
        float, typer.Option(help="Share of the instances that stays free in the busiest hour.")
    ] = 0.3,
    fewest_instances: Annotated[int, typer.Option(help="Also where one would do.")] = 1,
    requests_at_once: Annotated[int, typer.Option(help="That one instance serves.")] = 1,
    request_kb: Annotated[
        float, typer.Option(help="Size of a photograph, where rows do not say.")
    ] = 310.0,
    image_gb: Annotated[float, typer.Option(help="Stored in the registry.")] = 0.5,
    artifact_gb: Annotated[float, typer.Option(help="Stored in the bucket.")] = 0.1,
    prices: Annotated[
        Path | None, typer.Option(help="A price sheet of your own instead of the packaged one.")
    ] = None,
    add_prices: Annotated[
        Path | None, typer.Option(help="A sheet besides, for what the other one lacks.")
    ] = None,
    region: Annotated[str, typer.Option(help="Whose prices.")] = "us-east-1",
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Take rows of different platforms or machines too.")
    ] = False,
    seed: Annotated[int, typer.Option(help="Of arrivals, simulation and bootstrap.")] = 2023,
    page: Annotated[Path | None, typer.Option(help="Also write the decision as a page.")] = None,
    tfvars: Annotated[
        Path | None,
        typer.Option(help="Also write the winner's endpoint as Terraform variables (JSON)."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Choose how to host: simulate the traffic on every option, price it, and judge it."""
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.recommendation.decide import decide
    from drdeploy.study.recommendation.decision import as_json as decision_as_json
    from drdeploy.study.recommendation.requirements import Assumptions, DecisionInputs, Requirements
    from drdeploy.study.thesis.raw_rows import load_results

    inputs = DecisionInputs(
        traffic=_traffic(
            requests_per_month,
            trace,
            _shape(shape, hours, days),
            (photographs_per_patient, between_photographs_s),
            seed,
        ),
        required=Requirements(
            p95_s=p95_s,
            min_sensitivity=min_sensitivity,
            at_grade=at_grade,
            budget_usd=budget_usd,
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
        _write_page(decision, page)
    if tfvars:
        _write_tfvars(decision, tfvars)
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
            "The traffic is not known" if trace is None else "The traffic is told twice",
            remedy="Name either --requests (photographs a month) or --trace (a CSV file)",
        )
    if trace is not None:
        return read_trace(trace, seed=seed)
    return Traffic(
        requests_per_month=requests_per_month or 0.0,
        shape=shape,
        photographs_per_patient=visit[0],
        between_photographs_s=visit[1],
    )


def _shape(name: str, hours: str | None, days: str) -> Shape:
    from drdeploy.study.recommendation.traffic.shape import Shape, shape_named

    if hours is not None:
        return Shape.of("of your own", _numbers(hours, "--hours"), _numbers(days, "--days"))
    return shape_named(name)


def _numbers(text: str, where: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidInput(
            f"{text!r} are no numbers", where=where, remedy="Part them by commas"
        ) from error


def _write_page(decision: Decision, path: Path) -> None:
    from drdeploy.study.recommendation.page import page

    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(decision, written_at=datetime.now(UTC)), "utf-8")
    err.print(f"The page is at {path}", markup=False, soft_wrap=True)


def _write_tfvars(decision: Decision, path: Path) -> None:
    if decision.winner is None:
        raise InvalidInput(
            "There is no winner to write Terraform variables of",
            where=str(path),
            remedy="Ask for less, or leave --tfvars out",
        )
    write_json(path, decision.winner.settings)
    err.print(f"The Terraform variables are at {path}", markup=False, soft_wrap=True)


def _print(decision: Decision) -> None:
    for sentence in decision.answer:
        out.print(sentence, markup=False, highlight=False, soft_wrap=True)
    if decision.winner:
        _print_options("meets everything", [decision.winner, *decision.runners_up])
    _print_options("excluded", decision.excluded)
    for one in decision.unusable:
        out.print(f"{one.name}: {one.reason}", markup=False, highlight=False, soft_wrap=True)
    if decision.softening:
        told = f"{decision.softening.best}: {decision.softening.why}"
        out.print(f"Against cold starts on {decision.softened}, {told}", markup=False)
    for note in decision.notes:
        err.print(f"note: {note}", markup=False, highlight=False, soft_wrap=True)
    err.print(decision.notice, markup=False, soft_wrap=True)


def _print_options(title: str, options: Sequence[EvaluatedOption]) -> None:
    from rich.table import Table

    from drdeploy.study.recommendation.wording import seconds, usd

    if not options:
        return
    table = Table(title, "a month", "per patient", "p95", "cold", "fails on")
    for option in options[:SHOWN]:
        table.add_row(
            option.name,
            usd(option.usd_per_month),
            usd(option.usd_per_patient),
            seconds(option.p95_s),
            f"{option.cold_share:.2%}",
            "; ".join(option.failures),
        )
    out.print(table)
    if len(options) > SHOWN:
        out.print(f"and {len(options) - SHOWN} more (--json and --page name all)")
