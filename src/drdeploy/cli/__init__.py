"""The command line: ``drdeploy`` + noun + verb, one thin file per noun.

``drdeploy serve`` is answered before anything else is imported, because a container that
starts cold pays for every import.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def main() -> None:
    """Run the ``drdeploy`` command."""
    words = sys.argv[1:]
    if words[:1] == ["serve"] and "--help" not in words:
        raise SystemExit(_serve(words))

    from drdeploy.cli.app import build_app
    from drdeploy.cli.console import friendly_errors
    from drdeploy.cli.extras import check_command

    with friendly_errors():
        check_command(words)
        build_app()()


def _serve(words: Sequence[str]) -> int:
    from drdeploy.cli.extras import check_command
    from drdeploy.errors import DrdeployError

    try:
        check_command(words)
    except DrdeployError as error:
        sys.stderr.write(f"error ({error.code}): {error}\n")
        return error.exit_status

    from drdeploy.hosting.serving.supervisor import main as serve

    return serve(words[1:])
