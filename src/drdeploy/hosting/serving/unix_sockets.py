"""Unix sockets that only their owner may connect to."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from pathlib import Path

MAX_SOCKET_PATH_BYTES = 107
"""Bytes of the longest path of a Unix socket in Linux: ``sun_path`` without its final zero."""


def bind_unix_socket(path: Path, backlog: int, *, where: str) -> socket.socket:
    """Return a Unix socket that listens at a path; an existing file at the path is removed.

    Raises:
        InvalidInput: The path is too long, or no socket can be made at the path. The error names
            ``where``, the setting that holds the path.
    """
    if len(os.fsencode(path)) > MAX_SOCKET_PATH_BYTES:
        raise InvalidInput(
            f"The path of the socket is longer than {MAX_SOCKET_PATH_BYTES} bytes",
            where=where,
            remedy="Give a folder with a shorter path",
        )
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        path.unlink(missing_ok=True)
        # The mode is set before listen(), and until then nobody can connect.
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(backlog)
    except OSError as err:
        listener.close()
        raise InvalidInput(
            f"The server cannot listen at this path ({err.strerror})",
            where=where,
            remedy="Choose a path in a writable folder",
        ) from err
    return listener
