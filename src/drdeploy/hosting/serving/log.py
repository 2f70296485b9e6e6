"""Events as JSON lines on standard error, one line per event, without patient data.

Our own events do not go through :mod:`logging`: each line is one :func:`os.write`, so that the
lines of several processes never mix, and nothing is imported for it.  ``log_bridge`` turns what
libraries log into the same lines.
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
    """Writes events of at least a given severity to a file descriptor."""

    def __init__(self, level: Level = "info", *, fd: int = _STDERR) -> None:
        self._threshold = _SEVERITY[level]
        self._fd = fd

    def event(self, name: str, level: Level = "info", /, **fields: object) -> None:
        """Write one event with its time, its process and the given fields."""
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

    def forward(self, line: bytes) -> None:
        """Write a line that is an event of another process already."""
        os.write(self._fd, line + b"\n")

    def failure(self, name: str, error: BaseException, /, **fields: object) -> None:
        """Write an error event with the exception's message and traceback."""
        import traceback

        text = "".join(traceback.format_exception(error))
        self.event(name, "error", message=str(error), traceback=text, **fields)
