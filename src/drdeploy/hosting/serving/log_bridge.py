"""Turn the :mod:`logging` records of libraries into the server's JSON lines."""

from __future__ import annotations

import logging

from drdeploy.hosting.serving.log import Level, ServerLog


class LogBridge(logging.Handler):
    """A logging handler that writes log records as events; Gunicorn's configuration uses it too."""

    def __init__(self, log: ServerLog | None = None) -> None:
        super().__init__()
        self._log = log or ServerLog()

    def emit(self, record: logging.LogRecord) -> None:
        """Write one log record as an event."""
        level: Level = "error" if record.levelno >= logging.ERROR else "warning"
        if record.exc_info and record.exc_info[1] is not None:
            self._log.write_failure("library", record.exc_info[1], logger=record.name)
        else:
            self._log.write_event_within_limit(
                "library", level, logger=record.name, message=record.getMessage()
            )


def forward_library_logging(log: ServerLog) -> None:
    """Send the warnings and errors of libraries to ``log``."""
    logging.basicConfig(level=logging.WARNING, handlers=[LogBridge(log)], force=True)
