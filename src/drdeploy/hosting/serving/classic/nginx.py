"""NGINX's configuration from the server's settings."""

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
REFUSED_BY_A_WORKER = 16
"""Invocations beyond all places that reach a worker, which counts what it refuses."""
SBIN = "/usr/sbin:/usr/local/sbin"
"""Where NGINX is when the user's PATH has no place for it."""


def find_nginx() -> str:
    """Path of the NGINX binary.

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


def _user_directive() -> str:
    """NGINX's workers stay who the container runs as: the socket is that user's alone.

    Only root may say so; NGINX warns anyone else who does.
    """
    if os.geteuid() != 0:
        return ""
    return f"user {pwd.getpwuid(0).pw_name} {grp.getgrgid(os.getegid()).gr_name};"


def _places(settings: Settings, capacity: Capacity) -> int:
    return capacity.workers * (capacity.concurrency + settings.queue_length)


def write_configuration(
    settings: Settings, folder: Path, socket_path: Path, capacity: Capacity
) -> Path:
    """Render the template into the state folder."""
    host = f"[{settings.bind_host}]" if ":" in settings.bind_host else settings.bind_host
    text = Template(TEMPLATE.read_text(encoding="utf-8")).substitute(
        user=_user_directive(),
        workers=capacity.workers,
        max_invocations=_places(settings, capacity) + REFUSED_BY_A_WORKER,
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
