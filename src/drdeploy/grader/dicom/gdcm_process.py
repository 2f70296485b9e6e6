"""Decode one DICOM file with GDCM, as a process of its own: ``python gdcm_process.py FILE OUT``.

GDCM is the only decoder in this package that is not continuously tested with random input (fuzzed).
If hostile bytes crash this process or make it use up its memory, all other processes continue.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

MEMORY_BYTES = 4 << 30
CPU_S = 60


def main(source: str, target: str) -> int:
    """Decode the file's first frame, and write its samples. Return 1 if this fails, else 0."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_BYTES, MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_S, CPU_S))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    import gdcm

    reader = gdcm.ImageReader()
    reader.SetFileName(source)
    if not reader.Read():
        return 1
    # The binding returns the bytes as a string.
    samples = reader.GetImage().GetBuffer().encode("utf-8", "surrogateescape")
    Path(target).write_bytes(samples)
    return 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
