"""Wait for a state instead of a time: a test passes at once, and fails late on a busy machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

WITHIN_S = 60.0
"""A state that is not reached by then is not late but wrong, also beside other tests."""


def until(condition: Callable[[], object], timeout_s: float = WITHIN_S) -> None:
    """Wait until a condition is true.

    Raises:
        AssertionError: It was not true in time.
    """
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "the condition did not become true in time"
        time.sleep(0.05)
