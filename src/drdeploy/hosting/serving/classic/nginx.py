"""Writes NGINX's configuration from the server's settings."""

from __future__ import annotations

import grp
import math
import os
import pwd
import shutil
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from drdeploy.errors import ServerError

if TYPE_CHECKING:
    from drdeploy.hosting.serving.capacity import Capacity
    from drdeploy.hosting.serving.settings import Settings

TEMPLATE = Path(__file__).with_name("nginx.conf.template")
PROXY_GRACE_S = 5
"""By how much NGINX's timeout exceeds a worker's, so that the worker's own 504 comes first."""
REFUSED_BY_A_WORKER = 16
"""Invocations that NGINX lets through beyond what the workers take on: they are refused there,
where refusals are counted."""
SBIN = "/usr/sbin:/usr/local/sbin"
"""Where Debian installs NGINX; an ordinary user's PATH does not name it."""


def find_nginx() -> str:
    """Return the path of the NGINX binary.

    Raises:
        ServerError: It is not installed.
    """
    path = shutil.which("nginx") or shutil.which("nginx", path=SBIN)
    if path is None:
        raise ServerError(
            "NGINX is not installed",
            where="DRDEPLOY_PROFILE=classic",
            remedy="Install it, or use the lean profile",
        )
    return path


def write_configuration(
    settings: Settings, folder: Path, socket_path: Path, capacity: Capacity
) -> Path:
    """Render the template into the state folder and return the file's path."""
    host = f"[{settings.bind_host}]" if ":" in settings.bind_host else settings.bind_host
    # Gunicorn's socket is for the container's user alone.  NGINX's workers would become `nobody`
    # if root started them, and anyone else who sets `user` is warned that it has no effect.
    user = ""
    if os.geteuid() == 0:
        user = f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(os.getegid()).gr_name};"
    places = capacity.workers * (capacity.concurrency + settings.queue_length)
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        user=user,
        workers=capacity.workers,
        max_invocations=places + REFUSED_BY_A_WORKER,
        folder=folder,
        socket=socket_path,
        listen=f"{host}:{settings.port}",
        drain_s=max(1, math.ceil(settings.drain_s)),
        keep_alive_s=math.ceil(settings.keep_alive_s),
        read_timeout_s=math.ceil(settings.read_timeout_s),
        timeout_s=f"{settings.timeout_s:g}",
        proxy_timeout_s=math.ceil(settings.timeout_s) + PROXY_GRACE_S,
        half_header_kb=settings.max_header_kb // 2,
        max_payload_bytes=settings.max_payload_bytes,
    )
    path = folder / "nginx.conf"
    path.write_text(text, encoding="utf-8")
    return path
