"""The Uvicorn worker that Gunicorn starts; it answers invalid HTTP as the lean profile does."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, ClassVar

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn_worker import UvicornWorker

from drdeploy.errors import MalformedRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.hosting.serving.gateway import Gateway


class ClassicProtocol(HttpToolsProtocol):
    """Uvicorn's HTTP protocol, changed to answer invalid HTTP just as the lean profile does."""

    def send_400_response(self, msg: str) -> None:
        """Answer an invalid request with status 400 and a JSON body, and close the connection.

        Uvicorn would send plain text.
        """
        del msg
        gateway: Gateway = self.app_state["gateway"]
        response = gateway.count_and_refuse_request(
            MalformedRequest("The request is not valid HTTP/1.1")
        )
        head = (
            "HTTP/1.1 400 Bad Request\r\n"
            f"content-type: {response.content_type}\r\n"
            f"content-length: {len(response.body)}\r\n"
            "connection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + response.body)
        self.transport.close()


class ClassicWorker(UvicornWorker):  # type: ignore[misc]  # no stubs
    """Runs the application with :class:`ClassicProtocol`, and without WebSockets."""

    CONFIG_KWARGS: ClassVar[Mapping[str, Any]] = {
        "loop": "auto",
        "http": ClassicProtocol,
        "ws": "none",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # Uvicorn warns about each bad request, but the gateway counts bad requests already.
        logging.getLogger("uvicorn.error").setLevel(logging.ERROR)
