"""Find the container engine that a command should use, and print which engine it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.cli.console import err, print_line

if TYPE_CHECKING:
    from drdeploy.hosting.container_engine import ContainerEngine


def find_container_engine_and_print_name() -> ContainerEngine:
    """Return the container engine that Docker's command line would use, and print which one it is.

    Raises:
        EngineMisconfigured: The user's settings name an engine, but the settings are not valid.
        EngineUnavailable: No engine answers.
        MissingExtra: The extra ``cloud`` is not installed.
    """
    from drdeploy.hosting.container_engine import ContainerEngine

    engine = ContainerEngine.find_or_raise()
    print_line(f"container engine: {engine.version_and_address}", to=err)
    return engine
