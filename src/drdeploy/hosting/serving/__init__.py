"""The hosting contract: a photograph comes in over HTTP, a grade goes out.

How a request travels, one file a stage::

    supervisor    PID 1: settings -> port -> workers; replaces the dead, drains at the end
    lean/         a worker of the lean profile: httptools -> ASGI, in one asyncio process
    classic/      NGINX -> Gunicorn -> Uvicorn -> FastAPI, as the original study
    gateway       routes, the bounded queue (admission), deadlines, threads, one log line
    handlers      what each path answers: the same five for both profiles
    payload       body -> images (multipart);  negotiation: Accept -> JSON or CSV
    inference     images -> decode -> transform -> predict, each timed
    answer        predictions -> what the client reads
    counters      numbers that all processes of a container share; metrics renders them

``settings`` holds every setting with its default, unit and meaning.

Nothing is imported before something needs it: what a cold start does not import, it does not
pay for.  This package itself imports nothing.
"""
