"""The settings of the C library's heap with which grading takes less CPU time."""

from __future__ import annotations

HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""The environment variable that puts the heap on huge pages, where the kernel grants them.  The
pixels of a photograph then take a few page faults, not thousands.  The C library reads the variable
when a process starts, so the variable must be set before."""
