"""``drdeploy recommend``: choose the hosting that meets every requirement."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import Column, Table, err, print_json, print_line, print_note
from drdeploy.cli.options import (
    AsMeasuredOption,
    BudgetOption,
    JsonOption,
    MinSensitivityOption,
    MinSpecificityOption,
    MixedOption,
    P95Option,
    PriceRegionOption,
    PricesOption,
    ResultsArgument,
    SeedOption,
    ShapeOption,
    list_given_options,
    refuse_options_without_effect,
    refuse_to_overwrite_inputs,
)
from drdeploy.errors import InvalidInput
from drdeploy.files import write_file_atomically, write_json_file
from drdeploy.units import KB, SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.recommendation.aws_latency_estimates import TransferModel
    from drdeploy.study.recommendation.decision import Decision, EvaluatedOption
    from drdeploy.study.recommendation.traffic import Arrivals, Traffic

SHOWN = 8
WEEKLY = ("shape", "hours", "days", "between_photographs_s")
"""The parameters that say how the photographs of --requests arrive during a week."""


def recommend(
    context: typer.Context,
    results: ResultsArgument,
    *,
    requests_per_month: Annotated[
        float | None, typer.Option("--requests", help="Number of photographs in a month.")
    ] = None,
    shape: ShapeOption = "clinic",
    hours: Annotated[
        str | None,
        typer.Option(
            help="Your own distribution of requests over a day: 24 weights, separated by commas."
        ),
    ] = None,
    days: Annotated[
        str,
        typer.Option(help="With --hours: 7 weights of the days from Monday, separated by commas."),
    ] = "1,1,1,1,1,0,0",
    trace: Annotated[
        Path | None,
        typer.Option(
            help="Instead of --requests: a CSV file with the column arrived_at, or with the "
            "columns minute and count."
        ),
    ] = None,
    p95_s: P95Option = None,
    min_sensitivity: MinSensitivityOption = None,
    min_specificity: MinSpecificityOption = None,
    at_grade: Annotated[
        int, typer.Option(help="ICDR grade from which an eye counts as diseased: 2 or 3.")
    ] = 2,
    budget_usd: BudgetOption = None,
    same_cost_percent: Annotated[
        float,
        typer.Option(
            help="Costs that differ by at most this share of the lower cost count as equal."
        ),
    ] = 5.0,
    same_cost_usd: Annotated[
        float,
        typer.Option(help="Costs that differ by at most this amount a month also count as equal."),
    ] = 1.0,
    archive: Annotated[
        int | None,
        typer.Option(
            help="Instead of --requests: number of photographs in an archive that is graded once, "
            "within --may-wait-hours."
        ),
    ] = None,
    needs_vpc: Annotated[
        bool,
        typer.Option(
            "--vpc", help="The model must run in your own VPC, which excludes serverless endpoints."
        ),
    ] = False,
    needs_network_isolation: Annotated[
        bool,
        typer.Option(
            "--network-isolation",
            help="The container must have no network, which excludes serverless endpoints.",
        ),
    ] = False,
    needs_gpu: Annotated[
        bool,
        typer.Option("--gpu", help="The model needs a GPU, which excludes serverless endpoints."),
    ] = False,
    needs_own_key: Annotated[
        bool,
        typer.Option(
            "--own-key",
            help="The volumes of instances must be encrypted with your own key, which excludes "
            "serverless endpoints.",
        ),
    ] = False,
    largest_photograph_mb: Annotated[
        float | None,
        typer.Option(
            help="Size of the largest photograph in MB. The limit is 4 MB for serverless, 6 MB for "
            "real-time and batch transform, and 1024 MB for asynchronous."
        ),
    ] = None,
    may_wait_hours: Annotated[
        float | None,
        typer.Option(
            help="Hours within which every result must be there. Without this option, "
            "asynchronous inference and batch transform are excluded."
        ),
    ] = None,
    data_stays_in: Annotated[
        str | None,
        typer.Option(
            help=(
                "Regions that photographs must not leave, separated by commas. The beginning "
                "of a name, for example eu, stands for all regions with this beginning."
            )
        ),
    ] = None,
    photographs_per_patient: Annotated[
        int, typer.Option(help="Number of photographs of one patient.")
    ] = 4,
    between_photographs_s: Annotated[
        float, typer.Option(help="Seconds between two photographs of a patient.")
    ] = 20.0,
    idle_s: Annotated[
        float, typer.Option(help="Seconds after which the platform removes an idle container.")
    ] = 600.0,
    max_concurrency: Annotated[
        int,
        typer.Option(help="Largest number of requests that a serverless endpoint handles at once."),
    ] = 200,
    account_concurrency: Annotated[
        int | None,
        typer.Option(
            help="Your account's quota of requests that serverless endpoints handle at once in the "
            "region; a new account may have 10."
        ),
    ] = None,
    instance_start_s: Annotated[
        float, typer.Option(help="Seconds from starting an instance until it answers.")
    ] = 300.0,
    zero_instances: Annotated[
        bool,
        typer.Option(
            help="Whether the region accepts inference components without instances; some regions "
            "refuse MinInstanceCount 0."
        ),
    ] = True,
    headroom: Annotated[
        float,
        typer.Option(
            help="Share of the instances' capacity that must stay free in the busiest hour."
        ),
    ] = 0.3,
    fewest_instances: Annotated[
        int, typer.Option(help="Number of real-time instances that stay on without traffic.")
    ] = 1,
    requests_at_once: Annotated[
        int | None,
        typer.Option(
            help="Number of requests that one instance handles at once; by default, 1.",
            show_default=False,
        ),
    ] = None,
    capacity: Annotated[
        Path | None,
        typer.Option(
            help="Instead of --requests-at-once: the file that `drdeploy capacity --out` wrote.",
            dir_okay=False,
        ),
    ] = None,
    request_kb: Annotated[
        float, typer.Option(help="Size of a photograph in kB, if the measurements do not give it.")
    ] = 310.0,
    image_gb: Annotated[
        float, typer.Option(help="Size of the images in the registry, in GB.")
    ] = 0.5,
    artifact_gb: Annotated[
        float, typer.Option(help="Size of the artifacts in the bucket, in GB.")
    ] = 0.1,
    as_measured: AsMeasuredOption = False,
    account: Annotated[
        Path | None,
        typer.Option(
            help="Results of `study run --target aws` in your own account, with the same "
            "software. They make the expected latencies on AWS more exact."
        ),
    ] = None,
    stack: Annotated[
        Path | None,
        typer.Option(
            help="Results of `drdeploy study run study-stack` on the machine that made the "
            "measurements; by default, packaged results from another machine."
        ),
    ] = None,
    prices: PricesOption = None,
    add_prices: Annotated[
        Path | None,
        typer.Option(
            help="A second price sheet, with prices that the first sheet lacks.", dir_okay=False
        ),
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
            help="Also write the variables with which the best option is deployed (JSON).",
            dir_okay=False,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Choose the cheapest hosting that meets your requirements.

    The command simulates your traffic on every measured configuration, and computes the cost. A
    serverless endpoint is simulated several times, each time with another way to avoid cold starts.
    Six ways to run instances are simulated: around the clock, autoscaled, on a schedule, behind a
    queue, as inference components that scale to zero, and as batch jobs. An option that breaks a
    requirement is excluded. Of the options that cost about the same, the simplest to run is chosen;
    of equally simple options, the fastest.

    If the latencies were measured on this machine, the latencies on AWS are estimated from them.
    The decision then gives the measured latency, and the estimate with its interval.
    """
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.published_study.raw_rows import load_results_or_published_study
    from drdeploy.study.recommendation.decide import choose_cheapest_hosting
    from drdeploy.study.recommendation.decision import convert_decision_to_json as decision_as_json
    from drdeploy.study.recommendation.requirements import Assumptions, DecisionInputs, Requirements

    for option, output in (("--page", page), ("--tfvars", tfvars)):
        if output is not None:
            read = _list_files_of_results([results, account, stack])
            refuse_to_overwrite_inputs(option, output, [*read, trace, capacity, prices, add_prices])
    if page is not None and tfvars is not None and page.resolve() == tfvars.resolve():
        raise InvalidInput(
            "--page and --tfvars name the same file",
            where=str(page),
            remedy="Give another file with one of the two options",
        )
    may_wait_s = None if may_wait_hours is None else may_wait_hours * SECONDS_PER_HOUR
    traffic = _make_traffic_from_options(
        {"--requests": requests_per_month, "--trace": trace, "--archive": archive},
        weekly=list_given_options(context, WEEKLY),
        may_wait_s=may_wait_s,
        hours=hours,
        days=days,
        shape=shape,
        photographs_per_patient=photographs_per_patient,
        between_photographs_s=between_photographs_s,
        seed=seed,
    )
    if min_sensitivity is None and min_specificity is None:
        refuse_options_without_effect(
            context,
            ["at_grade"],
            why="without a required sensitivity or specificity",
            remedy="add --min-sensitivity or --min-specificity",
        )
    inputs = DecisionInputs(
        traffic=traffic,
        required=Requirements(
            p95_s=p95_s,
            min_sensitivity=min_sensitivity,
            min_specificity=min_specificity,
            at_grade=at_grade,
            budget_usd=budget_usd,
            same_cost_share=same_cost_percent / 100,
            same_cost_usd=same_cost_usd,
            needs_vpc=needs_vpc,
            needs_network_isolation=needs_network_isolation,
            needs_gpu=needs_gpu,
            needs_own_key=needs_own_key,
            largest_photograph_mb=largest_photograph_mb,
            may_wait_s=may_wait_s,
            data_stays_in=_parse_regions(data_stays_in),
        ),
        assumptions=Assumptions(
            idle_s=idle_s,
            max_concurrency=max_concurrency,
            account_concurrency=account_concurrency,
            instance_start_s=instance_start_s,
            has_zero_instances=zero_instances,
            headroom=headroom,
            fewest_instances=fewest_instances,
            requests_at_once=_choose_max_concurrent_requests(requests_at_once, capacity),
            photographs_per_patient=photographs_per_patient,
            request_bytes=request_kb * KB,
            image_gb=image_gb,
            artifact_gb=artifact_gb,
            region=region,
        ),
        seed=seed,
    )
    sheet = PriceSheet.load(prices)
    if add_prices:
        sheet = sheet.joined(PriceSheet.load(add_prices))
    measurements = load_results_or_published_study(results)
    inputs = replace(
        inputs,
        transfer=_fit_aws_latency_model(
            measurements, image_gb, seed, {"--account": account, "--stack": stack}, as_measured
        ),
    )
    with err.status("Simulating the options"):
        decision = choose_cheapest_hosting(measurements, sheet, inputs, allow_mixed=mixed)
    if page:
        from drdeploy.study.recommendation.decision_grid import simulate_decision_grid
        from drdeploy.study.recommendation.page import render_decision_page as page_of

        with err.status("Simulating other volumes for the page"):
            grid = simulate_decision_grid(measurements, sheet, inputs)
        write_file_atomically(page, page_of(decision, written_at=datetime.now(UTC), grid=grid))
        print_line(f"The page is at {page}", to=err)
    if tfvars:
        if decision.winner is None:
            raise InvalidInput(
                "No option meets the requirements, so there are no variables to write",
                where=str(tfvars),
                remedy="Omit --tfvars to see why each option is excluded, then relax a requirement",
            )
        write_json_file(tfvars, decision.winner.settings)
        command = f"drdeploy {decision.winner.command} --variables"
        print_line(f"The variables for `{command}` are at {tfvars}", to=err)
    if as_json:
        print_json(decision_as_json(decision))
    else:
        _print_decision(decision)


def _list_files_of_results(paths: Iterable[Path | None]) -> list[Path]:
    """Return the files of results folders, each given by its path or its ``measurements.csv``."""
    files = []
    for path in filter(None, paths):
        folder = path if path.is_dir() else path.parent
        files += [path, *path.glob("*.csv"), folder / "environment.json"]
    return files


def _fit_aws_latency_model(
    measurements: Measurements,
    image_gb: float,
    seed: int,
    folders: Mapping[str, Path | None],
    as_measured: bool,
) -> TransferModel | None:
    """Fit a model that predicts AWS latencies from local ones; None if it is not needed."""
    from drdeploy.study.aws_latency.model import fit_transfer_model
    from drdeploy.study.measurements.load import load_results_folder

    given = [name for name, folder in folders.items() if folder is not None]
    is_needless = as_measured or "local" not in set(measurements.frame["platform"])
    if is_needless and given:
        why = "with --as-measured" if as_measured else "on measurements from AWS"
        raise InvalidInput(
            f"{' and '.join(given)} would have no effect {why}",
            remedy=f"Omit {' and '.join(given)}" + (", or --as-measured" if as_measured else ""),
        )
    if is_needless:
        return None
    rows = {
        name: None if folder is None else load_results_folder(folder)
        for name, folder in folders.items()
    }
    return fit_transfer_model(
        measurements,
        image_gb=image_gb,
        account=rows["--account"],
        stack=rows["--stack"],
        seed=seed,
    )


def _parse_regions(text: str | None) -> tuple[str, ...]:
    regions = tuple(part.strip() for part in (text or "").split(",") if part.strip())
    if text is not None and not regions:
        raise InvalidInput(
            "--data-stays-in names no region",
            where="--data-stays-in",
            remedy="Name regions, or how their names begin, such as eu; or omit the option",
        )
    return regions


def _choose_max_concurrent_requests(given: int | None, capacity: Path | None) -> int:
    from drdeploy.study.measurements.capacity import CapacityResult

    if capacity is None:
        return 1 if given is None else given
    if given is not None:
        raise InvalidInput(
            "--requests-at-once and --capacity cannot be combined",
            remedy="Give either the number, or the file with the measured capacity",
        )
    return CapacityResult.read(capacity).require_requests_at_once(str(capacity))


def _make_traffic_from_options(
    given: Mapping[str, float | Path | None],
    *,
    weekly: Sequence[str],
    may_wait_s: float | None,
    hours: str | None,
    days: str,
    shape: str,
    photographs_per_patient: int,
    between_photographs_s: float,
    seed: int,
) -> Traffic | Arrivals:
    """Return the traffic that --requests, --trace or --archive describes.

    Exactly one of these three options must be given. ``weekly`` names the options that say at which
    hours and days of a week photographs arrive. They are refused if they have no effect.
    """
    from drdeploy.study.recommendation.trace import read_arrivals_from_trace
    from drdeploy.study.recommendation.traffic import (
        Traffic,
        TrafficShape,
        look_up_traffic_shape,
        make_archive_arrivals,
    )

    named = [name for name, value in given.items() if value is not None]
    if len(named) != 1:
        raise InvalidInput(
            f"{' and '.join(named)} cannot be combined" if named else "The traffic is missing",
            remedy="Give one of --requests (photographs a month), --trace (a CSV file) and "
            "--archive (photographs that are graded once)",
        )
    _refuse_weekly_options_without_effect(weekly, named[0])
    if photographs_per_patient == 1 and "--between-photographs-s" in weekly:
        raise InvalidInput(
            "--between-photographs-s would have no effect with one photograph of each patient",
            remedy="Omit --between-photographs-s, or give a larger --photographs-per-patient",
        )
    distribution = (
        look_up_traffic_shape(shape)
        if hours is None
        else TrafficShape.from_weights(
            "of your own",
            _parse_comma_separated_numbers(hours, "--hours"),
            _parse_comma_separated_numbers(days, "--days"),
        )
    )
    match given[named[0]]:
        case Path() as trace:
            return read_arrivals_from_trace(trace, seed=seed)
        case int() as archive if named == ["--archive"]:
            if may_wait_s is None:
                raise InvalidInput(
                    "The time within which the archive must be graded is missing",
                    remedy="Add --may-wait-hours",
                )
            return make_archive_arrivals(archive, may_wait_s)
        case requests_per_month:
            return Traffic(
                requests_per_month=requests_per_month or 0.0,
                shape=distribution,
                photographs_per_patient=photographs_per_patient,
                between_photographs_s=between_photographs_s,
            )


def _refuse_weekly_options_without_effect(weekly: Sequence[str], traffic: str) -> None:
    if traffic != "--requests" and weekly:
        raise InvalidInput(
            f"{' and '.join(weekly)} would have no effect: {traffic} says when photographs arrive",
            remedy=f"Omit {' and '.join(weekly)}, or give --requests in place of {traffic}",
        )
    if "--days" in weekly and "--hours" not in weekly:
        raise InvalidInput(
            "--days would have no effect without --hours",
            remedy="Add --hours with the 24 weights of a day's hours, or omit --days",
        )
    if "--shape" in weekly and "--hours" in weekly:
        raise InvalidInput(
            "--shape and --hours cannot be combined",
            remedy="Choose a shape, or give weights of your own",
        )


def _parse_comma_separated_numbers(text: str, where: str) -> list[float]:
    try:
        return [float(part) for part in text.split(",")]
    except ValueError as error:
        raise InvalidInput(
            f"{text!r} is not a list of numbers", where=where, remedy="Separate numbers by commas"
        ) from error


def _print_decision(decision: Decision) -> None:
    from drdeploy.study.recommendation.wording import (
        shorten_option_names,
        write_best_policy_sentence,
    )

    names = shorten_option_names(decision.options)
    for sentence in decision.answer:
        print_line(sentence)
    if decision.winner:
        _print_options_as_table([decision.winner, *decision.runners_up], names)
    if decision.excluded:
        print_line("Excluded:")
    for option in decision.excluded[:SHOWN]:
        print_line(f"{names[option.name]}: {'; '.join(option.failures)}", indent=2)
    _print_omitted_count(decision.excluded)
    if decision.research:
        kinds = "; ".join(sorted({one.kind for one in decision.research}))
        print_line(
            f"Simulated, but this project cannot deploy them: {kinds} (--json and --page show them)"
        )
    for one in decision.unusable:
        print_line(f"{one.name}: {one.reason}")
    if decision.mitigation:
        print_line(write_best_policy_sentence(decision))
    print_line(decision.latency_basis)
    print_line(decision.price_age)
    for note in decision.notes:
        print_note(note)
    print_line(decision.notice, style="yellow", to=err)


def _print_options_as_table(options: Sequence[EvaluatedOption], names: Mapping[str, str]) -> None:
    from drdeploy.study.recommendation.wording import format_seconds, format_usd

    table = Table(
        [
            Column.of_names("meets every requirement"),
            *map(Column.of_numbers, ("a month", "per patient", "p95", "cold")),
        ]
    )
    for option in options[:SHOWN]:
        table.add_row(
            names[option.name],
            format_usd(option.usd_per_month),
            format_usd(option.usd_per_patient),
            format_seconds(option.p95_s),
            f"{option.cold_share:.2%}",
        )
    table.print()
    _print_omitted_count(options)


def _print_omitted_count(options: Sequence[EvaluatedOption]) -> None:
    if len(options) > SHOWN:
        print_line(f"and {len(options) - SHOWN} more (--json and --page list all)", indent=2)
