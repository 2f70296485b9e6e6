"""Samples become the colours that the file's attributes say."""

import io
import os

import numpy as np
import pytest
from dicom_files import as_bytes, encapsulate, make_dataset
from image_files import encoded, gradient
from PIL import Image, ImageCms

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("pydicom", reason="needs the extra clinic")

from pydicom import DataElement, Dataset, config, uid

from drdeploy.errors import UnsupportedImage
from drdeploy.grader.dicom.photographs import DicomFile
from drdeploy.grader.fundus.limits import ImageLimits

COLOURS = np.asarray(gradient())
GREYS = COLOURS[..., 0]


def pixels_of(dataset):
    (photograph,) = DicomFile.open(as_bytes(dataset)).decode_photographs()
    return np.asarray(Image.open(io.BytesIO(photograph.data)).convert("RGB"))


def largest_difference(found, expected):
    return np.abs(found.astype(int) - expected.astype(int)).max()


def test_planes_of_colours_are_put_together():
    planar = make_dataset(COLOURS, PlanarConfiguration=1)
    planar.PixelData = np.moveaxis(COLOURS, 2, 0).tobytes()
    assert (pixels_of(planar) == COLOURS).all()


def test_16_bits_a_colour_become_8():
    assert (pixels_of(make_dataset(COLOURS.astype(np.uint16) * 257)) == COLOURS).all()


def test_luminance_and_colour_differences_become_colours():
    ybr = np.asarray(Image.fromarray(COLOURS).convert("YCbCr"))
    assert largest_difference(pixels_of(make_dataset(ybr, photometric="YBR_FULL")), COLOURS) <= 3
    halved = make_dataset(ybr, photometric="YBR_FULL_422")
    pairs = ybr.reshape(len(ybr), -1, 2, 3)
    shared = pairs[..., 1:].mean(axis=2).astype(np.uint8)
    halved.PixelData = np.concatenate([pairs[..., 0], shared], axis=2).tobytes()
    assert largest_difference(pixels_of(halved), COLOURS) <= 8


def test_black_may_be_the_largest_value():
    found = pixels_of(make_dataset(GREYS, photometric="MONOCHROME1"))
    assert (found[..., 1] == 255 - GREYS).all()


def test_a_negative_rescale_turns_light_into_dark():
    rescaled = make_dataset(GREYS, RescaleSlope=-1, RescaleIntercept=255)
    assert (pixels_of(rescaled)[..., 0] == 255 - GREYS).all()


def test_signed_samples_are_scaled_from_their_least_value():
    signed = (GREYS.astype(np.int16) - 128) * 256
    assert largest_difference(pixels_of(make_dataset(signed))[..., 0], GREYS) <= 1


def test_a_window_says_what_is_black_and_what_is_white():
    deep = GREYS.astype(np.uint16) + 1000
    windowed = make_dataset(deep, bits=12, WindowCenter=[1128, 9], WindowWidth=[256, 9])
    assert largest_difference(pixels_of(windowed)[..., 0], GREYS) <= 1
    del windowed.WindowCenter, windowed.WindowWidth
    assert pixels_of(windowed)[..., 0].max() < 80


def test_bits_beside_the_stored_ones_are_dropped():
    overlaid = GREYS.astype(np.uint16) | 0x8000
    assert (pixels_of(make_dataset(overlaid, bits=8, HighBit=7))[..., 0] == GREYS).all()


@pytest.mark.parametrize("bits", [8, 16])
def test_a_palette_is_looked_up(bits):
    picture = Image.fromarray(COLOURS).quantize(200)
    table = np.zeros((256, 3), np.uint8)
    listed = np.array(picture.getpalette(), np.uint8).reshape(-1, 3)
    table[: len(listed)] = listed
    dataset = make_dataset(np.asarray(picture), photometric="PALETTE COLOR")
    for channel, name in enumerate(("Red", "Green", "Blue")):
        entries = table[:, channel].astype(np.uint16) * 257 if bits == 16 else table[:, channel]
        setattr(dataset, f"{name}PaletteColorLookupTableDescriptor", [256, 0, bits])
        setattr(dataset, f"{name}PaletteColorLookupTableData", entries.tobytes())
    assert (pixels_of(dataset) == np.asarray(picture.convert("RGB"))).all()


def test_the_srgb_profile_changes_nothing_and_a_jpeg_stays_as_it_is():
    jpeg = encoded(gradient(), "JPEG")
    dataset = make_dataset(COLOURS, photometric="YBR_FULL_422")
    dataset.ICCProfile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    wrapped = as_bytes(encapsulate(dataset, [jpeg], uid.JPEGBaseline8Bit))
    (photograph,) = DicomFile.open(wrapped).decode_photographs()
    assert photograph.data.startswith(b"\xff\xd8\xff")
    assert photograph.note == ""


def test_another_profile_is_applied_and_a_damaged_one_is_noted():
    # sRGB with its red and blue primaries exchanged: whoever applies it exchanges the channels.
    profile = bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes())
    red, blue = profile.index(b"rXYZ"), profile.index(b"bXYZ")
    profile[red : red + 4], profile[blue : blue + 4] = b"bXYZ", b"rXYZ"
    exchanged = pixels_of(make_dataset(COLOURS, ICCProfile=bytes(profile)))
    assert largest_difference(exchanged, COLOURS[..., ::-1]) <= 3
    damaged = as_bytes(make_dataset(COLOURS, ICCProfile=b"no profile"))
    (photograph,) = DicomFile.open(damaged).decode_photographs()
    assert "cannot be read and was not applied" in photograph.note


def test_each_frame_is_a_photograph():
    frames = np.stack([COLOURS, COLOURS[::-1]])
    dataset = make_dataset(COLOURS, NumberOfFrames=2)
    dataset.PixelData = frames.tobytes()
    found = list(DicomFile.open(as_bytes(dataset)).decode_photographs())
    assert [one.frame_number for one in found] == [1, 2]
    assert (np.asarray(Image.open(io.BytesIO(found[1].data))) == COLOURS[::-1]).all()


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"ImageLaterality": "R"}, "right"),
        ({"ImageLaterality": "", "Laterality": "R"}, "right"),
        ({"ImageLaterality": "L", "Laterality": "R"}, "left"),
        ({"ImageLaterality": "B"}, ""),
        ({"ImageLaterality": None}, ""),
    ],
)
def test_the_eye_is_that_of_the_image_else_that_of_the_series(fields, expected):
    assert DicomFile.open(as_bytes(make_dataset(GREYS, **fields))).laterality == expected


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"PixelAspectRatio": [2, 1]}, "not square"),
        ({"PixelSpacing": [0.01, 0.02]}, "not square"),
        ({"PhotometricInterpretation": "YBR_PARTIAL_420"}, "pixel format"),
        ({"PhotometricInterpretation": "RGB"}, "pixel format"),
        ({"BitsAllocated": 1, "BitsStored": 1, "HighBit": 0}, "pixel format"),
        ({"VOILUTFunction": "SIGMOID", "WindowCenter": 9, "WindowWidth": 9}, "SIGMOID"),
        ({"SOPClassUID": "1.2.840.10008.5.1.4.1.1.2"}, "its SOP class: CT Image Storage"),
        ({"SOPClassUID": "1.2.3"}, "not in the DICOM standard"),
        ({"NumberOfFrames": 5000}, "5000 frames"),
    ],
)
def test_what_photographs_do_not_have_is_refused_with_the_reason(fields, reason):
    with pytest.raises(UnsupportedImage, match=reason):
        pixels_of(make_dataset(GREYS, **fields))


def test_a_sequence_of_tables_is_followed():
    table = Dataset()
    table.LUTDescriptor, table.LUTData = [256, 0, 8], np.arange(255, -1, -1, dtype="<u2").tobytes()
    inverted = make_dataset(GREYS, ModalityLUTSequence=[table])
    assert (pixels_of(inverted)[..., 0] == 255 - GREYS).all()


@pytest.mark.parametrize(
    "elements",
    [
        {"WindowCenter": "nan", "WindowWidth": "10"},
        {"WindowCenter": "1", "WindowWidth": "1e400"},
        {"RescaleSlope": "inf", "RescaleIntercept": "0"},
    ],
)
def test_numbers_that_are_not_finite_are_refused(elements):
    dataset = make_dataset(GREYS)
    for name, text in elements.items():
        dataset.add(DataElement(name, "DS", text, validation_mode=config.IGNORE))
    with pytest.raises(UnsupportedImage, match="not a finite number"):
        pixels_of(dataset)


def test_a_grey_jpeg_is_not_turned_by_its_exif_data():
    exif = Image.Exif()
    exif[0x0112] = 3  # upside down
    jpeg = io.BytesIO()
    Image.fromarray(GREYS).save(jpeg, "JPEG", quality=95, exif=exif)
    dataset = make_dataset(GREYS, photometric="MONOCHROME2")
    found = pixels_of(encapsulate(dataset, [jpeg.getvalue()], uid.JPEGBaseline8Bit))
    assert largest_difference(found[..., 0], GREYS) <= 8


def test_a_compressed_frame_may_be_larger_than_a_request():
    side_px = 3000
    noise = np.random.default_rng(0).integers(0, 256, (side_px, side_px), dtype=np.uint8)
    jpeg = encoded(Image.fromarray(noise), "JPEG", quality=95)
    assert len(jpeg) > ImageLimits().max_bytes
    dataset = make_dataset(noise, photometric="MONOCHROME2")
    found = pixels_of(encapsulate(dataset, [jpeg], uid.JPEGBaseline8Bit))
    assert found.shape == (side_px, side_px, 3)


def test_without_a_highest_bit_the_stored_bits_are_the_lowest():
    dataset = make_dataset(GREYS)
    del dataset.HighBit
    assert (pixels_of(dataset)[..., 0] == GREYS).all()
