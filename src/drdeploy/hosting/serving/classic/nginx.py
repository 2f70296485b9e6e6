"""Write NGINX's configuration from the server's settings and budgets."""

from __future__ import annotations

import grp
import math
import os
import pwd
import shutil
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from drdeploy.errors import (
    DrdeployError,
    HeadersTooLarge,
    MalformedRequest,
    MethodNotAllowed,
    Overloaded,
    ProcessingTimeout,
    RequestTimeout,
    ServerError,
    UnsupportedHttpFeature,
    UnsupportedHttpVersion,
)
from drdeploy.hosting.serving.budgets import make_worker_budgets
from drdeploy.hosting.serving.exchange import METHODS, make_refusal_response
from drdeploy.hosting.serving.settings import UNIX_PREFIX
from drdeploy.hosting.serving.uploads import make_too_large_error
from drdeploy.units import KIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.hosting.serving.budgets import Budgets
    from drdeploy.hosting.serving.capacity import Capacity
    from drdeploy.hosting.serving.settings import Settings

TEMPLATE = Path(__file__).with_name("nginx.conf.template")
PROXY_GRACE_S = 5
"""Seconds by which NGINX's timeout exceeds the worker's.

The client thus gets the worker's answer 504, not that of NGINX.
"""
OWN_CONNECTIONS = 16
"""Connections that an NGINX worker needs beside those of clients.

These connections are the worker's listening sockets, its channel to NGINX's main process, and
reserve connections to Gunicorn.
"""
SBIN = "/usr/sbin:/usr/local/sbin"
"""The folders in which Debian installs NGINX.

An ordinary user's PATH does not name them.
"""


def find_nginx() -> str:
    """Return the path of the NGINX binary.

    Raises:
        ServerError: NGINX is not installed.
    """
    path = shutil.which("nginx") or shutil.which("nginx", path=SBIN)
    if path is None:
        raise ServerError(
            "NGINX is not installed",
            where="DRDEPLOY_PROFILE=classic",
            remedy="Install NGINX, or use the lean profile",
        )
    return path


def write_nginx_configuration(
    settings: Settings, folder: Path, socket_path: Path, capacity: Capacity
) -> Path:
    """Write NGINX's configuration file into the folder, and return the path of the file."""
    budgets = make_worker_budgets(settings, capacity)
    # Only the container's user may open Gunicorn's socket. If root starts NGINX, its workers become
    # `nobody` unless `user` is set. For any other user, NGINX warns that `user` has no effect.
    user = ""
    if os.geteuid() == 0:
        user = f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(os.getegid()).gr_name};"
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        user=user,
        workers=capacity.workers,
        worker_connections=2 * budgets.connections + OWN_CONNECTIONS,
        pid_file=_quote_nginx_parameter(folder / "nginx.pid"),
        body_folder=_quote_nginx_parameter(folder / "nginx-body"),
        proxy_folder=_quote_nginx_parameter(folder / "nginx-proxy"),
        fastcgi_folder=_quote_nginx_parameter(folder / "nginx-fastcgi"),
        uwsgi_folder=_quote_nginx_parameter(folder / "nginx-uwsgi"),
        scgi_folder=_quote_nginx_parameter(folder / "nginx-scgi"),
        socket=_quote_nginx_parameter(f"unix:{socket_path}"),
        listen=_quote_nginx_parameter(_format_listen_address(settings)),
        drain_s=max(1, math.ceil(settings.drain_s)),
        idle_s=math.ceil(budgets.idle_s),
        head_s=math.ceil(budgets.head_s),
        answer_s=math.ceil(budgets.answer_s),
        unread_bytes=budgets.unread_bytes,
        linger_s=math.ceil(budgets.linger_s),
        body_s=math.ceil(budgets.body_s),
        head_kb=budgets.head_bytes // KIB,
        body_bytes=budgets.body_bytes,
        processing_s=f"{budgets.processing_s:g}",
        proxy_timeout_s=math.ceil(budgets.processing_s) + PROXY_GRACE_S,
        methods="|".join(METHODS),
        errors="".join(_generate_error_locations(budgets)),
    )
    path = folder / "nginx.conf"
    path.write_text(text, encoding="utf-8")
    return path


def _format_listen_address(settings: Settings) -> str:
    host = settings.bind_host
    if host.startswith(UNIX_PREFIX):
        return host
    return f"[{host}]:{settings.port}" if ":" in host else f"{host}:{settings.port}"


def _quote_nginx_parameter(path: Path | str) -> str:
    """Return a parameter in quotes, because a path may contain blanks, quotes and semicolons."""
    escaped = str(path).replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _generate_error_locations(budgets: Budgets) -> Iterator[str]:
    """Yield the NGINX location blocks for the errors that NGINX answers itself.

    The answers have the same text as those of the gateway.
    """
    for error in _list_nginx_refusals(budgets):
        response = make_refusal_response(error)
        headers = "".join(
            f'      add_header {name} "{value}" always;\n' for name, value in response.headers
        )
        yield (
            f"    location = /errors/{response.status} {{\n"
            "      internal;\n"
            f"{headers}"
            f"      return {response.status} '{response.body.decode()}';\n"
            "    }\n"
        )


def _list_nginx_refusals(budgets: Budgets) -> Iterator[DrdeployError]:
    yield MalformedRequest("The request is not valid HTTP/1.1")
    yield MethodNotAllowed("The server accepts only GET, HEAD and POST")
    yield RequestTimeout("The request took too long to arrive")
    yield make_too_large_error(budgets)
    yield HeadersTooLarge("The request line and headers are too long")
    yield UnsupportedHttpFeature("The server does not know the method or the transfer coding")
    yield Overloaded("No connection is free, or no worker answers", remedy="Try again in a moment")
    yield ProcessingTimeout(f"No answer within {budgets.processing_s:g} seconds")
    yield UnsupportedHttpVersion("The server supports only HTTP/1.1")
