"""Turns what libraries log through :mod:`logging` into the server's own JSON lines."""

from __future__ import annotations

import logging

from drdeploy.hosting.serving.log import Level, Log


class LogBridge(logging.Handler):
    """A logging handler that writes events; Gunicorn's configuration names it too."""

    def __init__(self, log: Log | None = None) -> None:
        super().__init__()
        self._log = log or Log()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one log record as an event."""
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        if record.exc_info and record.exc_info[1] is not None:
            self._log.failure("library", record.exc_info[1], logger=record.name)
        else:
            self._log.event("library", level, logger=record.name, message=record.getMessage())


def bridge_logging(log: Log) -> None:
    """Send warnings and errors that libraries log to ``log``."""
    logging.basicConfig(level=logging.WARNING, handlers=[LogBridge(log)], force=True)
