"""The classic profile, as the 2023 study served: NGINX, Gunicorn, Uvicorn, FastAPI.

NGINX listens on the port and passes requests over a Unix socket to Gunicorn's Uvicorn workers,
one per vCPU.  Each runs a FastAPI application over the same gateway as the lean profile.
"""
