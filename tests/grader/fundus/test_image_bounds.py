"""Every bound on a photograph, at the bound and one past it; SECURITY.md lists them."""

import struct

import pytest
from image_files import encoded, gradient, peak_memory_mb, png, png_chunk, tiff
from PIL import Image

from drdeploy.errors import PayloadTooLarge, RequestRefused, UnreadableImage, UnsupportedImage
from drdeploy.grader.fundus.decode import ImageLimits, decode_image, read_and_check_header
from drdeploy.grader.fundus.formats import jpeg
from drdeploy.grader.fundus.formats import png as png_format
from drdeploy.grader.fundus.formats import tiff as tiff_format
from drdeploy.grader.fundus.formats.ifd import MAX_ENTRIES

BASELINE = encoded(gradient(), "JPEG")
PROGRESSIVE = encoded(gradient(), "JPEG", progressive=True)


def accepted(data, **limits):
    try:
        read_and_check_header(data, limits=ImageLimits(**limits))
    except RequestRefused as err:
        return type(err)
    return True


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF"])
def test_bytes_pixels_and_sides(image_format):
    data = encoded(gradient(96, 64), image_format)
    assert accepted(data, max_bytes=len(data), max_pixels=96 * 64, max_side_px=96) is True
    assert accepted(data, max_bytes=len(data) - 1) is PayloadTooLarge
    assert accepted(data, max_pixels=96 * 64 - 1) is PayloadTooLarge
    assert accepted(data, max_side_px=95) is PayloadTooLarge


def with_scans(count):
    last = PROGRESSIVE[PROGRESSIVE.rindex(b"\xff\xda") : -2]
    return PROGRESSIVE[:-2] + last * (count - PROGRESSIVE.count(b"\xff\xda")) + b"\xff\xd9"


def with_segments(count):
    there = len(jpeg._read_segments(BASELINE)[0])
    return BASELINE[:2] + b"\xff\xfe\x00\x02" * (count - there) + BASELINE[2:]


def with_chunks(count):
    return png(8, 8, before_image=png_chunk(b"tEXt", b"k\0") * (count - 3))


def with_entries(count):
    entries = {256: 8, 257: 8, 258: 8, 262: 1, 273: 6200, 278: 8, 279: 64}
    entries |= dict.fromkeys(range(1000, 1000 + count - len(entries)), 1)
    return tiff(entries).ljust(6264, b"\0")


def with_strips(count):
    """Strips of one row each in as many planes as it takes."""
    rows, planes = 4000, count // 4000
    start = 200
    offsets = struct.pack(f"<{count}I", *range(start + 8 * count, start + 9 * count))
    lengths = struct.pack(f"<{count}I", *[1] * count)
    values = [(256, 1, 1), (257, 1, rows), (258, 1, 8), (259, 1, 5), (262, 1, 1), (277, 1, planes)]
    values += [(273, count, start), (278, 1, 1), (279, count, start + 4 * count), (284, 1, 2)]
    table = b"".join(struct.pack("<HHII", tag, 4, n, value) for tag, n, value in sorted(values))
    head = b"II*\0" + struct.pack("<IH", 8, len(values)) + table + bytes(4)
    return head.ljust(start, b"\0") + offsets + lengths + bytes(count)


def with_samples(count):
    return tiff({256: 1, 257: 1, 258: 8, 262: 1, 273: 150, 277: count, 278: 1, 279: 99}, bytes(99))


@pytest.mark.parametrize(
    ("make", "bound", "refusal"),
    [
        (with_scans, jpeg.MAX_SCANS, UnreadableImage),
        (with_segments, jpeg.MAX_SEGMENTS, UnreadableImage),
        (with_chunks, png_format.MAX_CHUNKS, UnreadableImage),
        (with_entries, MAX_ENTRIES, UnreadableImage),
        (with_samples, tiff_format.MAX_SAMPLES, UnsupportedImage),
    ],
)
def test_parts_at_the_bound_and_one_past_it(make, bound, refusal):
    assert accepted(make(bound)) is True
    assert accepted(make(bound + 1)) is refusal


def test_parts_of_a_tiff_at_the_bound_and_one_past_it(monkeypatch):
    assert accepted(with_strips(4000)) is True
    monkeypatch.setattr(tiff_format, "MAX_PARTS", 4000)
    assert accepted(with_strips(4000)) is True
    monkeypatch.setattr(tiff_format, "MAX_PARTS", 3999)
    assert accepted(with_strips(4000)) is UnreadableImage


def deep_tiff(width, height):
    """The most expensive kind: four samples of 16 bits in one strip."""
    import zlib

    strip = zlib.compress(bytes(8 * width * height))
    values = [(256, width), (257, height), (259, 8), (262, 2), (273, 200), (277, 4)]
    values += [(278, height), (279, len(strip)), (338, 2)]
    table = [struct.pack("<HHII", tag, 4, 1, value) for tag, value in values]
    table.insert(2, struct.pack("<HHII", 258, 3, 4, 192))
    head = b"II*\0" + struct.pack("<IH", 8, len(table)) + b"".join(table) + bytes(4)
    return head.ljust(192, b"\0") + struct.pack("<4H", 16, 16, 16, 16) + strip


SIDE = 2200
EXPENSIVE = {
    "PNG with transparency": lambda: encoded(Image.new("RGBA", (SIDE, SIDE)), "PNG"),
    "PNG with a palette": lambda: encoded(Image.new("P", (SIDE, SIDE)), "PNG", transparency=1),
    "deep TIFF": lambda: deep_tiff(SIDE, SIDE),
    "JPEG": lambda: encoded(Image.new("RGB", (SIDE, SIDE)), "JPEG"),
    "progressive JPEG": lambda: encoded(
        Image.new("CMYK", (SIDE, SIDE)), "JPEG", progressive=True, subsampling=0
    ),
}


@pytest.mark.parametrize("kind", EXPENSIVE)
def test_decoding_takes_no_more_memory_than_its_header_says(kind):
    data = EXPENSIVE[kind]()
    assert decode_image(data).shape == (SIDE, SIDE, 3)
    is_jpeg = data[:2] == b"\xff\xd8"
    used = peak_memory_mb(data, min_side_px=SIDE // 8 if is_jpeg else None)
    idle = peak_memory_mb(encoded(gradient(), "PNG"), min_side_px=None)
    assert used - idle < read_and_check_header(data).decoding_memory_bytes / 1e6 + 6
