"""The FastAPI application of a classic worker, which passes requests to the gateway."""

from __future__ import annotations

import gc
import os
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi import Request as ServerRequest
from fastapi import Response as ServerResponse
from starlette.requests import ClientDisconnect

from drdeploy.errors import RequestRefused
from drdeploy.hosting.serving.exchange import METHODS, ClientGone, Request, Response
from drdeploy.hosting.serving.gateway import INVOCATIONS, Gateway
from drdeploy.hosting.serving.header_fields import combine_header_fields
from drdeploy.hosting.serving.log import ServerLog
from drdeploy.hosting.serving.model_loading import load_model_and_make_handlers
from drdeploy.hosting.serving.settings import read_settings
from drdeploy.hosting.serving.worker_plan import choose_worker_and_thread_counts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CLIENT_CLOSED_REQUEST = 499
"""NGINX's status code for a request whose client has closed the connection.

No client receives this status.
"""


def create_classic_app() -> FastAPI:
    """Return the FastAPI application, which loads the model before the worker takes a request."""
    app = FastAPI(
        title="drdeploy",
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=_load_model_for_app,
    )
    app.add_api_route(INVOCATIONS, answer_any_request, methods=[*METHODS])
    app.add_api_route("/{path:path}", answer_any_request, methods=[*METHODS])
    return app


@asynccontextmanager
async def _load_model_for_app(_: FastAPI) -> AsyncIterator[dict[str, Gateway]]:
    settings = read_settings(os.environ)
    log = ServerLog(settings.log_level)
    handlers = load_model_and_make_handlers(
        settings, choose_worker_and_thread_counts(settings), log
    )
    gateway = Gateway(handlers, log)
    handlers.counters.count_worker_start()
    # What is loaded now stays loaded, so later garbage collections may skip it.
    gc.collect()
    gc.freeze()
    yield {"gateway": gateway}  # for the state of each request, and of Uvicorn's protocol
    log.write_due_summary(is_last=True)


async def answer_any_request(received: ServerRequest) -> ServerResponse:
    """Answer a request to any path."""
    gateway: Gateway = received.state.gateway
    try:
        response = await _answer_through_gateway(gateway, received)
    except RequestRefused as err:
        response = gateway.count_and_refuse_request(err)
    except ClientGone:
        return ServerResponse(status_code=CLIENT_CLOSED_REQUEST)
    return ServerResponse(
        content=response.body,
        status_code=response.status,
        headers={"content-type": response.content_type, **dict(response.headers)},
    )


async def _answer_through_gateway(gateway: Gateway, received: ServerRequest) -> Response:
    fields = combine_header_fields(received.headers.raw, at_most=gateway.budgets.header_fields)
    request = Request(
        method=received.method,
        # `received.url` is not used, because it contains the Host header, which may be anything.
        path=received.scope["path"],
        headers=fields,
        received_at=gateway.clock(),
    )
    return await gateway.answer_request(request, _read_body_chunks(received))


async def _read_body_chunks(received: ServerRequest) -> AsyncIterator[bytes]:
    try:
        async for chunk in received.stream():
            yield chunk
    except ClientDisconnect as err:
        raise ClientGone from err
