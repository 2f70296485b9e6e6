"""The lean profile, which runs one asyncio process per worker with an HTTP protocol of its own.

The profile has its own HTTP server for two reasons. First, every import slows down a cold start.
Second, none of the other servers that we tested limits both the headers and the time that a slow
request may take. If one of these servers refuses a request whose body is still arriving, the client
may never see the refusal. Node's parser llhttp, called through httptools, sets no limit on the
number of headers, chunks and pipelined requests. It also loses the body of a request that has an
``Upgrade`` header, and does not report the end of that request. The modules ``head`` and ``body``
parse the part of HTTP/1.1 that is needed. Tests send unusual and invalid requests to both profiles,
and expect the same status from the lean profile and from NGINX, with few exceptions
(``tests/hosting/contract``). ``benchmarks/servers.py`` compares the lean profile with other model
servers, and with Uvicorn in front of the gateway.

- ``supervision`` forks the workers, replaces workers that die, and stops them at the end, after
  they have finished their requests.
- ``worker`` is the worker process, which loads the model and serves requests.
- ``server`` keeps track of a worker's connections.
- ``acceptor`` accepts connections, so that each worker gets its share.
- ``connection_counts`` and ``worker_cells`` hold numbers in memory that all workers share.
- ``protocol`` speaks HTTP/1.1 on one connection.
- ``head`` parses the headers of a request, and ``body`` parses its body.
- ``in_flight`` represents a request whose body is still arriving.
"""

import sys

# TLS ends before the container.  asyncio works without `ssl`, and without it a cold start is spared
# the load of OpenSSL; None in sys.modules makes its import fail.
sys.modules.setdefault("ssl", None)  # type: ignore[arg-type]
import asyncio  # noqa: E402, F401

if sys.modules["ssl"] is None:
    del sys.modules["ssl"]
