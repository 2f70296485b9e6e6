"""The options that more than one command takes."""

from __future__ import annotations

import logging
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from drdeploy.errors import InvalidInput
from drdeploy.files import explain_unusable_path
from drdeploy.grader.runtimes.runtime import RuntimeName

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from drdeploy.grader.networks.weights import WeightsSource

# ---- every command ------------------------------------------------------------------------

JsonOption = Annotated[
    bool, typer.Option("--json", help="Print the result as JSON on standard output.")
]
SeedOption = Annotated[int, typer.Option("--seed", min=0, help="Seed of all random numbers.")]
CsvOption = Annotated[
    Path | None, typer.Option("--csv", help="Write the rows to this CSV file.", dir_okay=False)
]
PlotOption = Annotated[
    Path | None,
    typer.Option("--plot", help="Draw the result as an SVG picture in this file.", dir_okay=False),
]

# ---- models and photographs ---------------------------------------------------------------

ChangedArchiveOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        dir_okay=False,
        help="The archive to write; by default, beside the artifact, or in the current folder for "
        "the packaged grader.",
    ),
]
ArtifactOption = Annotated[
    Path | None,
    typer.Option(
        "--artifact",
        "-a",
        help=(
            "A model.tar.gz, or the folder to which it was extracted. By default, the packaged "
            "grader."
        ),
    ),
]
ArchitectureArgument = Annotated[
    str, typer.Argument(help="A network that `drdeploy model list` shows.")
]
RuntimeOption = Annotated[
    RuntimeName | None,
    typer.Option(
        "--runtime",
        help=(
            "The library that runs the model; by default, the library that fits the model's format."
        ),
    ),
]
TrainingDataOption = Annotated[
    Path,
    typer.Option(
        "--data",
        help=(
            "Folder of labelled photographs. If the photographs have splits, only the split "
            "`train` is used."
        ),
    ),
]


GIVE_ARTIFACT = "Give a model.tar.gz with --artifact, or omit --artifact for the packaged grader"
"""The remedy if the artifact that the user gave does not exist."""


def parse_weights_source(text: str) -> WeightsSource:
    """Return ``random`` or ``imagenet`` unchanged, and any other text as the path of a file."""
    match text:
        case "random" | "imagenet":
            return text
        case _:
            return Path(text)


FoldsOption = Annotated[
    int, typer.Option("--folds", min=2, help="Number of folds of the cross-validation.")
]


def parse_prevalence(text: str, *, may_be_estimated: bool = True) -> float | Literal["estimate"]:
    """Return a stated prevalence as a number, and ``estimate`` unchanged.

    Args:
        text: The value of ``--prevalence``.
        may_be_estimated: Whether the error message offers ``estimate``.

    Raises:
        InvalidInput: The text is neither ``estimate`` nor a number between 0 and 1.
    """
    if text == "estimate":
        return "estimate"
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 < share < 1:
        raise InvalidInput(
            f"The prevalence must be between 0 and 1, not {text}",
            where="--prevalence",
            remedy="Give a number like 0.1 for 10 %"
            + (", or `estimate`" if may_be_estimated else ""),
        )
    return share


NamesOption = Annotated[
    bool,
    typer.Option(
        "--names",
        help=(
            "Name photographs by their file names, which may identify patients. Without "
            "--names, photographs are named by a keyed hash; `drdeploy names` lists the file "
            "of each name."
        ),
    ),
]

# ---- where to -----------------------------------------------------------------------------

EndpointUrlOption = Annotated[
    str | None,
    typer.Option(
        "--endpoint-url",
        envvar="DRDEPLOY_ENDPOINT_URL",
        help="Address of the local service, for example http://127.0.0.1:8765. By default, the "
        "address in AWS_ENDPOINT_URL if it is on this machine, otherwise AWS.",
    ),
]


RegionOption = Annotated[
    str | None,
    typer.Option(
        "--region",
        help="AWS region; by default, the region of your AWS session, and us-east-1 for the local "
        "service.",
    ),
]
IsolationOption = Annotated[
    Literal["auto", "container", "process"],
    typer.Option(
        "--isolation",
        help="Whether the local service runs endpoints in containers or in processes. `auto` "
        "means containers if a container engine answers, otherwise processes.",
    ),
]

# ---- studies and decisions ----------------------------------------------------------------

ResultsArgument = Annotated[
    Path, typer.Argument(help="A folder with measurements.csv, or thesis-2023 for the 2023 study.")
]

PricesOption = Annotated[
    Path | None,
    typer.Option(
        "--prices", help="Your own price sheet; by default, the packaged sheet.", dir_okay=False
    ),
]
PriceRegionOption = Annotated[
    str, typer.Option("--region", help="AWS region whose prices are used.")
]
ShapeOption = Annotated[
    str,
    typer.Option(
        "--shape", help="Distribution of requests over a week: clinic, working-hours or flat."
    ),
]
P95Option = Annotated[
    float | None,
    typer.Option(
        "--p95",
        help="Seconds within which 95 of 100 photographs must be answered, including cold starts "
        "and waiting.",
    ),
]
MinSensitivityOption = Annotated[
    float | None,
    typer.Option(
        "--min-sensitivity",
        help=(
            "Share of diseased eyes that must be found, for example 0.9. At one or more "
            "operating points, the 95 % interval of the sensitivity must begin at this share or "
            "above it. Only cross-fitted rates are accepted: rates that were measured on "
            "photographs that were not used to choose the threshold."
        ),
    ),
]
MinSpecificityOption = Annotated[
    float | None,
    typer.Option(
        "--min-specificity",
        help=(
            "Share of eyes without the disease that must not be flagged, for example 0.5. At "
            "the operating point that meets --min-sensitivity, the 95 % interval of the "
            "specificity must begin at this share or above it. The default is 0.5 with "
            "--min-sensitivity, because a grader that flags every eye finds every diseased eye."
        ),
    ),
]


def parse_budget_usd(text: str) -> float:
    """Return a budget like ``50`` or ``50 USD`` as a number.

    Raises:
        InvalidInput: The text is not a number, or names another currency.
    """
    parts = re.fullmatch(r"(?P<before>\D*?)(?P<amount>[-+]?[\d.]+(?:e\d+)?)(?P<after>\D*)", text)
    currency = (parts["before"] + parts["after"]).strip() if parts else ""
    is_dollars = currency.upper() in {"", "$", "USD", "US$"}
    if not is_dollars and re.fullmatch(r"[A-Za-z]{3}|[€£¥₹₩₽]|[A-Za-z]{1,2}\$", currency):
        raise InvalidInput(
            f"The budget {text!r} is in {currency}, and all prices are in US dollars",
            where="--budget",
            remedy="Convert the amount to US dollars, and give for example --budget 50",
        )
    try:
        return float(parts["amount"] if parts and is_dollars else "")
    except ValueError as error:
        raise InvalidInput(
            f"The budget {text!r} is not a number of US dollars",
            where="--budget",
            remedy="Give a number without thousands separators, for example --budget 1500",
        ) from error


BudgetOption = Annotated[
    float | None,
    typer.Option(
        "--budget",
        parser=parse_budget_usd,
        metavar="USD",
        help="Highest allowed cost of a month in USD.",
    ),
]
AsMeasuredOption = Annotated[
    bool,
    typer.Option(
        "--as-measured",
        help=(
            "Use the latencies as they were measured. By default, latencies of the local service "
            "are replaced by the latencies expected on AWS."
        ),
    ),
]
MixedOption = Annotated[
    bool,
    typer.Option(
        "--mixed",
        help="Compare measurements even if they are from different platforms or machines.",
    ),
]

# ---- a clinic's programs ------------------------------------------------------------------

RecordsArgument = Annotated[
    Path,
    typer.Argument(
        metavar="RECORDS",
        help="Folder of the clinic's records, which name the patients. `clinic serve`, `clinic "
        "listen` and `clinic account` make the folder if it does not exist.",
        file_okay=False,
    ),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        envvar="DRDEPLOY_DATABASE",
        metavar="URL",
        help="PostgreSQL database for everything but the photographs, for example "
        "postgresql://user@host/name; by default, SQLite in the folder.",
        show_default=False,
    ),
]
TlsCertificateOption = Annotated[
    Path | None,
    typer.Option("--tls-certificate", help="Certificate of this program, with its chain (PEM)."),
]
TlsKeyOption = Annotated[
    Path | None, typer.Option("--tls-key", help="Private key of the certificate (PEM).")
]
RulesOption = Annotated[
    Path | None,
    typer.Option("--rules", help="Your own referral rules (TOML); by default, the packaged rules."),
]
UntilStdinClosesOption = Annotated[
    bool, typer.Option("--until-stdin-closes", help="Stop when standard input closes.")
]
StowOption = Annotated[
    str | None,
    typer.Option(
        "--stow",
        metavar="URL",
        help="Send photographs, structured report and PDF to the archive whose DICOMweb service "
        "has this base address.",
    ),
]
SendOption = Annotated[
    str | None,
    typer.Option(
        "--send",
        metavar="TITLE@HOST:PORT",
        help="Send photographs, structured report and PDF to this archive by C-STORE.",
    ),
]
PostOption = Annotated[
    str | None,
    typer.Option(
        "--post",
        metavar="URL",
        help="Send a FHIR R4 bundle of each study to this server's base address.",
    ),
]


def check_option_is_finite(option: typer.CallbackParam, value: float) -> float:
    """Check that the number of an option is finite, and return it.

    Raises:
        InvalidInput: The number is infinite or not a number.
    """
    if not math.isfinite(value):
        raise InvalidInput(
            "The value is not a finite number",
            where=option.opts[0],
            remedy="Give a finite number",
        )
    return value


QuietOption = Annotated[
    float,
    typer.Option(
        "--quiet-s",
        min=0.0,
        callback=check_option_is_finite,
        help="Seconds without a new photograph after which a study is graded.",
    ),
]


def log_to_standard_error() -> None:
    """Write the log of the ``drdeploy clinic`` commands to standard error."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("drdeploy clinic: %(message)s"))
    log = logging.getLogger("drdeploy.clinic")
    log.handlers, log.propagate = [handler], False
    log.setLevel(logging.INFO)


def list_given_options(context: typer.Context, parameters: Collection[str]) -> list[str]:
    """Return which of some options the user gave on the command line.

    Options that were set by environment variables do not count.

    Args:
        context: The context of the command, with the options that were given.
        parameters: The names of the parameters.
    """
    names = {one.name: one.opts[0] for one in context.command.params}
    return [
        names[parameter]
        for parameter in parameters
        if getattr(context.get_parameter_source(parameter), "name", "") == "COMMANDLINE"
    ]


def refuse_options_without_effect(
    context: typer.Context, parameters: Collection[str], *, why: str, remedy: str
) -> None:
    """Raise an error if the user gave options that would have no effect.

    Args:
        context: The context of the command.
        parameters: The names of the parameters that have no effect.
        why: The end of the message, which begins with "OPTION would have no effect".
        remedy: What the user can do instead of omitting the options.
    """
    given = list_given_options(context, parameters)
    if given:
        raise InvalidInput(
            f"{' and '.join(given)} would have no effect {why}",
            remedy=f"Omit {' and '.join(given)}, or {remedy}",
        )


def require_folder_of_output(option: str, output: Path, *, described: str) -> None:
    """Check that a file can be written later: that its folder exists.

    Args:
        option: The option that names the file to write.
        output: The file to write.
        described: What the file holds, for the message; for example ``table``.

    Raises:
        InvalidInput: The folder does not exist, or is no folder.
    """
    if not output.parent.is_dir():
        missing = f"The folder of the {described} does not exist"
        raise InvalidInput(
            explain_unusable_path(output.parent, missing, wanted="folder"),
            where=str(output.parent),
            remedy=f"Make the folder, or give another file with {option}",
        )


def refuse_to_overwrite_inputs(option: str, output: Path, inputs: Iterable[Path | None]) -> None:
    """Raise an error if the file that an option names is a file that the command reads.

    Args:
        option: The option that names the file to write.
        output: The file to write.
        inputs: The files that the command reads. None stands for a file that was not given.
    """
    if output.resolve() in {path.resolve() for path in inputs if path is not None}:
        raise InvalidInput(
            f"{option} would overwrite a file that the command reads",
            where=str(output),
            remedy=f"Give another file with {option}",
        )


def refuse_options_replaced_by_variables_file(
    context: typer.Context, parameters: Sequence[str], described: str
) -> None:
    """Raise an error for options whose values are already in the file of ``--variables``.

    Args:
        context: The context of the command, with the options that were given.
        parameters: The names of the parameters that the file replaces.
        described: What the file describes, as the message calls it, for example "endpoint".
    """
    given = list_given_options(context, parameters)
    if given:
        raise InvalidInput(
            f"The file given with --variables describes the {described}, so {', '.join(given)} "
            "would have no effect",
            where="--variables",
            remedy=f"Omit {', '.join(given)}, or omit --variables",
        )
