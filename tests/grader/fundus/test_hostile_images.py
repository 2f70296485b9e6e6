"""Bytes from someone who means harm: a refusal each, soon, and in bounded memory."""

import random
import resource
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from image_files import encoded, gradient, jpeg_claiming, peak_memory_mb, png, png_chunk, tiff
from PIL import Image

from drdeploy.errors import PayloadTooLarge, RequestRefused, UnreadableImage, UnsupportedImage
from drdeploy.grader.fundus.decode import ImageLimits, decode_image, read_and_check_header
from drdeploy.grader.fundus.formats import jpeg
from drdeploy.grader.fundus.formats import png as png_header
from drdeploy.grader.fundus.formats.ifd import MAX_ENTRIES

SEEDS = [
    encoded(gradient(), "JPEG"),
    encoded(gradient(), "JPEG", progressive=True),
    encoded(gradient().convert("CMYK"), "JPEG"),
    encoded(gradient().convert("L"), "JPEG"),
    encoded(gradient(), "PNG"),
    encoded(gradient().quantize(16), "PNG"),
    encoded(gradient().convert("RGBA"), "PNG"),
    encoded(Image.fromarray(np.arange(900, dtype=np.uint16).reshape(30, 30)), "PNG"),
    encoded(gradient(), "TIFF"),
    encoded(gradient(), "TIFF", compression="tiff_lzw"),
    encoded(gradient(), "TIFF", compression="tiff_adobe_deflate"),
    encoded(gradient(), "TIFF", compression="jpeg"),
    encoded(gradient().quantize(16), "TIFF"),
]
NASTY = [b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\0\0\x75\x30", b"\x30\x75\0\0"]


def decodes_or_is_refused(data):
    """True if it decoded; any exception but a refusal of one sentence fails the test."""
    try:
        pixels = decode_image(data, min_side_px=20)
    except RequestRefused as err:
        refusal = err
    else:
        return pixels.dtype == np.uint8 and pixels.shape[2] == 3
    assert 400 <= refusal.http_status < 500
    assert refusal.sentence.endswith(".")
    assert "\n" not in refusal.sentence
    return False


def mutated(seed):
    """One of the seeds with a few bytes changed, removed or put in; PNG checksums made right."""
    rng = random.Random(seed)
    data = bytearray(rng.choice(SEEDS))
    for _ in range(rng.choice([1, 2, 5, 20])):
        at = rng.randrange(min(len(data), rng.choice([64, 400, len(data)])))
        change = rng.randrange(4)
        if change == 0:
            data[at] = rng.randrange(256)
        elif change == 1:
            data[at : at + 4] = rng.choice(NASTY)
        elif change == 2 and len(data) > 100:
            del data[at : at + rng.randrange(1, 50)]
        else:
            data[at:at] = rng.randbytes(rng.randrange(1, 20))
    return _with_checksums(bytes(data)) if data[:4] == b"\x89PNG" else bytes(data)


def _with_checksums(data):
    fixed, position = [data[:8]], 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4])
        if position + 12 + length > len(data):
            break
        fixed.append(png_chunk(data[position + 4 : position + 8], data[position + 8 :][:length]))
        position += 12 + length
    return b"".join(fixed) + data[position:]


def test_mutated_images_decode_or_are_refused():
    outcomes = [decodes_or_is_refused(mutated(seed)) for seed in range(800)]
    assert 0 < sum(outcomes) < len(outcomes)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(seed=st.sampled_from(SEEDS), share=st.floats(0, 1))
def test_every_prefix_of_a_file_is_refused_or_complete(seed, share):
    prefix = seed[: int(len(seed) * share)]
    if len(prefix) < len(seed) and decodes_or_is_refused(prefix):
        assert prefix.startswith(jpeg.SIGNATURE)
        assert (decode_image(prefix) == decode_image(seed)).all()


@settings(max_examples=200, deadline=None)
@given(
    start=st.sampled_from([b"", b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"II*\0", b"MM\0*"]),
    rest=st.binary(max_size=300),
)
def test_arbitrary_bytes_behind_a_signature_are_refused(start, rest):
    assert not decodes_or_is_refused(start + rest)


@pytest.mark.parametrize("sides", [(30_000, 2), (2, 30_000), (30_000, 30_000)])
def test_sides_of_30000_pixels_are_too_large_in_every_format(sides):
    width, height = sides
    for data in (
        png(width, height, rows=b""),
        jpeg_claiming(width, height),
        tiff({256: width, 257: height, 258: 8, 262: 1, 273: 8, 278: height, 279: 1}),
    ):
        with pytest.raises(PayloadTooLarge, match="at most 10000 are allowed on a side"):
            decode_image(data)


def test_a_picture_within_the_sides_but_with_too_many_pixels_is_too_large():
    with pytest.raises(PayloadTooLarge, match="pixels, but at most 40000000"):
        decode_image(png(9_000, 9_000, rows=b""))


@pytest.mark.parametrize("data", [png(0, 5, rows=b""), jpeg_claiming(0, 5), tiff({256: 0, 257: 5})])
def test_a_side_of_zero_is_unreadable(data):
    with pytest.raises(UnreadableImage):
        decode_image(data)


def test_a_jpeg_that_claims_more_than_its_bytes_can_hold_is_unreadable():
    with pytest.raises(UnreadableImage, match="ends before its image"):
        decode_image(jpeg_claiming(8_000, 5_000))


def test_a_jpeg_with_endless_scans_is_unreadable():
    data = encoded(gradient(), "JPEG", progressive=True)
    last_scan = data[data.rindex(b"\xff\xda") : -2]
    bomb = data[:-2] + last_scan * jpeg.MAX_SCANS + b"\xff\xd9"
    with pytest.raises(UnreadableImage, match="too many segments or scans"):
        decode_image(bomb)


def test_a_jpeg_is_not_read_beyond_the_most_segments():
    comment, no_segment = b"\xff\xfe\x00\x02", b"\xff\xfe\x00\x00"
    data = encoded(gradient(), "JPEG")
    with pytest.raises(UnreadableImage, match="too many"):  # not: ends before its image
        decode_image(data[:2] + comment * jpeg.MAX_SEGMENTS + no_segment + data[2:])


def test_a_png_is_not_read_beyond_the_most_chunks():
    empty, broken = png_chunk(b"IDAT", b""), png_chunk(b"IDAT", b"")[:-4] + bytes(4)
    with pytest.raises(UnreadableImage, match="too many"):  # not: a checksum is wrong
        decode_image(png(8, 8, before_image=empty * png_header.MAX_CHUNKS + broken))


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
def test_compressed_text_and_profiles_never_reach_a_decompressor(kind):
    megabyte = zlib.compress(bytes(1024 * 1024), 9)
    prefix = {b"zTXt": b"k\0\0", b"iTXt": b"k\0\1\0\0\0", b"iCCP": b"k\0\0"}[kind]
    bomb = png(8, 8, before_image=png_chunk(kind, prefix + megabyte) * 4000)
    assert decode_image(bomb).shape == (8, 8, 3)
    assert png_header.read_png_header(bomb).data == png_header.read_png_header(png(8, 8)).data


def test_image_data_far_beyond_the_picture_are_not_kept():
    bomb = png(8, 8, rows=bytes(100_000_000))
    assert peak_memory_mb(bomb, min_side_px=336) < 90


def test_a_wrong_checksum_is_unreadable():
    data = bytearray(encoded(gradient(), "PNG"))
    data[data.index(b"IDAT") + 20] ^= 1
    with pytest.raises(UnreadableImage, match="checksum"):
        decode_image(bytes(data))


def test_a_jpeg_with_two_frames_is_unreadable():
    data = encoded(gradient(), "JPEG")
    frame = data.index(b"\xff\xc0")
    segment = data[frame : frame + 19]
    with pytest.raises(UnreadableImage, match="one frame header"):
        decode_image(data[:frame] + segment + data[frame:])


@pytest.mark.parametrize("marker", [b"\xff\xc3", b"\xff\xc9", b"\xff\xca"])
def test_lossless_and_arithmetic_jpeg_are_unsupported(marker):
    with pytest.raises(UnsupportedImage, match="baseline"):
        decode_image(encoded(gradient(), "JPEG").replace(b"\xff\xc0", marker, 1))


def test_a_12_bit_jpeg_is_unsupported():
    data = bytearray(encoded(gradient(), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    with pytest.raises(UnsupportedImage, match="12-bit"):
        decode_image(bytes(data))


def test_an_endless_tiff_directory_is_unreadable():
    entries = dict.fromkeys(range(1000, 1001 + MAX_ENTRIES), 1)
    with pytest.raises(UnreadableImage, match="entries"):
        decode_image(tiff(entries))


def with_entries(data, entries):
    """Add entries, ``(tag, kind, count, value)``, to the directory of a little-endian TIFF."""
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    table = data[start + 2 : start + 2 + 12 * count]
    table += b"".join(struct.pack("<HHII", *entry) for entry in entries)
    directory = struct.pack("<H", count + len(entries)) + table + bytes(4)
    data += bytes(len(data) % 2)
    return data[:4] + struct.pack("<I", len(data)) + data[8:] + directory


def tiff_of_strips(strips, **entries):
    """A picture of 64 x 64 grey pixels whose LZW strips lie where it is said."""
    offsets, lengths = zip(*strips, strict=True)
    values = {256: 64, 257: 64, 258: 8, 259: 5, 262: 1, 278: 64 // len(strips)} | entries
    arrays = struct.pack(f"<{2 * len(strips)}I", *offsets, *lengths)
    at = 8 + 2 + 12 * (len(values) + 2) + 4
    table = [(tag, 4, 1, value) for tag, value in values.items()]
    table += [(273, 4, len(strips), at), (279, 4, len(strips), at + 4 * len(strips))]
    body = b"".join(struct.pack("<HHII", *entry) for entry in sorted(table))
    return b"II*\0" + struct.pack("<IH", 8, len(table)) + body + bytes(4) + arrays + bytes(500)


@pytest.mark.parametrize("kind", [0, 1, 7, 13, 16, 17, 18, 99])
def test_entries_that_pixels_do_not_need_never_reach_the_tiff_decoder(kind):
    """libtiff kept each of these: 294 MB for 0.3 MiB with type 13."""
    clean = encoded(gradient(), "TIFF", compression="tiff_lzw") + bytes(300_000)
    bomb = with_entries(clean, [(40_000 + n, kind, 30_000, 8) for n in range(480)])
    header = read_and_check_header(bomb)
    assert header.data == read_and_check_header(clean).data
    assert len(header.data) < 30_000
    assert np.array_equal(decode_image(bomb), decode_image(clean))


def test_a_small_tiff_with_many_long_entries_takes_little_memory():
    clean = encoded(gradient(), "TIFF", compression="tiff_lzw") + bytes(300_000)
    bomb = with_entries(clean, [(40_000 + n, 13, 75_000, 8) for n in range(480)])
    assert peak_memory_mb(bomb, min_side_px=336) < 90


def test_directories_beside_the_first_never_reach_the_tiff_decoder():
    data = encoded(gradient(), "TIFF", compression="tiff_lzw")
    with_others = with_entries(data, [(34_665, 4, 1, 8), (34_853, 13, 1, 8)])
    assert read_and_check_header(with_others).data == read_and_check_header(data).data


def test_a_circle_of_tiff_directories_is_refused():
    data = encoded(gradient(), "TIFF", compression="tiff_lzw")
    with_itself = with_entries(data, [])[:-4] + struct.pack("<I", 8)
    for circle in (with_itself, with_entries(data, [(330, 4, 1, 8)])):
        with pytest.raises(UnsupportedImage, match="more than one picture"):
            decode_image(circle)
    # Smaller copies may be many, but not without end.
    copies = tiff({254: 1}, b"")[8:-4]
    first = with_entries(data, [])
    chain = first[:-4] + struct.pack("<I", len(first)) + copies + struct.pack("<I", len(first))
    with pytest.raises(UnsupportedImage, match="more than one picture"):
        decode_image(chain)


@pytest.mark.parametrize(
    "strips", [[(200, 400)] * 64, [(400, 2)] * 63 + [(400, 4_000_000_000)], [(2**32 - 1, 9)] * 64]
)
def test_tiff_strips_that_share_their_bytes_or_lie_outside_are_unreadable(strips):
    with pytest.raises(UnreadableImage, match="ends before"):
        decode_image(tiff_of_strips(strips))


def test_a_tiff_is_not_cut_into_more_tiles_than_any_photograph():
    entries = {256: 9000, 257: 4000, 258: 8, 259: 5, 262: 1, 322: 16, 323: 16, 324: 8, 325: 8}
    with pytest.raises(UnreadableImage, match="too many"):
        decode_image(tiff(entries))


def test_a_tiff_with_more_samples_than_any_photograph_is_unsupported():
    with pytest.raises(UnsupportedImage, match="pixel format"):
        decode_image(tiff({256: 8, 257: 8, 258: 8, 262: 1, 273: 8, 277: 60_000, 278: 8, 284: 2}))


def test_a_tile_much_larger_than_its_picture_counts_as_what_it_costs():
    side = -(-10_000 // 16) * 16
    data = bytes(side * 512)
    entries = {256: 10_000, 257: 1, 258: 8, 262: 1, 322: side, 323: 512, 324: 200, 325: len(data)}
    header = read_and_check_header(tiff(entries, bytes(200) + data))
    assert header.width_px * header.height_px == 10_000
    assert header.decoding_memory_bytes == 17 * side * 512


def test_a_progressive_jpeg_counts_as_twice_what_a_baseline_one_costs():
    baseline, progressive = (
        read_and_check_header(encoded(gradient(), "JPEG", progressive=choice))
        for choice in (False, True)
    )
    assert progressive.decoding_memory_bytes == 2 * baseline.decoding_memory_bytes


def jpeg_in_tiff(part, *, side=64):
    entries = {256: side, 257: side, 258: 8, 259: 7, 262: 1, 273: 200, 278: side, 279: len(part)}
    start = 8 + 2 + 12 * len(entries) + 4
    return tiff(entries, bytes(200 - start) + part)


def test_a_jpeg_in_a_tiff_decodes_alone_and_without_its_comments():
    part = encoded(gradient(64, 64).convert("L"), "JPEG", comment=b"a comment" * 99)
    data = jpeg_in_tiff(part)
    assert b"a comment" not in read_and_check_header(data).data
    assert np.array_equal(decode_image(data), decode_image(part))


@pytest.mark.parametrize(
    ("part", "match"),
    [
        (encoded(gradient(64, 600).convert("L"), "JPEG"), "states two different sizes"),
        (jpeg_claiming(64, 60_000), "states two different sizes"),
        (encoded(gradient(), "PNG"), "not a JPEG"),
        (encoded(gradient(64, 64).convert("L"), "JPEG")[:200], "ends before"),
    ],
)
def test_a_jpeg_in_a_tiff_is_checked_as_one_alone(part, match):
    with pytest.raises(UnreadableImage, match=match):
        decode_image(jpeg_in_tiff(part))


def test_a_tile_larger_than_its_picture_is_unreadable():
    entries = {256: 8, 257: 8, 258: 8, 262: 1, 322: 1 << 30, 323: 1 << 30, 324: 8, 325: 8}
    with pytest.raises(UnreadableImage, match="tiles"):
        decode_image(tiff(entries))


@pytest.mark.parametrize("compression", [2, 3, 4, 6, 34712, 34925, 50000, 50001, 12345])
def test_rare_tiff_compressions_are_unsupported(compression):
    entries = {256: 8, 257: 8, 258: 8, 259: compression, 262: 1, 273: 8, 278: 8, 279: 1}
    with pytest.raises(UnsupportedImage, match=f"compression {compression}"):
        decode_image(tiff(entries))


def test_a_png_that_gives_its_size_twice_is_unreadable():
    second = png_chunk(b"IHDR", struct.pack(">IIBBBBB", 9000, 9000, 8, 2, 0, 0, 0))
    with pytest.raises(UnreadableImage, match="states two different sizes"):
        decode_image(png(10, 10, before_image=second))


DECISIVE_TWICE = [(256, 3, 10), (256, 3, 9000), (257, 3, 10), (273, 4, 8), (279, 4, 1)]
SIGNED_TILES = [
    (256, 3, 10),
    (257, 3, 10),
    (273, 4, 8),
    (279, 4, 1),
    (322, 9, 9000),
    (323, 9, 9000),
]
STRIPS_AND_TILES = [
    (256, 3, 10),
    (257, 3, 10),
    (273, 4, 8),
    (279, 4, 1),
    (322, 4, 10),
    (323, 4, 10),
]


@pytest.mark.parametrize("tag", [256, 257, 259, 262, 277, 278, 284, 317])
def test_a_tiff_with_several_values_where_one_belongs_is_unreadable(tag):
    pairs = struct.pack("<HHIHH", tag, 3, 2, 8, 8)
    body = b"".join(
        pairs if each == tag else struct.pack("<HHII", each, 4, 1, 8)
        for each in (256, 257, 258, 259, 262, 273, 277, 278, 279, 284, 317)
    )
    with pytest.raises(UnreadableImage, match=r"several values|occurs twice"):
        decode_image(b"II*\0" + struct.pack("<IH", 8, 11) + body + bytes(100))


@pytest.mark.parametrize("entries", [DECISIVE_TWICE, SIGNED_TILES, STRIPS_AND_TILES])
def test_a_tiff_that_readers_may_understand_differently_is_unreadable(entries):
    body = b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in entries)
    with pytest.raises(UnreadableImage, match=r"several values|occurs twice|both strips"):
        decode_image(b"II*\x00" + struct.pack("<IH", 8, len(entries)) + body + bytes(4))


def test_a_tiff_with_fewer_strips_than_rows_is_unreadable():
    entries = {256: 8, 257: 800, 258: 8, 262: 1, 273: 8, 278: 8, 279: 64}
    with pytest.raises(UnreadableImage, match="ends before"):
        decode_image(tiff(entries, bytes(64)))


def test_a_tiff_of_floating_point_numbers_is_unsupported():
    data = encoded(Image.fromarray(np.zeros((4, 4), dtype=np.float32)), "TIFF")
    with pytest.raises(UnsupportedImage, match="pixel format"):
        decode_image(data)


def test_the_largest_allowed_jpeg_at_reduced_scale_takes_little_memory():
    data = encoded(Image.new("L", (8000, 5000), 90), "JPEG")
    assert peak_memory_mb(data, min_side_px=336) < 90


def test_two_hundred_hostile_images_leave_memory_bounded():
    tracked = resource.RUSAGE_SELF
    before = resource.getrusage(tracked).ru_maxrss
    for seed in range(200):
        decodes_or_is_refused(mutated(100_000 + seed))
        decodes_or_is_refused(png(9_999, 4_000, rows=bytes(1000)) if seed % 50 == 0 else b"\xff")
    grown_mb = (resource.getrusage(tracked).ru_maxrss - before) / 1024
    assert grown_mb < 400


def test_small_limits_hold_for_small_files_too():
    with pytest.raises(PayloadTooLarge):
        decode_image(SEEDS[0], limits=ImageLimits(max_bytes=10))
