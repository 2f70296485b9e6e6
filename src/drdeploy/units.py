"""Factors between units, for example the number of bytes in a megabyte.

There are two kinds of megabytes, and both are often written as ``MB``. AWS, Docker and Linux mean
1,048,576 bytes when they state memory, payloads and storage; this is ``MIB`` here. This project
states the sizes of files and images in millions of bytes, as ``ls -h --si`` and registries do; this
is ``MB`` here.
"""

from __future__ import annotations

KB = 1000
MB = 1_000_000
GB = 1_000_000_000

KIB = 1024
MIB = 1024 * KIB
GIB = 1024 * MIB
MIB_PER_GIB = 1024

NANOSECONDS_PER_S = 1_000_000_000
MICROSECONDS_PER_S = 1_000_000
MILLISECONDS_PER_S = 1000
SECONDS_PER_MINUTE = 60
SECONDS_PER_HOUR = 3600
SECONDS_PER_DAY = 24 * SECONDS_PER_HOUR
HOURS_PER_MONTH = 730
"""The hours of a month in the estimates of AWS's Pricing Calculator: a twelfth of 365 days."""
DAYS_PER_MONTH = HOURS_PER_MONTH / 24
SECONDS_PER_MONTH = HOURS_PER_MONTH * SECONDS_PER_HOUR

MILLION = 1_000_000
"""Costs are stated in USD per million requests or photographs."""
PERCENT = 100.0
"""How many percent the whole is: a share times this number is the percentage."""
