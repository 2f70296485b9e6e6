"""The command line: ``drdeploy`` + noun + verb, one thin file per noun.

``drdeploy serve`` is answered before anything else is imported, because a container that
starts cold pays for every import.
"""

from __future__ import annotations

import sys


def main() -> None:
    """Entry point of the ``drdeploy`` command."""
    if sys.argv[1:2] == ["serve"] and "--help" not in sys.argv[2:]:
        from drdeploy.hosting.serving.supervisor import main as serve

        raise SystemExit(serve(sys.argv[2:]))

    from drdeploy.cli.app import build_app
    from drdeploy.cli.console import friendly_errors

    with friendly_errors():
        build_app()()
