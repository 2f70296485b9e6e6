"""The classic profile, as the original study served: NGINX, Gunicorn, Uvicorn, FastAPI.

NGINX listens on the port and hands requests over a Unix socket to Gunicorn's Uvicorn workers,
one per vCPU, each with a FastAPI application over the same handlers as the lean profile.
"""
