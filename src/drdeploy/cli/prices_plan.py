"""``drdeploy prices plan``: what a Terraform plan costs."""

from __future__ import annotations

import sys
from collections import defaultdict
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drdeploy.cli.console import Column, Table, print_json, print_line, print_note
from drdeploy.cli.options import JsonOption, PricesOption, check_option_is_finite
from drdeploy.errors import InvalidInput
from drdeploy.units import KB, MILLION

if TYPE_CHECKING:
    from drdeploy.hosting.plan_pricing import PlanCost, PlanDocument, ResourceCost


def plan(
    plan_file: Annotated[
        Path,
        typer.Argument(
            metavar="PLAN.json",
            help="The output of `terraform show -json PLAN`, or of `tofu show -json PLAN`. With "
            "`-`, standard input is read.",
        ),
    ],
    *,
    prices: PricesOption = None,
    add_prices: Annotated[
        Path | None,
        typer.Option(
            help="A second price sheet, with prices that the first sheet lacks.", dir_okay=False
        ),
    ] = None,
    region: Annotated[
        str | None,
        typer.Option(
            "--region", help="AWS region of the resources for which the plan names no region."
        ),
    ] = None,
    request_s: Annotated[
        float,
        typer.Option(
            min=0.0,
            callback=check_option_is_finite,
            help="Seconds that a container works on one request.",
        ),
    ] = 1.0,
    request_kb: Annotated[
        float,
        typer.Option(
            min=0.0,
            callback=check_option_is_finite,
            help="Size of one photograph and its answer, in kB.",
        ),
    ] = 310.0,
    as_json: JsonOption = False,
) -> None:
    """Show what a Terraform plan with SageMaker hosting costs.

    For every resource, the output states a price, or says that the resource is free or that its
    cost is not known. A cost that depends on scaling is given as a lower and an upper bound. Free
    tiers are not deducted.
    """
    from drdeploy.hosting.plan_pricing import RequestAssumptions, price_plan
    from drdeploy.hosting.sagemaker import PriceSheet

    sheet = PriceSheet.load(prices)
    if add_prices:
        sheet = sheet.joined(PriceSheet.load(add_prices))
    request = RequestAssumptions(work_s=request_s, sent_bytes=request_kb * KB)
    cost = price_plan(_read_plan(plan_file), sheet, region=region, request=request)
    if as_json:
        print_json(_convert_to_json(cost, request_s, request_kb))
    else:
        _print_plan_cost(cost, request_s, request_kb)


def _read_plan(path: Path) -> PlanDocument:
    from drdeploy.hosting.plan_pricing import read_plan_document

    if str(path) == "-":
        return read_plan_document(sys.stdin.buffer, "standard input")
    try:
        file = path.open("rb")
    except OSError as err:
        raise InvalidInput(
            f"The plan cannot be read: {err.strerror}",
            where=str(path),
            remedy="Give a file with the output of `terraform show -json PLAN`, or - for standard "
            "input",
        ) from err
    with file:
        return read_plan_document(file, str(path))


def _print_plan_cost(cost: PlanCost, request_s: float, request_kb: float) -> None:
    if not cost.has_endpoint:
        print_line("The plan has no SageMaker endpoint.")
    print_line(_write_total_sentence(cost))
    _print_monthly_costs(cost)
    _print_request_costs(cost, request_s, request_kb)
    _print_usage_costs(cost)
    unknown = [one for one in cost.resources if one.not_known]
    if unknown:
        print_line("Costs that are not known, and are not in any total:")
    for one in unknown:
        print_line(f"{one.address}: {'; '.join(one.not_known)}", indent=2)
    _print_free_resources(cost)
    for gone in cost.removed:
        print_line(f"{gone.address}: {_REMOVALS[gone.removal]}")
    _print_price_age(cost)


_REMOVALS = {
    "delete": "the plan deletes it",
    "forget": (
        "Terraform stops managing the resource, but does not delete it. The resource still costs "
        "money, and no sum here includes its cost"
    ),
}


def _print_monthly_costs(cost: PlanCost) -> None:
    columns = [Column.of_names("always on"), Column.of_sentences("what")]
    table = Table([*columns, Column.of_numbers("USD a month")])
    parts = [(one.address, part) for one in cost.resources for part in one.monthly]
    for address, part in parts:
        table.add_row(address, part.what, _format_range(part.lowest_usd, part.highest_usd))
    if parts:
        table.print()


def _print_request_costs(cost: PlanCost, request_s: float, request_kb: float) -> None:
    priced = [one for one in cost.resources if one.request_usd is not None]
    if not priced:
        return
    print_line(f"A request of {request_s:g} s and {request_kb:g} kB:")
    table = Table([Column.of_names("endpoint"), Column.of_numbers("USD per million requests")])
    for one in priced:
        table.add_row(one.address, f"{MILLION * (one.request_usd or 0.0):,.2f}")
    table.print()


def _print_usage_costs(cost: PlanCost) -> None:
    columns = [Column.of_names("paid by use"), Column.of_sentences("what")]
    table = Table([*columns, Column.of_numbers("USD"), Column("per")])
    parts = [(one.address, part) for one in cost.resources for part in one.usage]
    for address, part in parts:
        table.add_row(address, part.what, _format_price(part.price.usd), part.price.unit)
    if parts:
        table.print()


def _write_total_sentence(cost: PlanCost) -> str:
    total = _format_range(cost.lowest_usd, cost.highest_usd)
    without = sum(1 for one in cost.resources if one.not_known)
    resources = "1 resource" if without == 1 else f"{without} resources"
    known = f"; the costs of {resources} are not known, and not included" if without else ""
    return f"Without any request, the plan costs {total} USD a month{known}."


def _print_free_resources(cost: PlanCost) -> None:
    by_reason: dict[str, list[str]] = defaultdict(list)
    for one in cost.resources:
        if one.priced_or_free_or_unknown == "free":
            by_reason[one.reason].append(one.address)
    if by_reason:
        print_line("Free:")
    for reason, addresses in by_reason.items():
        print_line(f"{', '.join(addresses)}: {reason}", indent=2)


def _print_price_age(cost: PlanCost) -> None:
    from drdeploy.study.recommendation.price_age import (
        write_price_age_sentence,
        write_warning_about_old_prices,
    )

    today = datetime.now(UTC).date()
    age = write_price_age_sentence(cost.list_prices(), today)
    if age:
        print_line(age)
    warning = write_warning_about_old_prices(cost.list_prices(), today)
    for sentence in (*cost.warnings, *([warning] if warning else ())):
        print_note(sentence)


def _convert_to_json(cost: PlanCost, request_s: float, request_kb: float) -> dict[str, Any]:
    from drdeploy.study.recommendation.price_age import (
        write_price_age_sentence,
        write_warning_about_old_prices,
    )

    today = datetime.now(UTC).date()
    old = write_warning_about_old_prices(cost.list_prices(), today)
    return {
        "made_by": cost.made_by,
        "has_endpoint": cost.has_endpoint,
        "usd_per_month": {"lowest": cost.lowest_usd, "highest": cost.highest_usd},
        "request": {"work_s": request_s, "sent_kb": request_kb},
        "resources": [_convert_resource_to_json(one) for one in cost.resources],
        "removed": [asdict(one) for one in cost.removed],
        "price_age": write_price_age_sentence(cost.list_prices(), today),
        "warnings": [*cost.warnings, *([old] if old else ())],
    }


def _convert_resource_to_json(one: ResourceCost) -> dict[str, Any]:
    return {
        "address": one.address,
        "type": one.type,
        "region": one.region,
        "verdict": one.priced_or_free_or_unknown,
        "reason": one.reason,
        "not_known": list(one.not_known),
        "request_usd": one.request_usd,
        "monthly": [
            {**asdict(part), "lowest_usd": part.lowest_usd, "highest_usd": part.highest_usd}
            for part in one.monthly
        ],
        "usage": [asdict(part) for part in one.usage],
    }


def _format_range(lowest: float, highest: float) -> str:
    low, high = f"{lowest:,.2f}", f"{highest:,.2f}"
    return low if low == high else f"{low} to {high}"


def _format_price(usd: float) -> str:
    return f"{usd:.8f}".rstrip("0").rstrip(".")
