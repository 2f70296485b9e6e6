"""Start the model server with ``python -m drdeploy.hosting.serving``, like ``drdeploy serve``."""

from __future__ import annotations

import sys

from drdeploy.hosting.serving.supervisor import main

sys.exit(main(sys.argv[1:]))
