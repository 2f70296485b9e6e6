"""Entry point of the images: ``docker run IMAGE serve``, as SageMaker starts them."""

# ruff: noqa: INP001  a script beside the Dockerfiles, no package
import sys

if sys.argv[1:2] != ["serve"]:
    sys.exit("This image knows one command: serve")

from drdeploy.serving.supervisor import main

sys.exit(main(sys.argv[2:]))
