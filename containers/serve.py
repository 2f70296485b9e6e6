"""Entry point of the images: SageMaker starts a container with ``docker run IMAGE serve``.

By default, the server listens only on the loopback interface. In a container, it must be reachable
from outside.
"""

# ruff: noqa: INP001  a script beside the Dockerfiles, no package
import gc
import os
import sys

# Imports make hardly any garbage, so collecting garbage during the imports would only cost time.
gc.disable()

if sys.argv[1:2] != ["serve"]:
    sys.exit("This image knows one command: serve")

from drdeploy.hosting.serving.supervisor import main  # noqa: E402

gc.freeze()
gc.enable()
host = os.environ.get("DRDEPLOY_BIND_HOST") or "0.0.0.0"
sys.exit(main(sys.argv[2:], {**os.environ, "DRDEPLOY_BIND_HOST": host}))
