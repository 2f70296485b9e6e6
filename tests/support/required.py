"""What a test needs of the machine that it runs on."""

from __future__ import annotations

import os

import pytest


def require(present: bool, what: str) -> None:
    """Skip for want of ``what``; fail instead where CI promises to have it."""
    if present:
        return
    if os.environ.get("CI") == "true":
        pytest.fail(f"CI must provide {what}")
    pytest.skip(f"needs {what}")
