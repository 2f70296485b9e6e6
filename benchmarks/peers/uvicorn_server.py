"""Run drdeploy's request handling on Uvicorn instead of on the lean profile's own HTTP server.

The comparison shows how much faster the lean profile's HTTP server is.
"""

from __future__ import annotations

import tempfile

import uvicorn
from asgi_gateway import make_application

from grader import PORT

if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        uvicorn.run(
            make_application(folder, "uvicorn"), host="127.0.0.1", port=PORT,
            http="httptools", ws="none", lifespan="off", log_config=None, access_log=False,
        )  # fmt: skip
