"""Loopback ports for containers, server processes and the local service.

The caller chooses the port that a container is published on: asking the engine which one it
chose would cost a round trip in every cold start.
"""

from __future__ import annotations

import random
import socket

LOOPBACK = "127.0.0.1"
PORTS = range(20_000, 32_000)
"""Below the ports that Linux gives to outgoing connections (32768 and up, by default): one of
those may be taken between the search and the moment that a server listens on it."""


def free_port(rng: random.Random | None = None) -> int:
    """Return a loopback port that nobody listens on.

    Raises:
        OSError: None is free.
    """
    for port in (rng or random.SystemRandom()).sample(PORTS, 200):
        with socket.socket() as probe:
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
            return port
    raise OSError(f"no free port between {PORTS.start} and {PORTS.stop}")
