"""Measures which imports a server's start spends its time on, with ``python -X importtime``."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from drdeploy.errors import EngineError
from drdeploy.hosting.images.server_spec import server_spec
from drdeploy.units import MICROSECONDS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from drdeploy.hosting.engine import Engine

LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
READY = '"event":"model loaded"'
PATIENCE_S = 120.0
POLL_S = 0.05


@dataclass(frozen=True)
class ImportTime:
    """How long the imports of a package took, without those of other packages within them.

    Attributes:
        package: Its top name, for example ``numpy``.
        modules: How many of its modules were imported.
        self_s: Seconds; the measurement itself adds a little to them.
    """

    package: str
    modules: int
    self_s: float


def measure_imports(
    engine: Engine, image: str, model_dir: Path, *, memory_mb: int, cpus: float
) -> tuple[ImportTime, ...]:
    """Start the image once and measure its imports; the most expensive package comes first.

    Raises:
        EngineError: The image's entry point is not Python, or it does not load its model.
    """
    interpreter, *rest = engine.image_config(image)["Config"]["Entrypoint"]
    if "python" not in interpreter:
        raise EngineError("The entry point is not a Python interpreter", where=image)
    spec = server_spec(engine, image, model_dir, memory_mb=memory_mb, cpus=cpus)
    container = engine.run(
        replace(
            spec,
            entrypoint=(interpreter, "-X", "importtime", *rest),
            env={**spec.env, "PYTHONPROFILEIMPORTTIME": "1"},  # of the processes that it starts
        )
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while READY not in (log := container.logs()):
            if time.monotonic() > deadline or not container.exit_state().is_running:
                raise EngineError(
                    "The server does not load its model", where=image, remedy=log[-1000:]
                )
            time.sleep(POLL_S)
        return read_import_times(log.splitlines())
    finally:
        container.remove()


def read_import_times(lines: Iterable[str]) -> tuple[ImportTime, ...]:
    """Sum the lines of ``-X importtime`` by top package, the most expensive first."""
    modules: dict[str, int] = defaultdict(int)
    microseconds: dict[str, int] = defaultdict(int)
    for line in lines:
        if found := LINE.match(line):
            package = found[2].partition(".")[0]
            modules[package] += 1
            microseconds[package] += int(found[1])
    costliest = sorted(microseconds, key=lambda name: -microseconds[name])
    return tuple(
        ImportTime(name, modules[name], microseconds[name] / MICROSECONDS_PER_S)
        for name in costliest
    )
