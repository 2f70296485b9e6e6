"""Every kind of file that a camera or an image editor writes becomes the same upright RGB."""

import io
import re
import struct
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from image_files import encoded, gradient
from PIL import Image, TiffImagePlugin

from drdeploy.errors import EmptyBody, PayloadTooLarge, UnreadableImage, UnsupportedImage
from drdeploy.grader.fundus.decode import ImageLimits, decode_image, read_and_check_header

ORIENTATION = 274


def assert_close(pixels, image, tolerance):
    expected = np.asarray(image.convert("RGB"), dtype=int)
    assert pixels.shape == expected.shape
    assert np.abs(pixels - expected).mean() <= tolerance


@pytest.mark.parametrize(
    ("image_format", "options", "tolerance"),
    [
        ("JPEG", {"quality": 95}, 2.0),
        ("JPEG", {"quality": 95, "progressive": True}, 2.0),
        ("PNG", {}, 0.0),
        ("TIFF", {}, 0.0),
        ("TIFF", {"compression": "tiff_lzw"}, 0.0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0.0),
        ("TIFF", {"compression": "packbits"}, 0.0),
        ("TIFF", {"compression": "jpeg", "quality": 95}, 2.0),
    ],
)
def test_the_picture_survives_every_format(image_format, options, tolerance):
    assert_close(decode_image(encoded(gradient(), image_format, **options)), gradient(), tolerance)


def test_full_decode_is_exactly_what_pillow_decodes():
    data = encoded(gradient(), "JPEG", quality=90)
    np.testing.assert_array_equal(decode_image(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF"])
def test_grey_becomes_three_equal_channels(image_format):
    pixels = decode_image(encoded(gradient().convert("L"), image_format))
    assert pixels.shape == (64, 96, 3)
    assert (pixels == pixels[..., :1]).all()


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(image_format):
    levels = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    pixels = decode_image(encoded(Image.fromarray(levels), image_format))
    np.testing.assert_array_equal(pixels[..., 0], levels >> 8)


def test_sixteen_bit_colour_is_scaled_and_not_clipped():
    pixels = decode_image(_png_of_16_bit_rgb([(0, 256, 65535), (32768, 4096, 511)]))
    np.testing.assert_array_equal(pixels, [[(0, 1, 255), (128, 16, 1)]])


def _png_of_16_bit_rgb(row):
    import struct
    import zlib

    from image_files import png_chunk

    header = struct.pack(">IIBBBBB", len(row), 1, 16, 2, 0, 0, 0)
    samples = struct.pack(f">{3 * len(row)}H", *(sample for pixel in row for sample in pixel))
    body = png_chunk(b"IDAT", zlib.compress(b"\0" + samples))
    return b"\x89PNG\r\n\x1a\n" + png_chunk(b"IHDR", header) + body + png_chunk(b"IEND", b"")


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_transparency_is_laid_on_black(image_format):
    image = Image.new("RGBA", (2, 1), (200, 100, 50, 255))
    image.putpixel((1, 0), (200, 100, 50, 0))
    pixels = decode_image(encoded(image, image_format))
    np.testing.assert_array_equal(pixels, [[(200, 100, 50), (0, 0, 0)]])


def test_half_transparency_is_half_as_bright():
    pixels = decode_image(encoded(Image.new("RGBA", (4, 4), (200, 100, 50, 128)), "PNG"))
    np.testing.assert_allclose(pixels[0, 0], (100, 50, 25), atol=1)


def test_a_transparent_palette_entry_becomes_black():
    image = gradient().quantize(8)
    data = encoded(image, "PNG", transparency=image.getpixel((0, 0)))
    assert decode_image(data)[0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_a_palette_is_looked_up(image_format):
    image = gradient().quantize(64)
    assert_close(decode_image(encoded(image, image_format)), image, 0.0)


def test_black_and_white_becomes_black_and_white():
    pixels = decode_image(encoded(gradient().convert("1"), "PNG"))
    assert set(np.unique(pixels)) == {0, 255}


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_cmyk_is_not_shown_as_its_negative(image_format):
    options = {"quality": 95} if image_format == "JPEG" else {}
    image = gradient().convert("CMYK")
    assert_close(decode_image(encoded(image, image_format, **options)), image, 3.0)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_followed(image_format, orientation):
    upright = {1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: 8, 7: 7, 8: 6}[orientation]
    turn = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_270,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_90,
    }
    stored = gradient() if orientation == 1 else gradient().transpose(turn[upright])
    exif = Image.Exif()
    exif[ORIENTATION] = orientation
    assert_close(decode_image(encoded(stored, image_format, exif=exif)), gradient(), 3.0)


def test_a_broken_exif_block_does_not_matter():
    data = encoded(gradient(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert decode_image(data).shape == (64, 96, 3)


SECOND = Image.new("RGB", (96, 64))


@pytest.mark.parametrize(
    ("image_format", "data"),
    [
        ("TIFF", encoded(gradient(), "TIFF", save_all=True, append_images=[SECOND])),
        ("PNG", encoded(gradient(), "PNG", save_all=True, append_images=[SECOND])),
        ("JPEG", encoded(gradient(), "MPO", save_all=True, append_images=[SECOND])),
        ("JPEG", encoded(gradient(), "JPEG") + bytes(3) + encoded(SECOND, "JPEG")),
        ("PNG", encoded(gradient(), "PNG") + encoded(SECOND, "PNG")),
    ],
)
def test_a_file_with_more_than_one_picture_is_refused(image_format, data):
    with pytest.raises(UnsupportedImage, match=f"The {image_format} holds more than one picture"):
        decode_image(data)


def tiff_pages(*kinds, first_tag=254):
    """A TIFF with a page for each kind, marked by the tag of the kind of subfile."""
    pages = [Image.new("RGB", (8, 8), (kind, 0, 0)) for kind in kinds]
    stream = io.BytesIO()  # Python 3.13 closes the writer later, which then needs the stream
    with TiffImagePlugin.AppendingTiffWriter(stream) as writer:
        for page, kind in zip(pages, kinds, strict=True):
            page.save(writer, "TIFF", tiffinfo={first_tag: kind})
            writer.newFrame()
    return stream.getvalue()


@pytest.mark.parametrize("kinds", [(0,), (2,), (0, 1), (0, 1, 1, 4, 5)])
def test_smaller_copies_and_masks_behind_the_picture_do_not_matter(kinds):
    assert decode_image(tiff_pages(*kinds))[0, 0].tolist() == [kinds[0], 0, 0]


@pytest.mark.parametrize("kinds", [(0, 0), (2, 2), (0, 1, 2)])
def test_a_further_page_is_another_picture(kinds):
    with pytest.raises(UnsupportedImage, match="more than one picture"):
        decode_image(tiff_pages(*kinds))


@pytest.mark.parametrize(
    "pages", [tiff_pages(1), tiff_pages(1, 0), tiff_pages(4), tiff_pages(2, first_tag=255)]
)
def test_a_preview_is_not_graded_in_place_of_its_picture(pages):
    with pytest.raises(UnsupportedImage, match="marked as a smaller copy or a mask"):
        decode_image(pages)


def test_a_camera_raw_file_is_refused_as_one():
    stream = io.BytesIO()
    gradient().save(stream, "TIFF", tiffinfo={50706: b"\1\4\0\0"})
    with pytest.raises(UnsupportedImage, match="camera raw"):
        decode_image(stream.getvalue())


def mpo(second: bytes, *, kind: int = 0) -> bytes:
    """A JPEG whose index lists a second picture of the given kind."""
    first = encoded(gradient(), "JPEG")
    index_bytes = 4 + 8 + 2 + 12 + 4 + 32
    second_at = 2 + 4 + index_bytes + len(first) - 2 - (2 + 4 + 4)  # from the byte order mark
    entries = struct.pack(">IIIHH", 0x030000, len(first), 0, 0, 0)
    entries += struct.pack(">IIIHH", kind, len(second), second_at, 0, 0)
    index = b"MPF\0MM\0*" + struct.pack(">IHHHIII", 8, 1, 0xB002, 7, 32, 26, 0) + entries
    segment = b"\xff\xe2" + struct.pack(">H", 2 + len(index)) + index
    return first[:2] + segment + first[2:] + second


def with_mark(picture: bytes, mark: bytes) -> bytes:
    return picture[:2] + b"\xff\xe1" + struct.pack(">H", 2 + len(mark)) + mark + picture[2:]


@pytest.mark.parametrize(
    "data",
    [
        mpo(encoded(SECOND, "JPEG"), kind=0x010001),
        mpo(with_mark(encoded(SECOND, "JPEG"), b"urn:iso:std:iso:ts:21496:-1"), kind=0),
        mpo(b"", kind=0x020003),
    ],
    ids=["preview", "gain map", "second picture was cut off"],
)
def test_previews_and_maps_in_a_jpeg_do_not_matter(data):
    assert_close(decode_image(data), gradient(), 3.0)


@pytest.mark.parametrize("kind", [0, 0x020002, 0x020003])
def test_a_second_view_in_a_jpeg_is_refused(kind):
    with pytest.raises(UnsupportedImage, match="more than one picture"):
        decode_image(mpo(encoded(SECOND, "JPEG"), kind=kind))


def test_a_thumbnail_in_exif_does_not_matter():
    exif = Image.Exif()
    exif[ORIENTATION] = 1
    thumbnail = b"Exif\0\0" + exif.tobytes() + encoded(SECOND, "JPEG")
    assert_close(decode_image(encoded(gradient(), "JPEG", exif=thumbnail)), gradient(), 3.0)


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"quality": 30}]
)
@pytest.mark.parametrize("tail", [b"", b"\xff", b"\0" * 5])
def test_a_jpeg_that_lacks_only_its_end_marker_decodes_with_a_note(options, tail):
    data = encoded(gradient(), "JPEG", **options)
    cut = data[:-2] + tail
    np.testing.assert_array_equal(decode_image(cut), decode_image(data))
    assert (
        read_and_check_header(cut).note_on_missing_end_marker
        == "The JPEG lacks its end marker; its picture is complete."
    )
    assert read_and_check_header(data).note_on_missing_end_marker == ""


def test_a_jpeg_whose_compressed_data_end_with_a_zero_may_lack_its_end_marker():
    noise = np.random.default_rng(28).integers(0, 255, (8, 8), dtype=np.uint8)
    data = encoded(Image.fromarray(noise), "JPEG")
    assert data[-3] == 0
    np.testing.assert_array_equal(decode_image(data[:-2]), decode_image(data))


@pytest.mark.parametrize("end", [b"", b"\xff\xd9", bytes(4000)])
@pytest.mark.parametrize("options", [{}, {"restart_marker_rows": 1}, {"quality": 100}])
def test_a_jpeg_that_lacks_pixels_is_refused(options, end):
    data = encoded(gradient(), "JPEG", **options)
    for missing in (40, 100, len(data) // 4):
        with pytest.raises(UnreadableImage, match="The JPEG ends before its image does"):
            decode_image(data[:-missing] + end)


def test_a_progressive_jpeg_that_lacks_scans_is_refused():
    data = encoded(gradient(), "JPEG", progressive=True)
    last_scan = data.rindex(b"\xff\xda")
    for end in (b"", b"\xff\xd9"):
        with pytest.raises(UnreadableImage, match="The JPEG ends before its image does"):
            decode_image(data[:last_scan] + end)


def test_bytes_after_the_end_of_a_jpeg_do_not_matter():
    data = encoded(gradient(), "JPEG")
    np.testing.assert_array_equal(decode_image(data + b"padding"), decode_image(data))


@pytest.mark.parametrize(
    ("min_side_px", "shape"),
    [
        (None, (800, 1200)),
        (401, (800, 1200)),
        (400, (400, 600)),
        (101, (200, 300)),
        (100, (100, 150)),
        (1, (100, 150)),
    ],
)
@pytest.mark.parametrize("image_format", ["JPEG", "PNG"])
def test_the_shorter_side_keeps_at_least_what_was_asked_for(image_format, min_side_px, shape):
    data = encoded(gradient(1200, 800), image_format)
    assert decode_image(data, min_side_px=min_side_px).shape == (*shape, 3)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "I;16"])
def test_a_reduced_picture_is_the_mean_of_the_full_one(mode):
    image = gradient(256, 256)
    image = image.quantize(256) if mode == "P" else image.convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) << 8)
    data = encoded(image, "TIFF" if mode == "CMYK" else "PNG")
    means = decode_image(data).reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(decode_image(data, min_side_px=64), means, atol=1.5)


def test_an_empty_body_is_refused_as_empty():
    with pytest.raises(EmptyBody, match="no image"):
        decode_image(b"")


@pytest.mark.parametrize("image_format", ["BMP", "GIF", "WebP", "PPM", "ICO", "PDF"])
def test_other_formats_are_unsupported(image_format):
    with pytest.raises(
        UnsupportedImage, match=f"{image_format}.*, not a JPEG, PNG or TIFF"
    ) as refusal:
        decode_image(encoded(gradient(), image_format))
    assert refusal.value.remedy


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\0\0\0\x18ftypheic", "HEIC"),
        (b"\0\0\0\x18ftypavif", "AVIF"),
        (b"\0\0\0\x18ftypcrx ", "CR3 camera raw"),
        (b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (bytes(128) + b"DICM", "DICOM"),
        (b"II+\0\x08\0\0\0", "BigTIFF"),
    ],
)
def test_a_refusal_names_the_format(head, name):
    with pytest.raises(UnsupportedImage, match=f"in the format {name}"):
        decode_image(head + bytes(200))


@pytest.mark.parametrize(
    ("head", "reason"),
    [
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer.*git lfs pull"),
        (b"\n<!DOCTYPE HTML><html>404", "a web page.*download the file itself"),
        (b'<?xml version="1.0"?>\n<Error><Code>', "a server's error message.*download the file"),
        (b"PK\3\4", "an archive.*unpack it first"),
        (b"\x1f\x8b\x08", "an archive.*unpack it first"),
        (b'<?xml version="1.0"?>\n<svg>', "an SVG.*save the picture as a JPEG"),
        (encoded(gradient(), "PNG").replace(b"\r\n", b"\n"), "transfer in text mode.*binary data"),
        (bytes(200), "a failed copy.*copy the file again"),
    ],
)
def test_a_refusal_says_what_has_the_name_of_a_photograph(head, reason):
    with pytest.raises(UnsupportedImage) as refusal:
        decode_image(head)
    assert re.search(reason, refusal.value.sentence)


def test_a_photograph_of_a_cat_in_a_bitmap_is_unsupported(shared):
    with pytest.raises(UnsupportedImage):
        decode_image((shared / "data/not_fundus/cat.bmp").read_bytes())


@pytest.mark.parametrize("body", [b"\0", b"hello", b"<svg/>", b"\xff\xd8", b"\x89PNG", b"II*"])
def test_what_is_no_image_is_unsupported(body):
    with pytest.raises(UnsupportedImage):
        decode_image(body)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (ImageLimits(max_bytes=100), "bytes, but at most 100 are allowed"),
        (ImageLimits(max_pixels=6143), "6144 pixels, but at most 6143 are allowed"),
        (ImageLimits(max_side_px=95), "96 x 64 pixels, but at most 95 are allowed on a side"),
    ],
)
def test_beyond_a_limit_is_too_large(limits, message):
    with pytest.raises(PayloadTooLarge, match=message):
        decode_image(encoded(gradient(), "PNG"), limits=limits)


def test_exactly_the_limits_is_allowed():
    data = encoded(gradient(), "PNG")
    limits = ImageLimits(max_bytes=len(data), max_pixels=96 * 64, max_side_px=96)
    assert decode_image(data, limits=limits).shape == (64, 96, 3)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.99])
def test_a_truncated_file_is_unreadable(image_format, kept):
    data = encoded(gradient(), image_format)
    with pytest.raises(UnreadableImage):
        decode_image(data[: int(len(data) * kept)])


def test_a_refusal_is_one_sentence_without_a_path():
    with pytest.raises(UnreadableImage) as refusal:
        decode_image(encoded(gradient(), "JPEG")[:-9])
    assert refusal.value.sentence == "The JPEG ends before its image does; send the image again."


def test_threads_do_not_disturb_each_other():
    files = [
        encoded(gradient(200 + 8 * n, 160), f) for n in range(8) for f in ("JPEG", "PNG", "TIFF")
    ]
    expected = [decode_image(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for pixels, truth in zip(pool.map(decode_image, files), expected, strict=True):
                np.testing.assert_array_equal(pixels, truth)


def test_decoding_a_jpeg_imports_no_other_plugin():
    program = (
        "import sys; from drdeploy.grader.fundus.decode import decode_image;"
        "decode_image(sys.stdin.buffer.read());"
        "print(*sorted(m for m in sys.modules if m.endswith('ImagePlugin')))"
    )
    exif = Image.Exif()
    exif[ORIENTATION] = 6
    data = encoded(gradient(), "JPEG", exif=exif)
    done = subprocess.run(
        [sys.executable, "-c", program], input=data, capture_output=True, check=True
    )
    assert done.stdout.decode().split() == ["PIL.JpegImagePlugin"]


def test_importing_the_package_imports_neither_pillow_nor_numpy():
    program = (
        "import sys, drdeploy.grader.fundus; print('PIL' in sys.modules, 'numpy' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.decode().split() == ["False", "False"]
