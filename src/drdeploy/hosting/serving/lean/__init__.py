"""The lean profile: one asyncio process per worker, with an HTTP protocol of our own on httptools.

Why not a ready-made server: a serverless container pays for every import at every cold start, and
no server that was tried bounds headers, times out a slow request and lets a client read the refusal
of a body that it is still sending.  The parser, which is the hard part, is Node's llhttp through
httptools.  ``benchmarks/servers.py`` compares it with Uvicorn under the same gateway, and with the
servers that others would pick.

    supervision   forks the workers, replaces those that die, drains them at the end
    worker        one process: loads the model, serves, drains
    server        the worker's connections;  acceptor: takes its share of new ones
    protocol      HTTP/1.1 on one connection;  in_flight: a request and its arriving body
"""

import sys

# TLS ends before the container.  asyncio works without `ssl`, and without it a cold start is spared
# the load of OpenSSL; None in sys.modules makes its import fail.
sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]
import asyncio  # noqa: E402, F401

if sys.modules["ssl"] is None:
    del sys.modules["ssl"]
