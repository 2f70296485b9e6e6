"""``drdeploy serve``, which is the first process of a container in both profiles.

The supervisor reads the settings, binds the port, starts the serving processes, and waits.
Connections that arrive before a worker is ready wait in the socket's backlog. The first ``/ping``
is answered as soon as the model has predicted once.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

import msgspec

from drdeploy.errors import DrdeployError, InvalidInput
from drdeploy.hosting.serving.log import ServerLog
from drdeploy.hosting.serving.processes import catch_watched_signals
from drdeploy.hosting.serving.settings import (
    UNIX_PREFIX,
    Settings,
    list_setting_facts,
    read_settings,
    refuse_unknown_variables,
)
from drdeploy.hosting.serving.state_folder import make_folder_of_counters_and_sockets
from drdeploy.hosting.serving.worker_plan import choose_worker_and_thread_counts

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BACKLOG = 1024


def main(argv: Sequence[str] = (), environ: Mapping[str, str] = os.environ) -> int:
    """Run the server until SIGTERM or SIGINT.

    Args:
        argv: The arguments after ``serve``; only ``--help`` is allowed.
        environ: The environment variables with the settings; ``drdeploy serve --help`` lists them.

    Returns:
        The exit status: 0 if a stop signal arrived and all requests in flight were finished.
    """
    if "--help" in argv:
        sys.stdout.write(make_help_text())
        return 0
    log = ServerLog()
    try:
        _refuse_arguments(argv)
        refuse_unknown_variables(environ)
        settings = read_settings(environ)
        return _serve_profile(settings, ServerLog(settings.log_level))
    except DrdeployError as err:
        log.write_event("cannot serve", "error", code=err.code, message=str(err))
        return err.exit_status
    except Exception as err:  # noqa: BLE001 - the last line of a container's log must say why
        log.write_failure("cannot serve", err)
        return 1


def _refuse_arguments(argv: Sequence[str]) -> None:
    if argv:
        raise InvalidInput(
            f"`serve` takes no arguments, but got {' '.join(argv)!r}",
            remedy="Set environment variables; `drdeploy serve --help` lists them",
        )


def _serve_profile(settings: Settings, log: ServerLog) -> int:
    with (
        catch_watched_signals() as signals,
        make_folder_of_counters_and_sockets(settings) as folder,
    ):
        settings = msgspec.structs.replace(
            settings,
            container_id=settings.container_id or os.urandom(6).hex(),
            state_dir=str(folder),
        )
        capacity = choose_worker_and_thread_counts(settings)
        listening = {
            "host": settings.bind_host,
            "port": settings.port,
            "container": settings.container_id,
            "workers": capacity.workers,
            "threads": capacity.threads,
        }
        if settings.profile == "lean":
            from drdeploy.hosting.serving.lean.supervision import LeanSupervision

            listener = bind_listening_socket(settings)
            log.write_event("listening", **listening)
            return LeanSupervision(
                settings, capacity, listener=listener, log=log, signals=signals
            ).supervise_until_stopped()
        from drdeploy.hosting.serving.classic.supervision import ClassicSupervision

        log.write_event("listening", **listening)
        return ClassicSupervision(
            settings, capacity, log=log, signals=signals
        ).supervise_until_stopped()


def bind_listening_socket(settings: Settings) -> socket.socket:
    """Return a socket that listens on the address in the settings.

    Raises:
        InvalidInput: The address is in use or not allowed.
    """
    if settings.bind_host.startswith(UNIX_PREFIX):
        from pathlib import Path

        from drdeploy.hosting.serving.unix_sockets import bind_unix_socket

        path = settings.bind_host.removeprefix(UNIX_PREFIX)
        listener = bind_unix_socket(
            Path(path), BACKLOG, where=f"DRDEPLOY_BIND_HOST={settings.bind_host}"
        )
        listener.setblocking(False)
        return listener
    family = socket.AF_INET6 if ":" in settings.bind_host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.bind_host, settings.port))
        listener.listen(BACKLOG)
    except OSError as err:
        listener.close()
        raise InvalidInput(
            f"The server cannot listen on its address ({err.strerror})",
            where=f"{settings.bind_host}:{settings.port}",
            remedy="Set SAGEMAKER_BIND_TO_PORT to a free port, and DRDEPLOY_BIND_HOST to an "
            "address of this machine",
        ) from err
    listener.setblocking(False)
    return listener


def make_help_text() -> str:
    """Return the help of ``drdeploy serve`` with all settings."""
    lines = [
        "drdeploy serve: answer SageMaker's GET /ping and POST /invocations.",
        "",
        "All settings come from the environment:",
        "",
    ]
    for setting in list_setting_facts():
        unit = f" ({setting.unit})" if setting.unit else ""
        lines += [f"  {setting.variable}={setting.default}{unit}", f"      {setting.meaning}"]
    return "\n".join(lines) + "\n"
