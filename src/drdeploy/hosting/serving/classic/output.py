"""Forward the output of NGINX, Gunicorn and TensorFlow's C++ code to the log as JSON lines."""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.units import KIB

if TYPE_CHECKING:
    from drdeploy.hosting.serving.log import ServerLog

CHUNK_BYTES = 64 * KIB
MAX_LINE_BYTES = 256 * KIB
"""The largest number of bytes of one line; a longer line is split. The longest event that a worker
of the server writes has a few kilobytes.
"""


@dataclass
class ChildOutput:
    """The standard output and standard error of a child process, read through one pipe.

    Attributes:
        fd: The reading end of the pipe.
        child: The name of the program, for the log.
    """

    fd: int
    child: str
    _partial_line: bytes = b""

    def forward_output_to_log(self, log: ServerLog) -> bool:
        """Log the lines that can be read now; call this method when the pipe is readable.

        Returns:
            Whether the child process may still write more.
        """
        chunk = os.read(self.fd, CHUNK_BYTES)
        *lines, self._partial_line = (self._partial_line + chunk).split(b"\n")
        if not chunk or len(self._partial_line) > MAX_LINE_BYTES:
            lines.append(self._partial_line)
            self._partial_line = b""
        for line in filter(None, lines):
            if line.startswith(b'{"time":'):  # an event of a worker, which is JSON already
                log.forward_line(line)
            else:
                # NGINX writes a line for many bad requests, and quotes the request.
                log.write_event_within_limit(
                    "output",
                    "warning",
                    kind=f"output of {self.child}",
                    child=self.child,
                    message=line.decode(errors="replace"),
                )
        return bool(chunk)

    def forward_rest_to_log(self, log: ServerLog) -> None:
        """Log everything that can be read now, without waiting for more."""
        os.set_blocking(self.fd, False)
        # Without an end of the output, a process that the child has started still holds the pipe.
        with suppress(BlockingIOError):
            while self.forward_output_to_log(log):
                pass
