"""Small photographs and what is wrong with some."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
from PIL import Image


def photograph(side_px: int = 224, *, seed: int = 1, kind: str = "JPEG") -> bytes:
    """A disc on black: what a fundus camera makes, roughly."""
    y, x = np.mgrid[-1 : 1 : side_px * 1j, -1 : 1 : side_px * 1j]
    colour = np.random.default_rng(seed).integers(60, 200, 3)
    pixels = ((x * x + y * y < 0.8)[..., None] * colour).astype(np.uint8)
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, kind)
    return stream.getvalue()


def bomb(width_px: int, height_px: int) -> bytes:
    """A PNG of a few kilobytes that says it has so many pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        checked = kind + data
        return struct.pack(">I", len(data)) + checked + struct.pack(">I", zlib.crc32(checked))

    header = struct.pack(">IIBBBBB", width_px, height_px, 8, 2, 0, 0, 0)
    return b"".join([
        b"\x89PNG\r\n\x1a\n",
        chunk(b"IHDR", header),
        chunk(b"IDAT", zlib.compress(bytes(4_000_000), 9)),
        chunk(b"IEND", b""),
    ])  # fmt: skip


def hostile_images(count: int) -> list[bytes]:
    """Mutated, truncated and made-up files; the same ones every time.  None is empty."""
    seed = np.random.default_rng(7)
    sound = [photograph(64, kind=kind) for kind in ("JPEG", "PNG", "TIFF")]
    made_up = [
        b"\0",
        b"\0" * 10_000,
        b"GIF89a" + bytes(100),
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        b"%PDF-1.7",
        b"\xff\xd8\xff",
        b"II*\0" + b"\xff" * 64,
        bomb(30_000, 30_000),
        bomb(30_000, 10),
        bomb(10, 30_000),
        bomb(2**31 - 1, 2**31 - 1),
        bomb(0, 0),
    ]
    files = list(made_up)
    while len(files) < count:
        source = sound[len(files) % len(sound)]
        if len(files) % 2:
            files.append(source[: int(seed.integers(1, len(source) // 2))])
        else:
            broken = bytearray(source[: len(source) * 3 // 4])
            for place in seed.integers(0, len(broken), 40):
                broken[place] = int(seed.integers(0, 256))
            files.append(bytes(broken))
    return files
