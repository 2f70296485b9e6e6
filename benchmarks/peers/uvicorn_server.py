"""Our own gateway on Uvicorn: what the lean profile's HTTP is worth."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import uvicorn

from drdeploy.hosting.serving.asgi import Application
from drdeploy.hosting.serving.capacity import plan_capacity
from drdeploy.hosting.serving.counters import Counters
from drdeploy.hosting.serving.gateway import Gateway
from drdeploy.hosting.serving.handlers import Handlers
from drdeploy.hosting.serving.load import load_service
from drdeploy.hosting.serving.log import Log
from drdeploy.hosting.serving.settings import read_settings
from grader import PORT

if __name__ == "__main__":
    settings = read_settings(os.environ)
    with tempfile.TemporaryDirectory() as folder:
        capacity = plan_capacity(settings)
        service = load_service(settings, capacity.threads, Path(folder))
        counters = Counters(Path(folder) / "counters")
        handlers = Handlers(
            service, settings, counters, "uvicorn", capacity.workers, capacity.concurrency
        )
        uvicorn.run(
            Application(Gateway(handlers, Log("error"))), host="127.0.0.1", port=PORT,
            http="httptools", ws="none", lifespan="off", log_config=None, access_log=False,
        )  # fmt: skip
