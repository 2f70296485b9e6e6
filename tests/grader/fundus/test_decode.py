"""Every kind of file that a camera or an image editor writes becomes the same upright RGB."""

import io
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from image_files import encoded, gradient
from PIL import Image

from drdeploy.errors import EmptyBody, PayloadTooLarge, UnreadableImage, UnsupportedImage
from drdeploy.grader.fundus.decode import ImageLimits, decode

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
    assert_close(decode(encoded(gradient(), image_format, **options)), gradient(), tolerance)


def test_full_decode_is_exactly_what_pillow_decodes():
    data = encoded(gradient(), "JPEG", quality=90)
    np.testing.assert_array_equal(decode(data), np.asarray(Image.open(io.BytesIO(data))))


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF"])
def test_grey_becomes_three_equal_channels(image_format):
    pixels = decode(encoded(gradient().convert("L"), image_format))
    assert pixels.shape == (64, 96, 3)
    assert (pixels == pixels[..., :1]).all()


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_sixteen_bit_grey_is_scaled_and_not_clipped(image_format):
    levels = np.linspace(0, 65535, 256, dtype=np.uint16).reshape(16, 16)
    pixels = decode(encoded(Image.fromarray(levels), image_format))
    np.testing.assert_array_equal(pixels[..., 0], levels >> 8)


def test_sixteen_bit_colour_is_scaled_and_not_clipped():
    pixels = decode(_png_of_16_bit_rgb([(0, 256, 65535), (32768, 4096, 511)]))
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
    pixels = decode(encoded(image, image_format))
    np.testing.assert_array_equal(pixels, [[(200, 100, 50), (0, 0, 0)]])


def test_half_transparency_is_half_as_bright():
    pixels = decode(encoded(Image.new("RGBA", (4, 4), (200, 100, 50, 128)), "PNG"))
    np.testing.assert_allclose(pixels[0, 0], (100, 50, 25), atol=1)


def test_a_transparent_palette_entry_becomes_black():
    image = gradient().quantize(8)
    data = encoded(image, "PNG", transparency=image.getpixel((0, 0)))
    assert decode(data)[0, 0].tolist() == [0, 0, 0]


@pytest.mark.parametrize("image_format", ["PNG", "TIFF"])
def test_a_palette_is_looked_up(image_format):
    image = gradient().quantize(64)
    assert_close(decode(encoded(image, image_format)), image, 0.0)


def test_black_and_white_becomes_black_and_white():
    pixels = decode(encoded(gradient().convert("1"), "PNG"))
    assert set(np.unique(pixels)) == {0, 255}


@pytest.mark.parametrize("image_format", ["JPEG", "TIFF"])
def test_cmyk_is_not_shown_as_its_negative(image_format):
    options = {"quality": 95} if image_format == "JPEG" else {}
    image = gradient().convert("CMYK")
    assert_close(decode(encoded(image, image_format, **options)), image, 3.0)


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
    assert_close(decode(encoded(stored, image_format, exif=exif)), gradient(), 3.0)


def test_a_broken_exif_block_does_not_matter():
    data = encoded(gradient(), "JPEG", exif=b"Exif\x00\x00II*\x00\xff\xff\xff\xff")
    assert decode(data).shape == (64, 96, 3)


def test_only_the_first_picture_of_a_tiff_counts():
    second = Image.new("RGB", (5, 5))
    data = encoded(gradient(), "TIFF", save_all=True, append_images=[second])
    assert_close(decode(data), gradient(), 0.0)


def test_only_the_first_picture_of_an_animated_png_counts():
    data = encoded(gradient(), "PNG", save_all=True, append_images=[Image.new("RGB", (96, 64))])
    assert_close(decode(data), gradient(), 0.0)


def test_bytes_after_the_end_of_a_jpeg_do_not_matter():
    data = encoded(gradient(), "JPEG")
    np.testing.assert_array_equal(decode(data + b"padding"), decode(data))


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
    assert decode(data, min_side_px=min_side_px).shape == (*shape, 3)


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "CMYK", "I;16"])
def test_a_reduced_picture_is_the_mean_of_the_full_one(mode):
    image = gradient(256, 256)
    image = image.quantize(256) if mode == "P" else image.convert("L" if mode == "I;16" else mode)
    if mode == "I;16":
        image = Image.fromarray(np.asarray(image).astype(np.uint16) << 8)
    data = encoded(image, "TIFF" if mode == "CMYK" else "PNG")
    means = decode(data).reshape(64, 4, 64, 4, 3).mean(axis=(1, 3))
    np.testing.assert_allclose(decode(data, min_side_px=64), means, atol=1.5)


def test_an_empty_body_is_refused_as_empty():
    with pytest.raises(EmptyBody, match="no image"):
        decode(b"")


@pytest.mark.parametrize("image_format", ["BMP", "GIF", "WEBP", "PPM", "ICO", "PDF"])
def test_other_formats_are_unsupported(image_format):
    with pytest.raises(UnsupportedImage, match="not a JPEG, PNG or TIFF"):
        decode(encoded(gradient(), image_format))


def test_a_photograph_of_a_cat_in_a_bitmap_is_unsupported(shared):
    with pytest.raises(UnsupportedImage):
        decode((shared / "data/not_fundus/cat.bmp").read_bytes())


@pytest.mark.parametrize("body", [b"\0", b"hello", b"<svg/>", b"\xff\xd8", b"\x89PNG", b"II*"])
def test_what_is_no_image_is_unsupported(body):
    with pytest.raises(UnsupportedImage):
        decode(body)


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (ImageLimits(max_bytes=100), "bytes, with at most 100 allowed"),
        (ImageLimits(max_pixels=6143), "6144 pixels, with at most 6143 allowed"),
        (ImageLimits(max_side_px=95), "96 x 64 pixels, with at most 95 allowed on a side"),
    ],
)
def test_beyond_a_limit_is_too_large(limits, message):
    with pytest.raises(PayloadTooLarge, match=message):
        decode(encoded(gradient(), "PNG"), limits=limits)


def test_exactly_the_limits_is_allowed():
    data = encoded(gradient(), "PNG")
    limits = ImageLimits(max_bytes=len(data), max_pixels=96 * 64, max_side_px=96)
    assert decode(data, limits=limits).shape == (64, 96, 3)


@pytest.mark.parametrize("image_format", ["JPEG", "PNG", "TIFF"])
@pytest.mark.parametrize("kept", [0.2, 0.5, 0.9, 0.999])
def test_a_truncated_file_is_unreadable(image_format, kept):
    data = encoded(gradient(), image_format)
    with pytest.raises(UnreadableImage):
        decode(data[: int(len(data) * kept)])


def test_a_refusal_is_one_sentence_without_a_path():
    with pytest.raises(UnreadableImage) as refusal:
        decode(encoded(gradient(), "JPEG")[:-2])
    assert refusal.value.sentence == "The JPEG ends before its image does; send it again."


def test_threads_do_not_disturb_each_other():
    files = [
        encoded(gradient(200 + 8 * n, 160), f) for n in range(8) for f in ("JPEG", "PNG", "TIFF")
    ]
    expected = [decode(data) for data in files]
    with ThreadPoolExecutor(8) as pool:
        for _ in range(3):
            for pixels, truth in zip(pool.map(decode, files), expected, strict=True):
                np.testing.assert_array_equal(pixels, truth)


def test_decoding_a_jpeg_imports_no_other_plugin():
    program = (
        "import sys; from drdeploy.grader.fundus.decode import decode;"
        "decode(sys.stdin.buffer.read());"
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
