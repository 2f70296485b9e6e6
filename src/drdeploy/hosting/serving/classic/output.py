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
class Output:
    """A child's standard output and error, through one pipe."""

    fd: int
    child: str
    _rest: bytes = b""

    def forward(self, log: Log) -> bool:
        """Pass on what can be read; call when the pipe is readable.

        Returns:
            Whether more may come.
        """
        chunk = os.read(self.fd, CHUNK_BYTES)
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        if not chunk or len(self._rest) > MAX_LINE_BYTES:
            lines.append(self._rest)
            self._rest = b""
        for line in filter(None, lines):
            self._forward(line, log)
        return bool(chunk)

    def _forward(self, line: bytes, log: Log) -> None:
        if line.startswith(b'{"time":'):
            log.forward(line)
        else:
            log.event("output", child=self.child, message=line.decode(errors="replace"))
