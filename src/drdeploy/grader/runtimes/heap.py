"""Settings for the C library's heap that reduce the CPU time of grading."""

from __future__ import annotations

HUGE_PAGES = {"GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
"""The environment variable that puts the heap on huge pages, where the kernel grants them.

Allocating the pixels of a photograph then causes a few page faults instead of thousands. The C
library reads the variable when a process starts, so it must be set before the start.
"""
