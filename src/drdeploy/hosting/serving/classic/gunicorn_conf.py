"""Gunicorn's configuration: ``gunicorn -c python:drdeploy.hosting.serving.classic.gunicorn_conf``.

Gunicorn reads its settings from this module's variables.  The server's own settings come in the
environment, where the supervisor puts them.
"""

from __future__ import annotations

import math
import os
import signal

from drdeploy.hosting.serving.capacity import plan_capacity
from drdeploy.hosting.serving.processes import die_with_parent
from drdeploy.hosting.serving.settings import read_settings

_SETTINGS = read_settings(os.environ)

STARTUP_TIMEOUT_S = 300
"""Gunicorn kills a worker that is silent for so long, as it is while TensorFlow loads.  SageMaker
waits three minutes for a serverless container."""

wsgi_app = "drdeploy.hosting.serving.classic.app:create_app()"
worker_class = "uvicorn_worker.UvicornWorker"
workers = plan_capacity(_SETTINGS).workers
worker_tmp_dir = _SETTINGS.state_dir
timeout = STARTUP_TIMEOUT_S
graceful_timeout = math.ceil(_SETTINGS.drain_s)
keepalive = math.ceil(_SETTINGS.keep_alive_s)
control_socket_disable = True
loglevel = "warning"
logconfig_dict = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"lines": {"class": "drdeploy.hosting.serving.log_bridge.LogBridge"}},
    "root": {"level": "WARNING", "handlers": ["lines"]},
    "loggers": {
        "gunicorn.error": {"level": "WARNING", "handlers": ["lines"], "propagate": False},
        "gunicorn.access": {"level": "WARNING", "handlers": ["lines"], "propagate": False},
    },
}


def post_fork(arbiter: object, worker: object) -> None:
    """End a new worker with Gunicorn's main process; called by Gunicorn in the worker."""
    del arbiter
    die_with_parent(worker.ppid, signal.SIGKILL)  # type: ignore[attr-defined]  # no stubs
