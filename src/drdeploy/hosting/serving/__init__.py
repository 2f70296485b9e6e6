"""The hosting contract: a photograph comes in over HTTP, a grade goes out.

How a request travels, one file for each step::

    supervisor    PID 1: settings -> port -> workers; replaces those that die, drains at the end
    lean/         a worker of the lean profile: httptools in one asyncio process
    classic/      NGINX -> Gunicorn -> Uvicorn -> FastAPI, as the 2023 study
    gateway       routes, the bounded queue (admission), deadlines, threads, one log line
    handlers      the answer of each path, the same for both profiles
    payload       body -> images (multipart);  negotiation: Accept -> JSON or CSV
    answer        inferences -> what the client reads
    counters      numbers that all processes of a container share; metrics renders them

Between payload and answer stands :mod:`drdeploy.grader.inference`.  ``settings`` holds every
setting with its default, unit and meaning.

Nothing is imported before something needs it: what a cold start does not import, it does not
pay for.  This package itself imports nothing.
"""
