"""The container engine of a command, named on standard error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.cli.console import err, print_line

if TYPE_CHECKING:
    from drdeploy.hosting.engine import Engine


def find_and_name_engine() -> Engine:
    """Return the container engine that Docker's command line would use, and print which one it is.

    Raises:
        EngineMisconfigured: The user names an engine in a way that cannot be used.
        EngineUnavailable: No engine answers.
        MissingExtra: The extra ``cloud`` is not installed.
    """
    from drdeploy.hosting.engine import Engine

    engine = Engine.find_or_raise()
    print_line(f"container engine: {engine.description}", to=err)
    return engine
