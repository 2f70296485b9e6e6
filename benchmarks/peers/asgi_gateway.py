"""drdeploy's request handling as an ASGI application, for other projects' HTTP servers.

With it, another server can be compared with the lean profile's own HTTP server: both do the same
work for a request, apart from HTTP.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import msgspec

from drdeploy.hosting.serving.exchange import ClientGone, Request
from drdeploy.hosting.serving.gateway import Gateway
from drdeploy.hosting.serving.log import ServerLog
from drdeploy.hosting.serving.model_loading import load_model_and_make_handlers
from drdeploy.hosting.serving.settings import read_settings
from drdeploy.hosting.serving.worker_plan import choose_worker_and_thread_counts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    Event = dict[str, Any]


class Application:
    """drdeploy's request handling (the gateway) as an ASGI 3 application."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(
        self,
        scope: Event,
        receive: Callable[[], Awaitable[Event]],
        send: Callable[[Event], Awaitable[None]],
    ) -> None:
        """Answer one request."""
        headers = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
        }
        request = Request(scope["method"], scope["path"], headers, self._gateway.clock())
        try:
            response = await self._gateway.answer_request(request, body_of(receive))
        except ClientGone:
            return
        fields = [
            ("content-type", response.content_type),
            ("content-length", str(len(response.body))),
            *((name.lower(), value) for name, value in response.headers),
        ]
        encoded = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in fields]
        await send({
            "type": "http.response.start", "status": response.status, "headers": encoded,
        })  # fmt: skip
        await send({"type": "http.response.body", "body": response.body})


async def body_of(receive: Callable[[], Awaitable[Event]]) -> AsyncIterator[bytes]:
    """Yield a request's body as it arrives."""
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientGone
        if event.get("body"):
            yield event["body"]
        if not event.get("more_body"):
            return


def make_application(folder: str, name: str) -> Application:
    """Load the model, and return the application.

    Args:
        folder: An empty folder for the state of the server.
        name: The name of the container in answers.
    """
    settings = msgspec.structs.replace(
        read_settings(os.environ), state_dir=folder, container_id=name
    )
    log = ServerLog("error")
    plan = choose_worker_and_thread_counts(settings)
    return Application(Gateway(load_model_and_make_handlers(settings, plan, log), log))
