"""``drdeploy clinic studies``, ``audit`` and ``erase``: show, check and delete records."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drdeploy.cli.console import Column, Table, err, print_json, print_line, print_note
from drdeploy.cli.options import DatabaseOption, JsonOption, RecordsArgument
from drdeploy.errors import InvalidInput, format_count
from drdeploy.units import SECONDS_PER_DAY

if TYPE_CHECKING:
    from pathlib import Path

    from drdeploy.clinic.records import ClinicRecords


def studies(
    records: RecordsArgument,
    *,
    again: Annotated[
        bool,
        typer.Option(
            "--again", help="Grade failed studies again, and repeat deliveries that failed."
        ),
    ] = False,
    database: DatabaseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the studies in a clinic's records, failed studies first.

    The other studies follow, the most urgent first. Patients and studies are named by keyed hashes.
    The exit status is 1 if a study could not be graded, or if a result was refused.

    For research use. Not a medical device.
    """
    from drdeploy.clinic.referral_rules import OUTCOMES
    from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE

    opened = open_records(records, database)
    if again:
        print_line(
            f"Studies and deliveries that are tried again: {opened.queue_failed_studies_again()}.",
            to=err,
        )
    order: list[str | None] = [*OUTCOMES]
    rows = sorted(
        opened.list_studies(),
        key=lambda row: (
            row["state"] != "failed",
            order.index(row["outcome"]) if row["outcome"] in order else len(order),
            row["study"],
        ),
    )
    if as_json:
        print_json({"notice": RESEARCH_USE_NOTICE, "studies": rows})
    else:
        _print_studies(rows)
        print_line(f"{format_count(len(rows), 'study', 'studies')}. {RESEARCH_USE_NOTICE}", to=err)
    if any(row["state"] == "failed" or row["deliveries"].get("refused") for row in rows):
        raise typer.Exit(1)


def _print_studies(rows: list[dict[str, Any]]) -> None:
    table = Table([
        Column.of_names("study"),
        Column.of_names("state"),
        Column.of_sentences("outcome"),
        Column.of_names("right"),
        Column.of_names("left"),
        Column.of_names("results"),
    ])  # fmt: skip
    for row in rows:
        counts = row["deliveries"]
        table.add_row(
            row["study"],
            row["state"],
            row["outcome"] or row["reason"],
            *(_describe_grade(row["eyes"].get(eye)) for eye in ("right", "left")),
            ", ".join(f"{count} {state}" for state, count in sorted(counts.items())) or "none sent",
        )
    table.print()


def _describe_grade(eye: dict[str, Any] | None) -> str:
    if eye is None or not eye["photographs"]:
        return "none"
    return "ungradable" if eye["grade"] is None else str(eye["grade"])


def audit(
    records: RecordsArgument, *, database: DatabaseOption = None, as_json: JsonOption = False
) -> None:
    """Check that no entry of the audit log was changed or removed.

    The command prints the number of entries and a hash of the log. Keep a copy of both outside the
    records. If a later check finds the same number of entries but a different hash, somebody has
    rewritten the log.
    """
    entries, sha256 = open_records(records, database).verify_audit_log()
    if as_json:
        print_json({"entries": entries, "sha256": sha256})
    else:
        print_line(
            f"{format_count(entries, 'entry', 'entries')}, and none was changed. The last hash of "
            f"the audit log is {sha256}."
        )


def erase(
    records: RecordsArgument,
    *,
    patient: Annotated[
        str | None, typer.Option(metavar="NUMBER", help="The patient's number (Patient ID).")
    ] = None,
    issuer: Annotated[
        str,
        typer.Option(
            help="Who issued the number (Issuer of Patient ID), if the files name an issuer."
        ),
    ] = "",
    study: Annotated[
        str | None,
        typer.Option(
            metavar="UID",
            help="One study by its Study Instance UID, even if its patient has no number.",
        ),
    ] = None,
    older_than_days: Annotated[
        float | None,
        typer.Option(
            min=0.0,
            help="Every study whose last photograph arrived more than this many days ago.",
        ),
    ] = None,
    database: DatabaseOption = None,
) -> None:
    """Delete the records of a patient, of a study or of old studies.

    For each study, the audit log gets an entry, which names the study by a keyed hash. Copies in
    archives, on servers and in folders of `clinic pull` are not deleted. `clinic pull --records`
    does not bring an erased study back. Two issuers, such as two hospitals, may have given the same
    number to different patients. The command therefore keeps studies with the same number from
    another issuer, and prints how many there are.
    """
    if sum(one is not None for one in (patient, study, older_than_days)) != 1:
        raise InvalidInput(
            "Exactly one of --patient, --study and --older-than-days must be given",
            where="erase", remedy="Choose one of the three options to say what to delete",
        )  # fmt: skip
    if issuer.strip() and patient is None:
        raise InvalidInput(
            "--issuer needs a patient's number", where="--issuer", remedy="Give --patient too"
        )
    if older_than_days is not None and not math.isfinite(older_than_days):
        raise InvalidInput(
            "The number of days must be finite",
            where="--older-than-days",
            remedy="Give a number like 365",
        )
    opened = open_records(records, database)
    if patient is not None:
        _erase_patient(opened, f"{issuer.strip()}\n{patient.strip()}")
    elif study is not None:
        count = opened.erasure.erase_study(study.strip())
        print_line(f"{format_count(count, 'study', 'studies')} deleted.")
        if not count:
            raise InvalidInput(
                "The records have no study with this identifier",
                where="--study",
                remedy="Check the Study Instance UID: it has only digits and dots",
            )
    else:
        count = opened.erasure.erase_older_than(
            time.time() - SECONDS_PER_DAY * (older_than_days or 0.0)
        )
        print_line(f"{format_count(count, 'study', 'studies')} deleted.")


def _erase_patient(records: ClinicRecords, patient: str) -> None:
    count, others = (
        records.erasure.erase_patient(patient),
        records.erasure.count_studies_of_other_issuers(patient),
    )
    print_line(f"{format_count(count, 'study', 'studies')} deleted.")
    others_said = (
        f"{format_count(others, 'study', 'studies')} with the same patient number from another "
        "issuer"
    )
    if not count:
        raise InvalidInput(
            "The records have no study of this patient"
            + (f", but {others_said}" if others else ""),
            where="--patient",
            remedy="Give the issuer of the number with --issuer; omit --issuer if there is none"
            if others
            else "Check the number, or give a study of the patient with --study",
        )
    if others:
        print_note(
            f"not deleted: {others_said}. If they are of the same patient, run the command again, "
            "and name that issuer with --issuer"
        )


def open_records(folder: Path, database: str | None) -> ClinicRecords:
    """Open the records in a folder; the folder must exist.

    Raises:
        InvalidInput: The folder does not exist.
    """
    from drdeploy.clinic.records import ClinicRecords
    from drdeploy.photograph_names import PhotographNames

    if not folder.is_dir():
        raise InvalidInput(
            "The folder of the records does not exist",
            where=str(folder),
            remedy="Give the folder that you gave to `clinic serve`, `clinic listen` or `clinic "
            "account`",
        )
    return ClinicRecords.open(
        folder, names=PhotographNames.with_user_key(), database=database, who="clinic command"
    )
