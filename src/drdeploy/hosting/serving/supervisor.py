"""``drdeploy serve``: the first process of a container, in either profile.

It reads the settings, binds the port, starts the processes that serve, and waits.  Connections
that are made before a worker is ready wait in the socket's backlog, so that nobody has to poll: the
first ``/ping`` is answered at the instant that the model has predicted once.
"""

from __future__ import annotations

import os
import socket
import sys
from typing import TYPE_CHECKING

import msgspec

from drdeploy.errors import DrdeployError, InvalidInput
from drdeploy.hosting.serving.capacity import plan_capacity
from drdeploy.hosting.serving.log import Log
from drdeploy.hosting.serving.processes import watched_signals
from drdeploy.hosting.serving.settings import Settings, describe_settings, read_settings
from drdeploy.hosting.serving.state import state_folder

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

BACKLOG = 1024


def main(argv: Sequence[str] = (), environ: Mapping[str, str] = os.environ) -> int:
    """Serve until SIGTERM or SIGINT.

    Args:
        argv: What follows ``serve``; only ``--help`` is understood.
        environ: Holds the settings; ``drdeploy serve --help`` lists them.

    Returns:
        The exit status: 0 after a stop signal with all requests finished.
    """
    if "--help" in argv:
        sys.stdout.write(help_text())
        return 0
    log = Log()
    try:
        _refuse_arguments(argv)
        settings = read_settings(environ)
        return _serve(settings, Log(settings.log_level))
    except DrdeployError as err:
        log.event("cannot serve", "error", code=err.code, message=str(err))
        return err.exit_status
    except Exception as err:  # noqa: BLE001 - the last line of a container's log must say why
        log.failure("cannot serve", err)
        return 1


def _refuse_arguments(argv: Sequence[str]) -> None:
    if argv:
        raise InvalidInput(
            f"`serve` takes no arguments, but got {' '.join(argv)!r}",
            remedy="Set environment variables; `drdeploy serve --help` lists them",
        )


def _serve(settings: Settings, log: Log) -> int:
    with watched_signals() as signals, state_folder(settings) as folder:
        settings = msgspec.structs.replace(
            settings,
            container_id=settings.container_id or os.urandom(6).hex(),
            state_dir=str(folder),
        )
        capacity = plan_capacity(settings)
        listening = {
            "host": settings.bind_host,
            "port": settings.port,
            "container": settings.container_id,
        }
        if settings.profile == "lean":
            from drdeploy.hosting.serving.lean.supervision import LeanSupervision

            listener = bind(settings)
            log.event("listening", **listening)
            return LeanSupervision(
                settings, capacity, listener=listener, log=log, signals=signals
            ).run()
        from drdeploy.hosting.serving.classic.supervision import ClassicSupervision

        log.event("listening", **listening)
        return ClassicSupervision(settings, capacity, log=log, signals=signals).run()


def bind(settings: Settings) -> socket.socket:
    """Return a socket that listens at the settings' address.

    Raises:
        InvalidInput: The address is in use or not allowed.
    """
    family = socket.AF_INET6 if ":" in settings.bind_host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.bind_host, settings.port))
        listener.listen(BACKLOG)
    except OSError as err:
        listener.close()
        raise InvalidInput(
            f"The server cannot listen there ({err.strerror})",
            where=f"{settings.bind_host}:{settings.port}",
            remedy="Choose another SAGEMAKER_BIND_TO_PORT",
        ) from err
    listener.setblocking(False)
    return listener


def help_text() -> str:
    """Return the help of ``drdeploy serve``: the command and every setting."""
    lines = [
        "drdeploy serve: answer SageMaker's GET /ping and POST /invocations.",
        "",
        "All settings come from the environment:",
        "",
    ]
    for setting in describe_settings():
        unit = f" ({setting.unit})" if setting.unit else ""
        lines += [f"  {setting.variable}={setting.default}{unit}", f"      {setting.meaning}"]
    return "\n".join(lines) + "\n"
