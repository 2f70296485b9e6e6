"""``python -m drdeploy.serving``: the same as ``drdeploy serve``."""

from __future__ import annotations

import sys

from drdeploy.serving.supervisor import main

sys.exit(main(sys.argv[1:]))
