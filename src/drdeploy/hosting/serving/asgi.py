"""The gateway as a plain ASGI application: no framework, nothing to import.

The lean profile's own server calls it; so can any other ASGI server, which is how
``benchmarks/servers.py`` compares them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drdeploy.hosting.serving.exchange import ClientGone, Head

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from drdeploy.hosting.serving.exchange import Response
    from drdeploy.hosting.serving.gateway import Gateway

    Event = dict[str, Any]
    Receive = Callable[[], Awaitable[Event]]
    Send = Callable[[Event], Awaitable[None]]


class Application:
    """ASGI 3, HTTP only."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def __call__(self, scope: Event, receive: Receive, send: Send) -> None:
        """Answer one request."""
        head = Head(
            method=scope["method"],
            path=scope["path"],
            headers={
                name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]
            },
            received_at=self._gateway.clock(),
        )
        try:
            response = await self._gateway.answer(head, _body(receive))
        except ClientGone:
            return
        await send({
            "type": "http.response.start",
            "status": response.status,
            "headers": _headers(response),
        })  # fmt: skip
        await send({"type": "http.response.body", "body": response.body})


async def _body(receive: Receive) -> AsyncIterator[bytes]:
    while True:
        event = await receive()
        if event["type"] == "http.disconnect":
            raise ClientGone
        if event.get("body"):
            yield event["body"]
        if not event.get("more_body"):
            return


def _headers(response: Response) -> list[tuple[bytes, bytes]]:
    return [
        (b"content-type", response.content_type.encode("latin-1")),
        (b"content-length", str(len(response.body)).encode("latin-1")),
        *(
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in response.headers
        ),
    ]
