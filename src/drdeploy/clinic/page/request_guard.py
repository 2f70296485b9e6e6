"""Refuse requests that name another host, come from another site, or come too often."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from drdeploy.errors import turn_import_error_into_missing_extra
from drdeploy.units import KIB

with turn_import_error_into_missing_extra("clinic", "The worklist page"):
    from starlette.datastructures import Headers, MutableHeaders
    from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
HEADERS = {
    "Content-Security-Policy": CONTENT_SECURITY_POLICY,
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    # "no-referrer" would hide the origin of our own forms too.
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
    # Neither a browser nor a proxy may cache patients' data.
    "Cache-Control": "no-store",
}
PATH_CHARACTERS_MAX = 200
"""The longest path of a request. Python refuses to read a number of more than 4300 digits, and the
log would get a traceback for each such request of a stranger.
"""
SMALL_BODY_BYTES_MAX = 64 * KIB
"""The largest body of a request that is not an upload, in bytes."""


class RequestGuard:
    """Checks the head of every request, and adds security headers to every answer.

    A web page of another site can send requests to this machine. If the site lets one of its own
    host names point to this machine (DNS rebinding), it can even read the answers. Therefore, the
    header ``Host`` of every request must be one of the names that this machine is known by.
    """

    def __init__(
        self, app: ASGIApp, *, hosts: Collection[str], is_tls: bool, upload_path: str
    ) -> None:
        self._app = app
        self._hosts = frozenset(host.lower() for host in hosts)
        self._headers = dict(HEADERS)
        self._upload_path = upload_path
        if is_tls:
            self._headers["Strict-Transport-Security"] = "max-age=31536000"

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_with_headers(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message).update(self._headers)
            await send(message)

        refusal = self._find_refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send_with_headers)
        else:
            status, sentence = refusal
            await PlainTextResponse(sentence, status)(scope, receive, send_with_headers)

    def _find_refusal(self, scope: Scope) -> tuple[int, str] | None:
        headers = Headers(scope=scope)
        if _remove_port_of_host(headers.get("host", "")) not in self._hosts:
            return (
                421,
                "The page does not know this host name. Start the page with this name as --name.",
            )
        if len(scope["path"]) > PATH_CHARACTERS_MAX:
            return 414, "The address is too long."
        if scope["method"] in {"GET", "HEAD"}:
            return None
        origin = headers.get("origin")
        is_ours = origin is None or _parse_host_of_origin(origin) == headers.get("host", "")
        if not is_ours or headers.get("sec-fetch-site", "same-origin") != "same-origin":
            return 403, "Another site sent this request."
        length = headers.get("content-length", "")
        # With a Transfer-Encoding, the body may be longer than the Content-Length says.
        if not (length.isascii() and length.isdigit()) or "transfer-encoding" in headers:
            return 411, "The request does not say how long it is."
        if scope["path"] != self._upload_path and int(length) > SMALL_BODY_BYTES_MAX:
            return 413, "The request is too large."
        return None


def _parse_host_of_origin(origin: str) -> str:
    """Return the host and the port in the header ``Origin``."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return ""


def _remove_port_of_host(host: str) -> str:
    """Return the header ``Host`` without its port."""
    try:
        return (urlsplit(f"//{host}").hostname or "").lower()
    except ValueError:
        return ""


class RateLimit:
    """Limits how often each person may do something within a minute."""

    def __init__(self, per_minute: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._per_minute = per_minute
        self._clock = clock
        self._times: dict[str, deque[float]] = {}

    def allows_request(self, who: str) -> bool:
        """Return whether a person may make another request now; an allowed request is counted."""
        now = self._clock()
        times = self._times.setdefault(who, deque())
        while times and now - times[0] > 60:
            times.popleft()
        if len(times) >= self._per_minute:
            return False
        times.append(now)
        return True
