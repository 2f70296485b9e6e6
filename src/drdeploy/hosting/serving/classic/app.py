"""The FastAPI application of a classic worker.  It carries no logic: the gateway answers."""

from __future__ import annotations

import gc
import os
import time
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

from fastapi import FastAPI, Request, Response
from starlette.requests import ClientDisconnect

from drdeploy.errors import DrdeployError
from drdeploy.hosting.serving.capacity import plan_capacity
from drdeploy.hosting.serving.counters import Counters
from drdeploy.hosting.serving.exchange import ClientGone, Head
from drdeploy.hosting.serving.gateway import INVOCATIONS, Gateway
from drdeploy.hosting.serving.handlers import Handlers
from drdeploy.hosting.serving.load import load_service
from drdeploy.hosting.serving.log import Log
from drdeploy.hosting.serving.settings import read_settings
from drdeploy.hosting.serving.state import COUNTERS_NAME

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

CLIENT_CLOSED_REQUEST = 499
"""NGINX's own status for a client that is gone; nobody reads it."""
METHODS = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"]
"""The gateway refuses what a path does not have, in its own words."""


def create_app() -> FastAPI:
    """What Gunicorn's workers serve.  The model is loaded before the first request is taken."""
    app = FastAPI(
        title="drdeploy", openapi_url=None, docs_url=None, redoc_url=None, lifespan=_lifespan
    )
    app.add_api_route(INVOCATIONS, answer, methods=METHODS)
    app.add_api_route("/{path:path}", answer, methods=METHODS)
    return app


async def _body(request: Request) -> AsyncIterator[bytes]:
    try:
        async for chunk in request.stream():
            yield chunk
    except ClientDisconnect as err:
        raise ClientGone from err


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    settings = read_settings(os.environ)
    log = Log(settings.log_level)
    folder = Path(settings.state_dir)
    capacity = plan_capacity(settings)
    started = time.perf_counter()
    try:
        service = load_service(settings, capacity.threads, folder)
    except DrdeployError as err:
        log.failure("model refused", err, code=err.code)
        raise
    duration_s = round(time.perf_counter() - started, 3)
    told = {} if service.load_times is None else service.load_times.fields()
    log.event("model loaded", duration_s=duration_s, **told)
    counters = Counters(folder / COUNTERS_NAME)
    handlers = Handlers(
        service, settings, counters, settings.container_id, capacity.workers, capacity.concurrency
    )
    app.state.gateway = Gateway(handlers, log)
    counters.count_worker_start()
    gc.collect()
    gc.freeze()
    yield


async def answer(request: Request) -> Response:
    """Any request."""
    gateway = cast("Gateway", request.app.state.gateway)
    head = Head(
        method=request.method,
        path=request.url.path,
        headers=dict(request.headers),
        received_at=gateway.clock(),
    )
    try:
        answered = await gateway.answer(head, _body(request))
    except ClientGone:
        return Response(status_code=CLIENT_CLOSED_REQUEST)
    return Response(
        content=answered.body,
        status_code=answered.status,
        headers={"content-type": answered.content_type, **dict(answered.headers)},
    )
