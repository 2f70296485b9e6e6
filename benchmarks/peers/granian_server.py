"""Run drdeploy's request handling on Granian, an HTTP server written in Rust.

The comparison shows whether an HTTP server in Rust would make the lean profile faster.
"""

from __future__ import annotations

import os
import tempfile
from typing import TYPE_CHECKING

from asgi_gateway import make_application
from granian import Granian
from granian.constants import Interfaces

from grader import PORT, WORKERS

if TYPE_CHECKING:
    from asgi_gateway import Application


def application() -> Application:
    """Return the application of one worker process; Granian calls this in each of them."""
    return make_application(tempfile.mkdtemp(dir=os.environ["PEER_FOLDER"]), "granian")


if __name__ == "__main__":
    Granian(
        "granian_server:application", address="127.0.0.1", port=PORT, workers=WORKERS, factory=True,
        interface=Interfaces.ASGINL, log_enabled=False, websockets=False,
    ).serve()  # fmt: skip
