"""``drdeploy clinic account``: manage the accounts with which people sign in to the worklist."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from drdeploy.cli.console import Column, Table, print_json, print_line
from drdeploy.cli.options import DatabaseOption, JsonOption, RecordsArgument
from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

    from drdeploy.clinic.records import ClinicRecords

app = typer.Typer(no_args_is_help=True)

AccountNameArgument = Annotated[str, typer.Argument(metavar="NAME", help="The person's name.")]


@app.command()
def add(
    records: RecordsArgument,
    name: AccountNameArgument,
    *,
    role: Annotated[
        Literal["viewer", "grader", "administrator"],
        typer.Option(
            help="A viewer can look. A grader can also send photographs and decide. An "
            "administrator can also erase patients and read the audit log."
        ),
    ],
    database: DatabaseOption = None,
) -> None:
    """Create an account, or change its role and password.

    The command asks for the password on a terminal, or reads it from the first line of standard
    input. A password has 12 to 256 characters. If the password of an account changes, everybody who
    is signed in with this account is signed out.
    """
    opened = _open_records(records, database)
    is_new = opened.accounts.set_account(name, role, _read_password())
    print_line(f"{name} can {'now' if is_new else 'still'} sign in, as {role}.")


@app.command()
def remove(
    records: RecordsArgument, name: AccountNameArgument, *, database: DatabaseOption = None
) -> None:
    """Delete an account, and sign out everybody who is using it."""
    if not _open_records(records, database).accounts.remove_account(name):
        raise InvalidInput(
            "There is no account with this name",
            where=name,
            remedy="List the names with `drdeploy clinic account list`",
        )
    print_line(f"{name} can no longer sign in.")


@app.command("list")
def list_accounts(
    records: RecordsArgument, *, database: DatabaseOption = None, as_json: JsonOption = False
) -> None:
    """List the accounts."""
    accounts = _open_records(records, database).accounts.list_accounts()
    if as_json:
        print_json([{"name": one.name, "role": one.role} for one in accounts])
        return
    table = Table([Column.of_names("name"), Column.of_names("role")])
    for one in accounts:
        table.add_row(one.name, one.role)
    table.print()


def _read_password() -> str:
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True)
    return password


def _open_records(folder: Path, database: str | None) -> ClinicRecords:
    from drdeploy.clinic.records import ClinicRecords
    from drdeploy.photograph_names import PhotographNames

    return ClinicRecords.open(
        folder, names=PhotographNames.with_user_key(), database=database, who="clinic command"
    )
