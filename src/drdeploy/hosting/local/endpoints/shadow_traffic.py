"""Send copies of requests to a shadow variant, and discard its answers.

A share of the requests is copied. The share is the weight of the shadow variant divided by the
weight of the production variant, but at most 1 (developer guide, "Shadow variants"). A copy is sent
in a thread of its own. A failure or a delay of the shadow variant does not reach the caller. The
number of copies in progress is limited. A copy beyond the limit is not sent, and a line in the log
says so.
"""

from __future__ import annotations

import contextlib
import logging
import random
import threading
from typing import TYPE_CHECKING

from drdeploy.hosting.local.api_errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager

log = logging.getLogger(__name__)

COPIES_MAX = 32
"""The largest number of copies in progress for all endpoints of a region. Each copy in progress
holds the body of a request in memory.
"""


class ShadowTraffic:
    """Sends copies of requests in the background; safe to use from several threads."""

    def __init__(self) -> None:
        self._places = threading.BoundedSemaphore(COPIES_MAX)

    def send_copy(
        self, work: Callable[[], object], name: str, hold: AbstractContextManager[None]
    ) -> None:
        """Send the copy of a request in the background, and return at once.

        Args:
            work: Sends the copy and drops the answer.
            name: The name of the shadow variant, for the log.
            hold: A context manager that keeps the workers of the shadow variant running until the
                copy is answered. It is entered before the method returns.
        """
        if not self._places.acquire(blocking=False):
            log.warning("a request was not copied to %s: %d copies wait", name, COPIES_MAX)
            return

        # Entered here and not in the thread, because the deployment might be closed before the
        # thread begins.
        held = contextlib.ExitStack()
        held.enter_context(hold)

        def invoke_shadow_and_release_place() -> None:
            try:
                with held:
                    work()
            except ApiError as err:
                log.info("the shadow variant %s failed: %s", name, err)
            except Exception:
                log.exception("a request was not copied to %s", name)
            finally:
                self._places.release()

        threading.Thread(
            target=invoke_shadow_and_release_place, name=f"shadow {name}", daemon=True
        ).start()


def choose_whether_to_copy(production_weight: float, shadow_weight: float) -> bool:
    """Decide at random whether a request is copied to the shadow variant."""
    if production_weight <= 0:
        return False
    return random.random() < shadow_weight / production_weight
