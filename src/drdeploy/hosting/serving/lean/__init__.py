"""The lean profile: one asyncio process per worker, an ASGI application on httptools.

Why a protocol of our own under ASGI and no ready-made server: a serverless container pays for
every import at every cold start, and no server that was tried bounds headers, times a slow
request out and lets a client read the refusal of a body that it is still sending.  The parser,
which is the hard part, is Node's llhttp through httptools.

``benchmarks/servers.py`` holds it against Uvicorn under the same application, and against the
servers that others would pick.

The application itself is plain ASGI (``hosting/serving/asgi.py``): should another server do better
one day, it can take this one's place.
"""

import sys

# TLS ends before the container: asyncio does without, and a cold start is spared OpenSSL.
sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]
import asyncio  # noqa: E402, F401

if sys.modules["ssl"] is None:
    del sys.modules["ssl"]
