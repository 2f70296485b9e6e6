"""Files that the tests of this package share: encoders, and the parts of hostile ones."""

from __future__ import annotations

import io
import struct
import subprocess
import sys
import zlib

import numpy as np
from PIL import Image


def encoded(image: Image.Image, image_format: str, **options) -> bytes:
    stream = io.BytesIO()
    image.save(stream, image_format, **options)
    return stream.getvalue()


def gradient(width: int = 96, height: int = 64) -> Image.Image:
    """Smooth, different in each channel, with no symmetry."""
    y, x = np.mgrid[:height, :width]
    channels = (255 * x / (width - 1), 255 * y / (height - 1), 255 * (x + y) / (width + height - 2))
    return Image.fromarray(np.stack(channels, axis=2).round().astype(np.uint8))


def png_chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *, rows: bytes | None = None, before_image: bytes = b"") -> bytes:
    """A black 8-bit RGB picture, whose image data may be others than the header says."""
    rows = bytes((1 + 3 * width) * height) if rows is None else rows
    header = png_chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    image = png_chunk(b"IDAT", zlib.compress(rows, 9))
    return b"\x89PNG\r\n\x1a\n" + header + before_image + image + png_chunk(b"IEND", b"")


def tiff(entries: dict[int, int], data: bytes = b"") -> bytes:
    """A little-endian file with one directory of whole numbers, then the data."""
    body = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries.items())
    return b"II*\x00" + struct.pack("<IH", 8, len(entries)) + body + bytes(4) + data


def jpeg_claiming(width: int, height: int) -> bytes:
    """A small JPEG whose frame header names another size."""
    data = bytearray(encoded(gradient(), "JPEG"))
    frame = data.index(b"\xff\xc0")
    data[frame + 5 : frame + 9] = struct.pack(">HH", height, width)
    return bytes(data)


def disc(
    width: int,
    height: int,
    centre: tuple[int, int],
    radius: int,
    *,
    colour=(180, 90, 40),
    noise=2.0,
) -> np.ndarray:
    """A lit disc on a surround of level 4, with the sensor's noise."""
    y, x = np.mgrid[:height, :width]
    inside = (x + 0.5 - centre[0]) ** 2 + (y + 0.5 - centre[1]) ** 2 < radius**2
    image = np.where(inside[..., None], np.array(colour, dtype=float), 4.0)
    image += np.random.default_rng(0).normal(0.0, noise, image.shape)
    return np.clip(image, 0, 255).astype(np.uint8)


def peak_memory_mb(data: bytes, *, min_side_px: int | None) -> float:
    """Of a fresh process that decodes the data: Python, NumPy and Pillow alone take about 40."""
    program = (
        "import sys; from drdeploy.grader.fundus.decode import decode_image\n"
        "from drdeploy.errors import RequestRefused\n"
        f"try: decode_image(sys.stdin.buffer.read(), min_side_px={min_side_px})\n"
        "except RequestRefused: pass\n"
        "print(open('/proc/self/status').read().split('VmHWM:')[1].split()[0])"
    )
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, input=data, capture_output=True, check=True)
    return int(done.stdout) / 1024
