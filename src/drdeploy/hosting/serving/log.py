"""Events as JSON lines on standard error, one line per event, without patient data.

``logging`` is not used for our own events: one line is one :func:`os.write`, which is atomic
between the processes of a container.  :func:`bridge_logging` brings in what libraries log.
"""

from __future__ import annotations

import os
from datetime import UTC, datetime
from typing import Literal

import msgspec

Level = Literal["info", "warning", "error"]

_SEVERITY: dict[str, int] = {"info": 20, "warning": 30, "error": 40}
_STDERR = 2


class Log:
    """Writes events of at least one severity."""

    def __init__(self, level: Level = "info", *, fd: int = _STDERR) -> None:
        self._threshold = _SEVERITY[level]
        self._fd = fd

    def event(self, name: str, level: Level = "info", /, **fields: object) -> None:
        """Write one event."""
        if _SEVERITY[level] < self._threshold:
            return
        line = {
            "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "level": level,
            "event": name,
            "pid": os.getpid(),
            **fields,
        }
        os.write(self._fd, msgspec.json.encode(line, enc_hook=str) + b"\n")

    def pass_on(self, line: bytes) -> None:
        """Write a line that another process has made an event of."""
        os.write(self._fd, line + b"\n")

    def failure(self, name: str, error: BaseException, /, **fields: object) -> None:
        """Write an error with its traceback."""
        import traceback

        text = "".join(traceback.format_exception(error))
        self.event(name, "error", message=str(error), traceback=text, **fields)


def bridge_logging(log: Log) -> None:
    """Send what libraries say through :mod:`logging`, from warnings up, to the same lines."""
    import logging

    from drdeploy.hosting.serving.log_bridge import LogBridge

    logging.basicConfig(level=logging.WARNING, handlers=[LogBridge(log)], force=True)
