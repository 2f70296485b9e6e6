"""Factors between units, so that a number in code says which kind of megabyte it means.

AWS, Docker and Linux count memory, payloads and stored gigabytes in powers of two and write them
``MB`` and ``GB``.  File and image sizes are shown to people in powers of ten, as ``ls -h --si``
and the registries show them.
"""

from __future__ import annotations

MB = 1_000_000
GB = 1_000_000_000

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
MIB_PER_GIB = 1024

MICROSECONDS_PER_S = 1_000_000
SECONDS_PER_HOUR = 3600
DAYS_PER_MONTH = 365.25 / 12
SECONDS_PER_MONTH = DAYS_PER_MONTH * 24 * SECONDS_PER_HOUR
