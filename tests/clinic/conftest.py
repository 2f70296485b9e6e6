"""A clinic's records in SQLite and in PostgreSQL."""

import pytest
from postgres import run_postgres


@pytest.fixture(scope="session")
def postgres():
    with run_postgres() as url:
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def records(request, tmp_path):
    from sqlalchemy import text

    from drdeploy.clinic.records import ClinicRecords
    from drdeploy.clinic.records.schema import METADATA
    from drdeploy.photograph_names import PhotographNames

    url = None if request.param == "sqlite" else request.getfixturevalue("postgres")
    opened = ClinicRecords.open(
        tmp_path / "records", names=PhotographNames(b"k" * 32), database=url
    )

    def remove_rows():  # one server serves all tests, and some open it by themselves
        if url is not None:
            with opened._engine.begin() as connection:
                connection.execute(text("ALTER TABLE audit DISABLE TRIGGER ALL"))
                for table in reversed(METADATA.sorted_tables):
                    connection.execute(table.delete())
                connection.execute(text("ALTER TABLE audit ENABLE TRIGGER ALL"))

    remove_rows()
    yield opened
    remove_rows()
    opened.close()
