"""Files that lie, bombs and scrambled pixels are refused quickly, and no patient is named."""

import io
import logging
import os
import struct
import warnings
import zlib
from contextlib import suppress

import numpy as np
import pytest
from dicom_files import PATIENT, as_bytes, encapsulate, make_dataset
from image_files import encoded, gradient, jpeg_claiming

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("pydicom", reason="needs the extra clinic")

import jpeg_ls
import openjpeg
from pydicom import Dataset, uid

from drdeploy.errors import PayloadTooLarge, RequestRefused, UnreadableImage, UnsupportedImage
from drdeploy.grader.dicom import decoding
from drdeploy.grader.dicom.photographs import DicomFile
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS, ImageLimits

COLOURS = np.asarray(gradient())
SMALL = ImageLimits(max_bytes=1_000_000)


def decode(data, limits=LOCAL_FILE_LIMITS):
    return list(DicomFile.open(data, limits=limits).decode_photographs())


def native():
    return as_bytes(make_dataset(COLOURS))


def jpeg(frame=None, **fields):
    dataset = make_dataset(COLOURS, photometric="YBR_FULL_422", **fields)
    return as_bytes(
        encapsulate(dataset, [frame or encoded(gradient(), "JPEG")], uid.JPEGBaseline8Bit)
    )


def jpeg_2000(change=lambda frame: frame, **fields):
    frame = change(bytearray(openjpeg.encode(COLOURS)))
    return as_bytes(encapsulate(make_dataset(COLOURS, **fields), [bytes(frame)], uid.JPEG2000))


def run_lengths(frame=None):
    dataset = make_dataset(COLOURS)
    dataset.compress(uid.RLELossless, encoding_plugin="pydicom")
    return as_bytes(dataset if frame is None else encapsulate(dataset, [frame], uid.RLELossless))


def jpeg_of_16_bits(frame):
    return as_bytes(
        encapsulate(make_dataset(COLOURS[..., 0].astype(np.uint16)), [frame], uid.JPEGLossless)
    )


def deflated(body):
    data = as_bytes(make_dataset(COLOURS))
    dataset = make_dataset(COLOURS)
    dataset.file_meta.TransferSyntaxUID = uid.DeflatedExplicitVRLittleEndian
    written = as_bytes(dataset)
    end = 144 + struct.unpack("<I", written[140:144])[0]
    packer = zlib.compressobj(wbits=-15)
    explicit_end = 144 + struct.unpack("<I", data[140:144])[0]
    content = data[explicit_end:] if body is None else body
    return written[:end] + packer.compress(content) + packer.flush()


@pytest.mark.parametrize("make", [native, jpeg, jpeg_2000, run_lengths, lambda: deflated(None)])
def test_a_file_that_is_cut_off_anywhere_is_refused(make):
    whole = make()
    assert len(decode(whole)) == 1
    for end in np.linspace(0, len(whole) - 20, 60).astype(int).tolist():
        with pytest.raises(RequestRefused):
            decode(whole[:end])


def test_a_size_beyond_the_limits_is_refused_before_anything_is_decoded(monkeypatch):
    monkeypatch.setattr(decoding, "generate_frames", None)
    for data in (
        as_bytes(make_dataset(COLOURS, Rows=30_000)),
        jpeg(Rows=30_000, Columns=30_000),
        jpeg_2000(Columns=30_000),
    ):
        with pytest.raises(PayloadTooLarge, match="at most 10000 are allowed on a side"):
            decode(data)


def test_a_compressed_frame_of_another_size_is_refused():
    def lengthen(frame):
        struct.pack_into(">I", frame, 12, 30_000)
        return frame

    for data in (jpeg(jpeg_claiming(30_000, 30_000)), jpeg(Rows=60), jpeg_2000(lengthen)):
        with pytest.raises(UnreadableImage, match="give different image sizes"):
            decode(data)


def test_tiles_of_one_pixel_are_refused():
    def cut_into_tiles(frame):
        struct.pack_into(">II", frame, 24, 1, 1)
        return frame

    with pytest.raises(UnreadableImage, match="that no photograph has"):
        decode(jpeg_2000(cut_into_tiles))


@pytest.mark.parametrize("syntax", [
    uid.JPEGBaseline8Bit, uid.JPEGLosslessSV1, uid.JPEGLSLossless, uid.JPEG2000, uid.HTJ2K,
    uid.RLELossless,
])  # fmt: skip
def test_scrambled_pixels_are_refused(syntax):
    noise = np.random.default_rng(1).bytes(5000)
    with pytest.raises(UnreadableImage, match="some vendors scramble pixels"):
        decode(as_bytes(encapsulate(make_dataset(COLOURS), [noise], syntax)))


def test_a_scrambled_codestream_is_refused_and_its_process_alone_ends():
    head = bytes.fromhex("ffd8ffc3000b1000400060010100")
    with pytest.raises(UnreadableImage, match="damaged"):
        decode(jpeg_of_16_bits(head + np.random.default_rng(2).bytes(3000) + b"\xff\xd9"))
    damaged = bytearray(jpeg_ls.encode_array(COLOURS[..., 0]))
    damaged[60:90] = bytes(30)
    dataset = encapsulate(make_dataset(COLOURS[..., 0]), [bytes(damaged)], uid.JPEGLSLossless)
    with pytest.raises(UnreadableImage, match="damaged"):
        decode(as_bytes(dataset))


def test_what_inflates_beyond_the_limit_is_refused():
    with pytest.raises(PayloadTooLarge, match="decompresses to more than 1000000 bytes"):
        decode(deflated(bytes(2_000_000)), SMALL)


def test_run_lengths_beyond_the_picture_are_not_decoded():
    segment = b"\x81\x55" * 200_000  # 26 MB of a plane of 6 kB
    offsets = (64, 64 + len(segment), 64 + 2 * len(segment))
    header = struct.pack("<4I", 3, *offsets).ljust(64, b"\0")
    (photograph,) = decode(run_lengths(header + 3 * segment))
    assert len(photograph.data) < 100_000


def test_a_flood_of_elements_is_refused():
    element = struct.pack("<HH2sH", 0x0009, 0x1001, b"LO", 0)
    data = native()
    end = 144 + struct.unpack("<I", data[140:144])[0]
    with pytest.raises(UnreadableImage, match="too many data elements"):
        decode(data[:end] + element * 300_000 + data[end:])


def test_deep_sequences_are_refused():
    data = native()
    end = 144 + struct.unpack("<I", data[140:144])[0]
    opened = struct.pack("<HH2sHI", 0x0008, 0x1140, b"SQ", 0, 0xFFFFFFFF)
    item = struct.pack("<HHI", 0xFFFE, 0xE000, 0xFFFFFFFF)
    with pytest.raises(RequestRefused):
        decode(data[:end] + (opened + item) * 20_000)


def test_a_palette_of_segments_is_refused():
    dataset = make_dataset(COLOURS[..., 0], photometric="PALETTE COLOR")
    dataset.SegmentedRedPaletteColorLookupTableData = bytes(6)
    with pytest.raises(UnsupportedImage, match="Segmented palettes"):
        decode(as_bytes(dataset))


def test_no_message_warning_or_log_names_the_patient(caplog):
    caplog.set_level(logging.DEBUG)
    sound = make_dataset(COLOURS)
    sound.add_new("StudyDate", "DA", PATIENT)
    nested = Dataset()
    nested.PatientName = PATIENT
    sound.ReferencedPatientSequence = [nested]
    sound.ReferringPhysicianName = PATIENT + "=" * 9
    files = [as_bytes(sound)]
    files += [files[0].replace(b"RGB ", PATIENT[:4].encode())]
    files += [as_bytes(make_dataset(COLOURS, SOPClassUID=PATIENT)), files[0][:900]]
    said = []
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for data in files:
            try:
                decode(data)
            except RequestRefused as err:
                said.append(str(err))
    said += [str(one.message) for one in caught] + [caplog.text]
    assert len(said) >= 3
    assert not any(part in text for text in said for part in PATIENT.split("^"))


def test_bytes_changed_at_random_are_decoded_or_refused():
    chance = np.random.default_rng(3)
    sources = [native(), jpeg(), jpeg_2000(), run_lengths()]
    for number in range(120):
        data = bytearray(sources[number % len(sources)])
        for place in chance.integers(132, min(len(data), 3000), 6):
            data[place] = chance.integers(256)
        with suppress(RequestRefused):
            decode(bytes(data))


def put_before_pixels(element):
    data = native()
    place = data.index(b"\xe0\x7f\x10\x00")
    return data[:place] + element + data[place:]


def element_of(group, number, kind, value):
    head = struct.pack("<HH", group, number) + kind
    long = kind in {b"SQ", b"UN", b"OB"}
    return (
        head
        + (b"\0\0" + struct.pack("<I", len(value)) if long else struct.pack("<H", len(value)))
        + value
    )


def test_an_attribute_of_an_unknown_kind_is_refused_by_name():
    data = put_before_pixels(element_of(0x0028, 0x0301, b"C\xd3", b"YES "))
    with pytest.raises(UnreadableImage, match="BurnedInAnnotation is damaged"):
        decode(data)


def test_a_sequence_instead_of_a_text_is_refused_by_name():
    """As text, it would contain its private elements, and a damaged one failed at any later use."""
    private = element_of(0x3239, 0x495C, b"SO", b"abcd")
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(private)) + private
    data = put_before_pixels(element_of(0x0028, 0x0301, b"SQ", item))
    with pytest.raises(UnreadableImage, match="BurnedInAnnotation is a sequence"):
        DicomFile.open(data)


def test_an_attribute_that_nobody_reads_may_be_damaged():
    data = put_before_pixels(element_of(0x0040, 0x0301, b"C\xd3", b"YES "))
    assert len(decode(data)) == 1
    file = DicomFile.open(data)
    assert [str(element.value) for element in file.dataset]


def test_a_vendors_attribute_may_be_anything():
    data = put_before_pixels(element_of(0x0029, 0x1010, b"SQ", bytes(400_000)))
    assert len(decode(data)) == 1


def test_an_icon_of_hundreds_of_kilobytes_does_not_keep_a_photograph_from_being_read():
    pixels = element_of(0x7FE0, 0x0010, b"OB", bytes(300_000))
    item = struct.pack("<HHI", 0xFFFE, 0xE000, len(pixels)) + pixels
    data = put_before_pixels(element_of(0x0088, 0x0200, b"SQ", item))
    assert len(decode(data)) == 1


@pytest.mark.parametrize("depth", [0, 1])
def test_a_sequence_of_many_items_is_refused_before_it_becomes_objects(depth):
    items = struct.pack("<HHI", 0xFFFE, 0xE000, 0) * 40_000
    value = element_of(0x0028, 0x3000, b"SQ", items)
    if depth:
        item = struct.pack("<HHI", 0xFFFE, 0xE000, len(value)) + value
        end = struct.pack("<HHI", 0xFFFE, 0xE0DD, 0)
        value = struct.pack("<HH", 0x0028, 0x3010) + b"SQ\0\0\xff\xff\xff\xff" + item + end
    with pytest.raises(UnreadableImage, match="ModalityLUTSequence has 320000 bytes"):
        decode(put_before_pixels(value))


def test_a_side_of_many_numbers_is_refused_before_it_becomes_objects():
    data = native().replace(
        struct.pack("<HH", 0x0020, 0x0062) + b"CS\x02\x00L ",
        struct.pack("<HH", 0x0020, 0x0062)
        + b"UN\0\0"
        + struct.pack("<I", 400_000)
        + bytes(400_000),
    )
    assert len(data) > 400_000
    assert DicomFile.open(data).laterality == ""


def test_a_file_without_its_mark_is_said_to_be_none():
    with pytest.raises(UnsupportedImage, match="lacks the letters DICM"):
        decode(io.BytesIO(b"\xff\xd8\xff").getvalue())


@pytest.mark.parametrize("name", ["NumberOfFrames", "Rows"])
def test_a_number_of_thousands_of_digits_is_refused_and_not_quoted(name):
    dataset = make_dataset(COLOURS)
    number = {"NumberOfFrames": 0x0008, "Rows": 0x0010}[name]
    dataset.pop(name, None)
    element = element_of(0x0028, number, b"LO", b"9" * 4000)
    data = as_bytes(dataset)
    place = data.index(struct.pack("<HH", 0x0028, 0x0011))
    with pytest.raises(UnreadableImage) as refused:
        decode(data[:place] + element + data[place:])
    assert len(str(refused.value)) < 500


def test_samples_of_another_number_than_the_header_says_are_not_read(tmp_path):
    file = tmp_path / "samples"
    with file.open("wb") as sparse:
        sparse.truncate(1 << 40)
    with pytest.raises(UnreadableImage, match="give different image sizes"):
        decoding._read_samples_of_process(file, 100)
