"""Find loopback ports for containers, server processes and the local service.

drdeploy chooses the port of a container before the container starts. If the engine chose the port,
drdeploy would have to ask for it, which would make every cold start longer.
"""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"
PORTS = range(20_000, 32_000)
"""The ports that are searched for a free port. Linux uses the ports from 32768 up for outgoing
connections. One of those could be taken between the search and the start of the server.
"""


def find_free_port(rng: random.Random | None = None) -> int:
    """Return a free loopback port.

    Raises:
        OSError: None of the 200 ports that were tried is free.
    """
    for port in (rng or random.SystemRandom()).sample(PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise OSError(f"no port from {PORTS.start} to {PORTS.stop - 1} is free")
