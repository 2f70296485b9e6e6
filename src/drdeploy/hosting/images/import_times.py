"""Measure how long a server's imports take at its start, with ``python -X importtime``."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import EngineError
from drdeploy.hosting.container_engine import NO_NETWORK, ContainerSpec, Mount
from drdeploy.hosting.serving.settings import MODEL_DIR
from drdeploy.units import MICROSECONDS_PER_S

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from drdeploy.hosting.container_engine import ContainerEngine

LINE = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")
READY = '"event":"model loaded"'
PATIENCE_S = 120.0
POLL_S = 0.05


@dataclass(frozen=True)
class ImportTime:
    """How long importing a package took, not counting other packages that it imports.

    Attributes:
        package: The name of the top-level package, for example ``numpy``.
        modules: How many modules of the package were imported.
        self_s: Seconds that the import took. The measurement itself adds a little.
    """

    package: str
    modules: int
    self_s: float


def measure_import_times(
    engine: ContainerEngine, image: str, model_dir: Path, *, memory_mb: int, cpus: float
) -> tuple[ImportTime, ...]:
    """Start the server once, and return the import time of each package, the slowest first.

    Raises:
        EngineError: The image's entry point is not Python, or its server does not load the model.
    """
    interpreter, *rest = engine.image_config(image)["Config"]["Entrypoint"]
    if "python" not in interpreter:
        raise EngineError(
            "The entry point of the image is not a Python interpreter",
            where=image,
            remedy="Give one of drdeploy's images",
        )
    container = engine.start_container(
        ContainerSpec(
            image,
            entrypoint=(interpreter, "-X", "importtime", *rest),
            env={"PYTHONPROFILEIMPORTTIME": "1"},  # for the processes that it starts
            mounts=(Mount(model_dir, MODEL_DIR),),
            memory_mb=memory_mb,
            cpus=cpus,
            network=NO_NETWORK,
        )
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while READY not in (log := container.read_logs()):
            if time.monotonic() > deadline or not container.exit_state().is_running:
                raise EngineError(
                    "The server in the image does not load its model",
                    where=image,
                    remedy=f"Read the end of the container's log: {log[-1000:]}",
                )
            time.sleep(POLL_S)
        return sum_import_times_by_package(log.splitlines())
    finally:
        container.remove()


def sum_import_times_by_package(lines: Iterable[str]) -> tuple[ImportTime, ...]:
    """Add up the times from ``-X importtime`` for each top-level package, the slowest first."""
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
