"""The classic profile, which is the server of the 2023 study: NGINX, Gunicorn, Uvicorn and FastAPI.

NGINX listens on the port and passes requests over a Unix socket to Gunicorn's Uvicorn workers. By
default, there is one worker per whole vCPU, as far as the memory allows. Each worker runs a FastAPI
application, which passes requests to the gateway. The lean profile uses the same gateway.
"""
