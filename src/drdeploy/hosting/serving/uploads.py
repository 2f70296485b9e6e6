"""Receive the bodies of requests, with limits on size, time and total memory.

A request takes a place in the queue only after its body has arrived, so a slow upload does not
delay other requests. But an upload takes memory. When the memory for bodies is full, the slowest
upload is refused.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from drdeploy.errors import Overloaded, PayloadTooLarge, RequestTimeout

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from drdeploy.hosting.serving.budgets import Budgets


class BodyUploads:
    """Receives the bodies of a worker's requests, and counts their memory until it is released.

    The class needs no lock, because only the worker's event loop calls it.
    """

    def __init__(self, budgets: Budgets) -> None:
        self._budgets = budgets
        self._arriving: set[_BodyUpload] = set()
        self._held_bytes = 0

    async def receive_body(self, body: AsyncIterator[bytes]) -> bytes:
        """Return a whole body, which must be passed to :meth:`release_body_memory` after its use.

        Raises:
            PayloadTooLarge: The body is too long.
            RequestTimeout: The body took too long to arrive, or arrived too slowly.
            Overloaded: The worker's memory for bodies is full, and this upload was the slowest.
            ClientGone: The client closed the connection while ``body`` was read.
        """
        now = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout_at(self._compute_next_deadline(now, 0)) as deadline:
                upload = _BodyUpload(now, deadline)
                self._arriving.add(upload)
                try:
                    return await self._collect_body_within_memory(upload, body)
                except BaseException:
                    self._release_held_bytes(upload)
                    raise
                finally:
                    self._arriving.discard(upload)
        except TimeoutError as err:
            if upload.is_displaced:
                raise _make_memory_full_error() from err
            raise RequestTimeout("The request took too long to arrive") from err

    def release_body_memory(self, body: bytes) -> None:
        """Free the memory of a body."""
        self._held_bytes -= len(body)

    async def _collect_body_within_memory(
        self, upload: _BodyUpload, body: AsyncIterator[bytes]
    ) -> bytes:
        data = bytearray()
        async for part in body:
            if upload.is_displaced:  # this part arrived before the deadline could end the upload
                raise _make_memory_full_error()
            upload.size += len(part)
            if upload.size > self._budgets.body_bytes:
                raise make_too_large_error(self._budgets)
            self._make_room_for_part(upload, len(part))
            data += part
            upload.deadline.reschedule(self._compute_next_deadline(upload.began, upload.size))
        if upload.is_displaced:  # it was displaced just before it was complete
            raise _make_memory_full_error()
        return bytes(data)

    def _compute_next_deadline(self, began: float, size: int) -> float:
        """Return the deadline for the next part of a body; received bytes extend the deadline."""
        budgets = self._budgets
        earned_s = budgets.body_grace_s + size / budgets.body_bytes_per_s
        return began + min(earned_s, budgets.body_s)

    def _make_room_for_part(self, upload: _BodyUpload, size: int) -> None:
        upload.held_bytes += size
        self._held_bytes += size
        now = asyncio.get_running_loop().time()
        while self._held_bytes > self._budgets.bodies_bytes:
            slowest = min(self._arriving, key=lambda each: each.compute_rate(now))
            if slowest is upload:
                raise _make_memory_full_error()
            slowest.is_displaced = True
            self._release_held_bytes(slowest)
            self._arriving.discard(slowest)
            if not slowest.deadline.expired():
                slowest.deadline.reschedule(now)

    def _release_held_bytes(self, upload: _BodyUpload) -> None:
        self._held_bytes -= upload.held_bytes
        upload.held_bytes = 0


class _BodyUpload:
    """One body that is arriving."""

    def __init__(self, began: float, deadline: asyncio.Timeout) -> None:
        self.began = began
        self.deadline = deadline
        self.size = 0
        self.held_bytes = 0
        self.is_displaced = False

    def compute_rate(self, now: float) -> float:
        """Return the speed of the upload so far in bytes per second."""
        return self.size / max(now - self.began, 0.001)


def make_too_large_error(budgets: Budgets) -> PayloadTooLarge:
    """Make the error for a body that is too long."""
    return PayloadTooLarge(f"The body is larger than {budgets.body_bytes} bytes")


def _make_memory_full_error() -> Overloaded:
    return Overloaded(
        "The memory for request bodies is full, and this upload was the slowest",
        remedy="Try again in a moment",
    )
