"""Check that a database and a folder of photographs belong together."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, text

from drdeploy.clinic.records.database import hide_password
from drdeploy.clinic.records.schema import PHOTOGRAPH_FOLDERS, PHOTOGRAPHS
from drdeploy.errors import ClinicError
from drdeploy.files import write_file_atomically

if TYPE_CHECKING:
    from pathlib import Path

    from sqlalchemy import Connection, Engine

    from drdeploy.clinic.records.photograph_store import PhotographStore


def refuse_folder_of_other_records(folder: Path, database: str | None) -> None:
    """Raise an error if the photographs in a folder belong to a different database.

    The given database does not know these photographs, so they would be deleted as unused.

    Raises:
        ClinicError: The folder belongs to another database.
    """
    name = "records.sqlite" if database is None else hide_password(database)
    file = folder / "database"
    if not file.exists():
        write_file_atomically(file, f"{name}\n")
    elif file.read_text("utf-8").strip() != name:
        raise ClinicError(
            "The photographs in this folder belong to records in another database",
            where=str(folder),
            remedy="Name that database with --database or DRDEPLOY_DATABASE; if you moved the "
            f"records to this database, delete {file}",
        )


def refuse_records_of_other_folder(engine: Engine, folder: Path, store: PhotographStore) -> None:
    """Raise an error if a database belongs to a different folder of photographs.

    When a database is used for the first time, the same identifier is written into the database and
    into the folder. From then on, the database can be used only with this folder. Several machines
    may use one database if they share the folder.

    Raises:
        ClinicError: The photographs of the records are in another folder, or the database is new
            and the folder already holds photographs.
    """
    file = folder / "identifier"
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":  # SQLite has one writer at a time
            connection.execute(text("LOCK TABLE photograph_folders IN EXCLUSIVE MODE"))
        known = connection.execute(select(PHOTOGRAPH_FOLDERS.c.identifier)).scalar_one_or_none()
        own = file.read_text("utf-8").strip() if file.exists() else ""
        if known is None:
            _refuse_photographs_without_rows(connection, folder, store)
        if known is None and _has_photographs(connection, store):
            own = own or uuid.uuid4().hex
            write_file_atomically(file, f"{own}\n")
            connection.execute(insert(PHOTOGRAPH_FOLDERS).values(id=1, identifier=own))
        elif known is None or own != known:
            remedy = "Give the folder that has the photographs"
            if known is not None:
                remedy += f"; if they were moved here, write {known} into {file}"
            raise ClinicError(
                "The photographs of the records in this database lie in another folder",
                where=str(folder),
                remedy=remedy,
            )


def _refuse_photographs_without_rows(
    connection: Connection, folder: Path, store: PhotographStore
) -> None:
    """Raise an error if a folder holds photographs, but a new database lists none.

    The database was probably lost. Its photographs would be deleted as unused.
    """
    is_empty = connection.execute(select(PHOTOGRAPHS.c.id).limit(1)).first() is None
    if is_empty and next(store.list_hashes(), None) is not None:
        raise ClinicError(
            "The folder holds photographs, but the database is new and lists none of them",
            where=str(folder),
            remedy="Copy the folder, because photographs that a backup does not list are deleted; "
            "then restore the database from the backup. Or give a new folder",
        )


def _has_photographs(connection: Connection, store: PhotographStore) -> bool:
    """Return whether the folder holds the newest photograph that the database lists.

    The result is also true if the database lists no photograph yet.
    """
    newest = select(PHOTOGRAPHS.c.sha256).order_by(PHOTOGRAPHS.c.id.desc()).limit(1)
    sha256 = connection.execute(newest).scalar_one_or_none()
    return sha256 is None or store.has_file(sha256)
