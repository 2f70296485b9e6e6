"""The model server, which takes photographs over HTTP and answers with grades.

These are the modules, roughly in the order in which a request meets them:

- ``supervisor`` is the first process: it reads settings, binds the port, and starts the serving
  processes.
- ``lean`` is the lean profile, which serves HTTP/1.1 in one asyncio process per worker.
- ``classic`` is the classic profile of the 2023 study: NGINX, Gunicorn, Uvicorn and FastAPI.
- ``budgets`` holds all limits on the resources that a request, a client or many requests may use.
- ``gateway`` chooses the handler, keeps the deadline, and writes one log line per request.
- ``uploads`` receives the bodies of requests.
- ``thread_pools`` runs invocations in threads, and limits how many may wait.
- ``handlers`` answers the requests to each path, in the same way for both profiles.
- ``payload`` extracts the images from the body of a request.
- ``negotiation`` chooses JSON or CSV by the Accept header.
- ``answer`` turns inferences into the answer to a client.
- ``counters`` counts invocations. All processes of a container share these counts.
- ``metrics`` renders the counters for Prometheus.

The module :mod:`drdeploy.grader.inference` turns the images into the content of the answer.
``settings`` holds every setting with its default, unit and meaning.

Modules are imported only when they are needed, so that a cold start imports little. This package
itself imports nothing.
"""
