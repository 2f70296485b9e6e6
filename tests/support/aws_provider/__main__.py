"""Run a command, for example terraform itself, with the provider attached.

``python -m aws_provider http://127.0.0.1:8765 terraform apply``
"""

from __future__ import annotations

import os
import subprocess
import sys

from aws_provider.provider import provider_of
from drdeploy.errors import DrdeployError

USAGE = "usage: python -m aws_provider ENDPOINT_URL COMMAND [ARGUMENT ...]\n"
USAGE_STATUS = 2


def main(arguments: list[str]) -> int:
    """The command's own exit status; 2 where the arguments are none."""
    if len(arguments) <= 1:
        sys.stderr.write(USAGE)
        return USAGE_STATUS
    endpoint_url, *command = arguments
    try:
        with provider_of(endpoint_url=endpoint_url) as attached:
            return subprocess.run(command, env=os.environ | attached, check=False).returncode
    except (DrdeployError, FileNotFoundError) as err:
        sys.stderr.write(f"{err}\n")
        return USAGE_STATUS


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
