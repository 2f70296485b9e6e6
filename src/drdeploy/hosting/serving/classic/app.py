"""The FastAPI application of a classic worker.  It only hands requests to the gateway."""

from __future__ import annotations

import gc
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, cast

from fastapi import FastAPI
from fastapi import Request as ServerRequest
from fastapi import Response as ServerResponse
from starlette.requests import ClientDisconnect

from drdeploy.hosting.serving.capacity import plan_capacity
from drdeploy.hosting.serving.exchange import ClientGone, Request
from drdeploy.hosting.serving.gateway import INVOCATIONS, Gateway
from drdeploy.hosting.serving.load import load_handlers
from drdeploy.hosting.serving.log import Log
from drdeploy.hosting.serving.settings import read_settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CLIENT_CLOSED_REQUEST = 499
"""NGINX's own status for a client that is gone; nobody reads it."""
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
"""All of them, so that the gateway refuses a method and both profiles say the same."""


def create_app() -> FastAPI:
    """Return the application; it loads the model before its worker takes a request."""
    app = FastAPI(
        title="drdeploy", openapi_url=None, docs_url=None, redoc_url=None, lifespan=_lifespan
    )
    app.add_api_route(INVOCATIONS, answer, methods=METHODS)
    app.add_api_route("/{path:path}", answer, methods=METHODS)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings = read_settings(os.environ)
    log = Log(settings.log_level)
    handlers = load_handlers(settings, plan_capacity(settings), log)
    app.state.gateway = Gateway(handlers, log)
    handlers.counters.count_worker_start()
    # What is loaded stays: later collections need not look at it.
    gc.collect()
    gc.freeze()
    yield


async def answer(received: ServerRequest) -> ServerResponse:
    """Answer any request."""
    gateway = cast("Gateway", received.app.state.gateway)
    request = Request(
        method=received.method,
        path=received.url.path,
        headers=dict(received.headers),
        received_at=gateway.clock(),
    )
    try:
        response = await gateway.answer(request, _body(received))
    except ClientGone:
        return ServerResponse(status_code=CLIENT_CLOSED_REQUEST)
    return ServerResponse(
        content=response.body,
        status_code=response.status,
        headers={"content-type": response.content_type, **dict(response.headers)},
    )


async def _body(received: ServerRequest) -> AsyncIterator[bytes]:
    try:
        async for chunk in received.stream():
            yield chunk
    except ClientDisconnect as err:
        raise ClientGone from err
