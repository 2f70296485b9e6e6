"""PostgreSQL, as Debian installs it, with an empty database."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from required import require

from drdeploy.hosting.container_engine import find_free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

USER = "clinic"


@contextmanager
def run_postgres() -> Iterator[str]:
    """Start a server, and yield the URL of its database."""
    programs = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    require(bool(programs), "PostgreSQL (Debian's package postgresql)")
    # Not in pytest's folder, into which the server's user may not look.
    folder = Path(tempfile.mkdtemp(prefix="drdeploy-postgres-"))
    as_user = []
    if os.getuid() == 0:  # the server refuses to run as root
        as_user = ["setpriv", "--reuid", "postgres", "--regid", "postgres", "--clear-groups"]
        shutil.chown(folder, "postgres", "postgres")
    data, port = folder / "data", find_free_port()

    def run(program: str, *arguments: str) -> None:
        command = [*as_user, str(programs[-1] / program), *arguments]
        with (folder / f"{program}.log").open("ab") as log:
            subprocess.run(command, stdout=log, stderr=log, check=True, cwd="/", timeout=120)

    run("initdb", "-D", str(data), "-U", USER, "-A", "trust", "-E", "UTF8", "--no-sync")
    options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories={data}"
    run("pg_ctl", "-D", str(data), "-o", options, "-w", "-l", str(data / "log"), "start")
    try:
        yield f"postgresql://{USER}@127.0.0.1:{port}/postgres"
    finally:
        run("pg_ctl", "-D", str(data), "-m", "immediate", "stop")
        shutil.rmtree(folder)
