"""The version of ``drdeploy``. It is in a module of its own so that every package can import it."""

VERSION = "0.1.0"
