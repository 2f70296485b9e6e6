"""The configuration for ``gunicorn -c python:drdeploy.hosting.serving.classic.gunicorn_conf``.

Gunicorn reads its settings from this module's variables.  The supervisor passes the server's
settings in environment variables.
"""

from __future__ import annotations

import math
import os
import signal

from drdeploy.hosting.serving.processes import die_with_parent
from drdeploy.hosting.serving.settings import read_settings
from drdeploy.hosting.serving.worker_plan import choose_worker_and_thread_counts

_SETTINGS = read_settings(os.environ)

STARTUP_TIMEOUT_S = 300
"""Seconds after which Gunicorn kills a silent worker. A worker is silent while TensorFlow loads.
The limit is longer than the three minutes that SageMaker waits for a serverless container.
"""

wsgi_app = "drdeploy.hosting.serving.classic.app:create_classic_app()"
worker_class = "drdeploy.hosting.serving.classic.worker.ClassicWorker"
workers = choose_worker_and_thread_counts(_SETTINGS).workers
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
    """Make sure that a new worker ends when Gunicorn's main process ends.

    Gunicorn calls this function in each worker that it forks.
    """
    del arbiter
    die_with_parent(worker.ppid, signal.SIGKILL)  # type: ignore[attr-defined]  # no stubs
