"""The lean profile: one asyncio process per worker, an ASGI application on httptools.

Why a protocol of our own under ASGI and no ready-made server: a serverless container pays for
every import at every cold start, and no server that was tried bounds headers, times a slow
request out and lets a client read the refusal of a body that it is still sending.  The parser,
which is the hard part, is Node's llhttp through httptools.

Measured with ``benchmarks/server_stacks.py`` (the same application on each; 14 interleaved
rounds on 2 shared AMD EPYC cores; Python 3.11; ratios to this server with 95 % intervals)::

    server              CPU until the first answer     time per request
    this one            326 ms  1                      1.01 ms  1
    granian 2.8.7       354 ms  1.09 [0.99, 1.18]      1.18 ms  1.17 [0.98, 1.39]
    uvicorn 0.54        378 ms  1.16 [1.09, 1.26]      1.23 ms  1.21 [1.05, 1.43]
    hypercorn 0.18      420 ms  1.29 [1.21, 1.37]      1.81 ms  1.79 [1.39, 2.37]

The application itself is plain ASGI (:mod:`drdeploy.serving.asgi`): should another server do
better one day, it can take this one's place.
"""
