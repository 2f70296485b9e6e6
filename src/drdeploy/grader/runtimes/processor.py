"""Find out whether the processor adds up the products of an int8 layer exactly."""

from __future__ import annotations

from pathlib import Path

EXACT_INT8_FLAGS = frozenset({"avx512_vnni", "avx_vnni"})
"""Linux's names of the instructions that add up products of 8-bit integers in 32 bits. An x86
processor has one of the two, both, or none.
"""
MAX_READ_BYTES = 16_384
"""The description of the first processor in ``/proc/cpuinfo`` is shorter than this. Linux writes
the description of one processor after another, so reading all of them takes long on a large host.
"""


def has_exact_int8_sums(root: Path = Path("/")) -> bool:
    """Return whether an x86 processor is known to add up the products of int8 layers exactly.

    The result is False if the processor is of another kind, or if the system does not tell.

    Args:
        root: Folder that contains ``/proc``; tests use a folder of their own.
    """
    try:
        with (root / "proc" / "cpuinfo").open("rb", buffering=0) as file:
            text = file.read(MAX_READ_BYTES).decode("ascii", "replace")
    except OSError:
        return False
    for line in text.splitlines():
        name, _, flags = line.partition(":")
        if name.strip() == "flags":
            return not EXACT_INT8_FLAGS.isdisjoint(flags.split())
    return False
