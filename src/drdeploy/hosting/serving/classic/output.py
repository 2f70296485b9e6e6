"""What NGINX, Gunicorn and the C++ below TensorFlow write, as JSON lines among our own."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.units import KIB

if TYPE_CHECKING:
    from drdeploy.hosting.serving.log import Log

CHUNK_BYTES = 64 * KIB
MAX_LINE_BYTES = 256 * KIB


@dataclass
class ChildOutput:
    """The standard output and error of a child process, read through one pipe.

    Attributes:
        fd: The reading end of the pipe.
        child: Name of the program, for the log.
    """

    fd: int
    child: str
    _partial_line: bytes = b""

    def forward(self, log: Log) -> bool:
        """Log the lines that can be read now; call it when the pipe is readable.

        Returns:
            Whether more may come.
        """
        chunk = os.read(self.fd, CHUNK_BYTES)
        *lines, self._partial_line = (self._partial_line + chunk).split(b"\n")
        if not chunk or len(self._partial_line) > MAX_LINE_BYTES:
            lines.append(self._partial_line)
            self._partial_line = b""
        for line in filter(None, lines):
            if line.startswith(b'{"time":'):  # a worker's own event
                log.forward(line)
            else:
                log.event("output", child=self.child, message=line.decode(errors="replace"))
        return bool(chunk)
