"""Entry point of the images: ``docker run IMAGE serve``, as SageMaker starts them.

By default the server listens on the loopback only; in a container it must be reachable from
outside.
"""

# ruff: noqa: INP001  a script beside the Dockerfiles, no package
import gc
import os
import sys

# Hardly anything that imports make is garbage, so that looking for it is work for nothing.
gc.disable()

if sys.argv[1:2] != ["serve"]:
    sys.exit("This image knows one command: serve")

from drdeploy.hosting.serving.supervisor import main  # noqa: E402

gc.freeze()
gc.enable()
host = os.environ.get("DRDEPLOY_BIND_HOST") or "0.0.0.0"
sys.exit(main(sys.argv[2:], {**os.environ, "DRDEPLOY_BIND_HOST": host}))
