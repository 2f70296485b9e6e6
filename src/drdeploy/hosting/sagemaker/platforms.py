"""Where an endpoint can run."""

from __future__ import annotations

from typing import Literal

HostingPlatform = Literal["local", "aws"]
"""``aws`` is the real SageMaker, ``local`` is the local service that simulates it."""
