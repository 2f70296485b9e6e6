"""Open sockets inside a container's network namespace from outside the container.

A container without a network still has a loopback interface of its own, on which its server
listens. A socket always belongs to the network namespace in which it was made. A process that wants
to reach the server must therefore enter the container's namespace, and make a socket there.

A server that is reached in this way needs no bridge and no access to the host's network. Its
container also starts faster: on Podman 4.3, a start took 211 ms without a network, 234 ms on the
host's network, and 392 ms on a bridge (medians of five starts).

On Linux, only root may enter a namespace (setns(2): CAP_SYS_ADMIN). Entering affects only the
calling thread; the other threads of the process stay where they are.
"""

from __future__ import annotations

import ctypes
import os
import socket
import threading
from functools import cache

CLONE_NEWNET = 0x40000000
OWN_NAMESPACE = "/proc/thread-self/ns/net"


@cache
def may_enter_namespaces() -> bool:
    """Test whether this process may enter network namespaces, by entering its own."""
    try:
        handle = os.open(OWN_NAMESPACE, os.O_RDONLY)
    except OSError:
        return False
    try:
        _enter_namespace(handle)
    except OSError:
        return False
    else:
        return True
    finally:
        os.close(handle)


class NetworkNamespace:
    """The network namespace of a container's first process; safe to use from several threads.

    Args:
        pid: The id of the container's first process on this machine.
        container_id: The id that the engine gave the container. The names of the container's
            control groups contain this id. It is used to check that the process belongs to the
            container.

    Raises:
        ConnectionRefusedError: No process has the id ``pid``, or the process does not belong to the
            container. For example, the container has ended and the kernel gave its ``pid`` to
            another process, or the engine runs on another machine.
    """

    def __init__(self, pid: int, container_id: str) -> None:
        self._lock = threading.Lock()
        try:
            # Both files are opened through this handle. Meanwhile, the process may end, and its id
            # may be reused.
            folder = os.open(f"/proc/{pid}", os.O_RDONLY | os.O_DIRECTORY)
            try:
                if container_id not in _read_file_of_process(folder, "cgroup"):
                    raise ConnectionRefusedError(f"process {pid} does not belong to this container")
                self._handle: int | None = os.open("ns/net", os.O_RDONLY, dir_fd=folder)
            finally:
                os.close(folder)
        except (FileNotFoundError, ProcessLookupError) as err:
            raise ConnectionRefusedError(f"there is no process {pid}") from err

    def connect(self, address: tuple[str, int], timeout_s: float) -> socket.socket:
        """Return a TCP connection to an address inside the namespace.

        Raises:
            ConnectionRefusedError: No server listens on the address, or the namespace was closed.
            TimeoutError: The server did not accept the connection in time.
        """
        connection = self._open_socket_in_namespace()
        try:
            connection.settimeout(timeout_s)
            connection.connect(address)
        except BaseException:
            connection.close()
            raise
        return connection

    def close(self) -> None:
        """Refuse new connections from now on; existing connections stay open."""
        with self._lock:
            if self._handle is not None:
                os.close(self._handle)
                self._handle = None

    def _open_socket_in_namespace(self) -> socket.socket:
        # The lock is held, so that the handle is not closed and reused for another container
        # meanwhile.
        with self._lock:
            if self._handle is None:
                raise ConnectionRefusedError("the container is gone")
            own = os.open(OWN_NAMESPACE, os.O_RDONLY)
            try:
                _enter_namespace(self._handle)
                try:
                    return socket.socket(socket.AF_INET, socket.SOCK_STREAM)
                finally:
                    _enter_namespace(own)
            finally:
                os.close(own)


def _enter_namespace(handle: int) -> None:
    """Move the calling thread, and no other, into a network namespace."""
    if _load_c_library().setns(handle, CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


@cache
def _load_c_library() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _read_file_of_process(process_folder_fd: int, name: str) -> str:
    def open_in_process_folder(path: str, flags: int) -> int:
        return os.open(path, flags, dir_fd=process_folder_fd)

    with open(name, encoding="ascii", errors="replace", opener=open_in_process_folder) as file:
        return file.read()
