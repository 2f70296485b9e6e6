"""Decode a frame of a DICOM file to the samples that its camera stored."""

from __future__ import annotations

import io
import math
import subprocess
import sys
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from drdeploy.end_of_process import run_child, temporary_folder
from drdeploy.errors import (
    RequestRefused,
    UnreadableImage,
    UnsupportedImage,
    turn_import_error_into_missing_extra,
)
from drdeploy.grader.dicom import opening
from drdeploy.grader.dicom.codestreams import (
    CodestreamSize,
    read_jpeg_2000_size,
    read_jpeg_size,
    scrambled_pixels_error,
)
from drdeploy.grader.fundus.decode import decode_image_of_header, read_and_check_header
from drdeploy.grader.fundus.formats.header import check_picture_size
from drdeploy.grader.fundus.formats.ifd import UPRIGHT
from drdeploy.grader.fundus.limits import ImageLimits

with turn_import_error_into_missing_extra("clinic", "A DICOM file"):
    import jpeg_ls
    import pydicom
    from openjpeg.utils import decode as decode_jpeg_2000
    from pydicom import uid
    from pydicom.encaps import generate_frames

if TYPE_CHECKING:
    from numpy.typing import NDArray

MAX_FRAMES = 500
"""The largest number of frames in a file.

An angiography has a few hundred frames; other files have a few.
"""

GDCM_TIMEOUT_S = 120
_LARGEST_NUMBER = 2**31 - 1
"""The largest whole number that DICOM allows as text (PS3.5, 6.2: IS); a damaged file may exceed
it."""
_RLE_HEADER_BYTES = 64
_LOSSLESS_FRAME = 0xC3


@dataclass(frozen=True)
class PixelFormat:
    """The checked attributes of the Image Pixel Module (PS3.3, C.7.6.3).

    Attributes:
        width_px: Columns.
        height_px: Rows.
        samples: Samples per pixel, 1 or 3.
        photometric: Photometric interpretation.
        bits_allocated: 8 or 16.
        bits_stored: How many of the allocated bits hold the sample.
        high_bit: The position of the highest of the stored bits.
        is_signed: Whether samples are signed numbers (in two's complement).
        is_planar: Whether all samples of one colour come before all samples of the next.
        frames: Number of frames.
        syntax: Transfer syntax of the pixels.
    """

    width_px: int
    height_px: int
    samples: int
    photometric: str
    bits_allocated: int
    bits_stored: int
    high_bit: int
    is_signed: bool
    is_planar: bool
    frames: int
    syntax: uid.UID

    @property
    def is_subsampled(self) -> bool:
        """Whether the pixels are uncompressed, and two neighbours share one colour (4:2:2)."""
        return self.photometric == "YBR_FULL_422" and self.syntax in opening.NATIVE

    @property
    def frame_bytes(self) -> int:
        """Length of an uncompressed frame in bytes."""
        samples = 2 if self.is_subsampled else self.samples
        return self.width_px * self.height_px * samples * self.bits_allocated // 8

    @property
    def codestream_photometric(self) -> str:
        """The colour space of the decoded samples. Some decoders convert the pixels to RGB."""
        # libjpeg turns every JPEG of 8 bits into RGB.
        is_jpeg = self.syntax in opening.JPEG_LOSSY and self.bits_stored == 8
        is_undone = is_jpeg or self.photometric in {"YBR_RCT", "YBR_ICT"}
        return "RGB" if is_undone else self.photometric.replace("YBR_FULL_422", "YBR_FULL")


def read_pixel_format(dataset: pydicom.Dataset, limits: ImageLimits) -> PixelFormat:
    """Read and check the size and format of a file's pixels, without decoding any.

    Raises:
        UnsupportedImage: The pixels are of a kind that is not used for photographs.
        UnreadableImage: An attribute is missing or contradicts another.
        PayloadTooLarge: A frame exceeds a limit.
    """
    numbers = {
        name: _read_pixel_attribute(dataset, name, default)
        for name, default in (
            ("Rows", None), ("Columns", None), ("SamplesPerPixel", 1), ("BitsAllocated", None),
            ("BitsStored", None), ("HighBit", -1), ("PixelRepresentation", 0),
            ("PlanarConfiguration", 0), ("NumberOfFrames", 1),
        )
    }  # fmt: skip
    check_picture_size("DICOM", numbers["Columns"], numbers["Rows"], limits)
    stored = numbers["BitsStored"]
    found = PixelFormat(
        width_px=numbers["Columns"],
        height_px=numbers["Rows"],
        samples=numbers["SamplesPerPixel"],
        photometric=str(dataset.get("PhotometricInterpretation", "")),
        bits_allocated=numbers["BitsAllocated"],
        bits_stored=stored,
        high_bit=stored - 1 if numbers["HighBit"] < 0 else numbers["HighBit"],
        is_signed=numbers["PixelRepresentation"] == 1,
        is_planar=numbers["PlanarConfiguration"] == 1,
        frames=numbers["NumberOfFrames"],
        syntax=dataset.file_meta.TransferSyntaxUID,
    )
    is_known = (
        found.bits_allocated in {8, 16}
        and 1 < stored <= found.bits_allocated
        and stored - 1 <= found.high_bit < found.bits_allocated
        and _SAMPLES_BY_PHOTOMETRIC.get(found.photometric) == found.samples
        and not (found.is_signed and found.samples > 1)
        and not (found.is_subsampled and (found.bits_allocated != 8 or found.width_px % 2))
    )
    if not is_known:
        raise UnsupportedImage(
            "The pixel format of the DICOM file is not supported",
            remedy="Export the photograph as RGB with 8 bits per sample, or as a JPEG",
        )
    if not 1 <= found.frames <= MAX_FRAMES:
        raise UnsupportedImage(
            f"The DICOM file has {found.frames} frames, but it must have 1 to {MAX_FRAMES}",
            remedy="Export each photograph that you want to grade to its own file",
        )
    return found


_SAMPLES_BY_PHOTOMETRIC = {
    **dict.fromkeys(("MONOCHROME1", "MONOCHROME2", "PALETTE COLOR"), 1),
    **dict.fromkeys(("RGB", "YBR_FULL", "YBR_FULL_422", "YBR_RCT", "YBR_ICT"), 3),
}


def _read_pixel_attribute(dataset: pydicom.Dataset, name: str, default: int | None) -> int:
    try:
        value = dataset.get(name, default)
        number = int(default if value is None and default is not None else value)
    except Exception as err:  # a value of the wrong kind: pydicom raises what Python raises
        raise UnreadableImage(
            f"The DICOM attribute {name} is missing or not a number", remedy="Send the file again"
        ) from err
    if number != default and not 0 <= number <= _LARGEST_NUMBER:
        raise UnreadableImage(f"The DICOM attribute {name} is negative or too large")
    return number


def cut_out_frames(dataset: pydicom.Dataset, pixels: PixelFormat) -> list[bytes]:
    """Return the bytes of each frame, compressed or not.

    Raises:
        UnreadableImage: There are fewer bytes or frames than the file says.
    """
    data = dataset.PixelData
    if pixels.syntax in opening.NATIVE:
        size = pixels.frame_bytes
        if len(data) < size * pixels.frames:
            raise UnreadableImage(
                "The DICOM file has fewer pixels than its header says", remedy="Send the file again"
            )
        return [data[start : start + size] for start in range(0, size * pixels.frames, size)]
    try:
        frames = list(generate_frames(data, number_of_frames=pixels.frames))
    except Exception as err:  # damaged items and offset tables: pydicom raises what Python raises
        raise scrambled_pixels_error(pixels.syntax.name) from err
    if len(frames) != pixels.frames:
        raise UnreadableImage(
            "The header of the DICOM file states a different number of frames than the file has"
        )
    return frames


def check_codestream(frame: bytes, pixels: PixelFormat) -> CodestreamSize:
    """Check that a compressed frame has the size that the DICOM file's header gives.

    Raises:
        UnreadableImage: The frame is cut off, or its format or size differs from the header.
    """
    read = read_jpeg_2000_size if pixels.syntax in opening.JPEG_2000 else read_jpeg_size
    size = read(frame, pixels.syntax.name)
    if size[:3] != (pixels.width_px, pixels.height_px, pixels.samples):
        raise UnreadableImage(
            "The header and the pixels of the DICOM file give different image sizes"
        )
    if not 2 <= size.bits <= pixels.bits_allocated or (size.bits > 8) != (pixels.bits_stored > 8):
        raise UnreadableImage(
            "The header and the pixels of the DICOM file give different numbers of bits per sample"
        )
    return size


def decode_frame(frame: bytes, pixels: PixelFormat) -> NDArray[np.generic]:
    """Decode a frame to its stored samples.

    Returns:
        Shape ``(h, w)`` or ``(h, w, 3)``, in an integer type that holds the samples.

    Raises:
        RequestRefused: The frame cannot be decoded.
    """
    if pixels.syntax in opening.NATIVE:
        return _mask_stored_bits(_arrange_native_samples(frame, pixels), pixels)
    if pixels.syntax == uid.RLELossless:
        return _mask_stored_bits(_decode_run_lengths(frame, pixels), pixels)
    size = check_codestream(frame, pixels)
    try:
        decoded = _decode_codestream(frame, size, pixels)
    except RequestRefused:
        raise
    except Exception as err:  # each decoder has its own errors for damaged data
        raise UnreadableImage(
            "The pixels of the DICOM file are damaged and cannot be decoded "
            f"({pixels.syntax.name})",
            remedy="Send the file again",
        ) from err
    if decoded.shape != _expected_shape(pixels):
        raise UnreadableImage(
            "The header and the pixels of the DICOM file give different image sizes"
        )
    return decoded


def _decode_codestream(
    frame: bytes, size: CodestreamSize, pixels: PixelFormat
) -> NDArray[np.generic]:
    if pixels.syntax in opening.JPEG_2000:
        decoded: NDArray[np.generic] = decode_jpeg_2000(frame, j2k_format=0)
        return decoded
    if pixels.syntax in opening.JPEG_LS:
        samples, facts = jpeg_ls.decode_pixel_data(frame)
        stored = np.frombuffer(samples, np.uint8 if size.bits <= 8 else np.dtype("<u2"))
        return _arrange_samples(stored, pixels, is_planar=facts["interleave_mode"] == 0)
    if size.bits > 8:
        return _decode_in_own_process(frame, size, pixels)
    if size.frame_marker == _LOSSLESS_FRAME:
        with Image.open(io.BytesIO(frame), formats=("JPEG",)) as image:
            return np.asarray(image)
    # The size of the picture was checked against the caller's limits. DICOM viewers ignore EXIF
    # data, so an orientation in it turns nothing.
    side_px = max(pixels.width_px, pixels.height_px)
    limits = ImageLimits(len(frame), pixels.width_px * pixels.height_px, side_px)
    header = replace(read_and_check_header(frame, limits=limits), orientation=UPRIGHT)
    rgb = decode_image_of_header(header)
    return rgb[..., 0] if pixels.samples == 1 else rgb


def _expected_shape(pixels: PixelFormat) -> tuple[int, ...]:
    return (pixels.height_px, pixels.width_px, *((3,) if pixels.samples == 3 else ()))


def _arrange_native_samples(frame: bytes, pixels: PixelFormat) -> NDArray[np.generic]:
    if pixels.is_subsampled:
        # Two luminances, then the two colours that both pixels have.
        pairs = np.frombuffer(frame, np.uint8).reshape(pixels.height_px, -1, 4)
        whole = np.stack([pairs[..., [0, 2, 3]], pairs[..., [1, 2, 3]]], axis=2)
        return whole.reshape(_expected_shape(pixels))
    kind = np.dtype("u1" if pixels.bits_allocated == 8 else "<u2")
    return _arrange_samples(np.frombuffer(frame, kind), pixels, is_planar=pixels.is_planar)


def _arrange_samples(
    stored: NDArray[np.generic], pixels: PixelFormat, *, is_planar: bool
) -> NDArray[np.generic]:
    if is_planar and pixels.samples == 3:
        return np.moveaxis(stored.reshape(3, pixels.height_px, pixels.width_px), 0, 2)
    return stored.reshape(_expected_shape(pixels))


def _mask_stored_bits(stored: NDArray[np.generic], pixels: PixelFormat) -> NDArray[np.generic]:
    """Remove the bits that do not belong to the samples.

    Old files store overlays (drawings on the picture) in these bits.
    """
    if pixels.bits_stored == pixels.bits_allocated:
        return stored
    shift = pixels.high_bit + 1 - pixels.bits_stored
    kept: NDArray[np.generic] = (stored >> shift) & ((1 << pixels.bits_stored) - 1)  # type: ignore[operator]
    return kept


def _decode_run_lengths(frame: bytes, pixels: PixelFormat) -> NDArray[np.generic]:
    """Decode RLE (PS3.5, annex G): one segment for each byte of a sample, the highest byte first.

    A segment may hold more data than the picture needs. Pillow's PackBits decoder stops when the
    picture is complete.
    """
    sample_bytes = pixels.bits_allocated // 8
    places = [int.from_bytes(frame[at : at + 4], "little") for at in range(0, _RLE_HEADER_BYTES, 4)]
    count = pixels.samples * sample_bytes
    offsets = [*places[1 : count + 1], len(frame)]
    if places[0] != count or offsets[0] < _RLE_HEADER_BYTES or sorted(offsets) != offsets:
        raise scrambled_pixels_error(pixels.syntax.name)
    size = (pixels.width_px * pixels.height_px, 1)
    try:
        planes = [
            Image.frombytes("L", size, frame[start:end], "packbits", "L")
            for start, end in pairwise(offsets)
        ]
    except ValueError as err:
        raise UnreadableImage(
            "The compressed pixels in the DICOM file end before the picture does",
            remedy="Send the file again",
        ) from err
    shape = (pixels.samples, sample_bytes, pixels.height_px, pixels.width_px)
    by_byte = np.stack([np.asarray(plane) for plane in planes]).reshape(shape)
    samples: NDArray[np.generic] = by_byte[:, 0]
    if sample_bytes == 2:
        samples = by_byte[:, 0].astype(np.uint16) << 8 | by_byte[:, 1]
    return samples[0] if pixels.samples == 1 else np.moveaxis(samples, 0, 2)


def _decode_in_own_process(
    frame: bytes, size: CodestreamSize, pixels: PixelFormat
) -> NDArray[np.generic]:
    """Decode a JPEG of more than 8 bits with GDCM.

    The process gets a file that contains only the pixels, so that the patient's name is not written
    to a temporary file.
    """
    with temporary_folder("drdeploy-dicom-") as folder:
        source, target = folder / "frame.dcm", folder / "samples"
        _make_file_of_one_frame(frame, size, pixels).save_as(source, enforce_file_format=True)
        program = Path(__file__).with_name("gdcm_process.py")
        try:
            status = run_child(
                [sys.executable, "-I", program, source, target], timeout_s=GDCM_TIMEOUT_S
            )
        except subprocess.TimeoutExpired as err:
            raise UnreadableImage("The pixels of the DICOM file take too long to decode") from err
        if status != 0:
            raise UnreadableImage(
                "The pixels of the DICOM file are damaged and cannot be decoded "
                f"({pixels.syntax.name})",
                remedy="Send the file again",
            )
        stored = _read_samples_of_process(target, math.prod(_expected_shape(pixels)))
    return _arrange_samples(stored, pixels, is_planar=False)


def _read_samples_of_process(file: Path, count: int) -> NDArray[np.generic]:
    """Read the samples that another process wrote; refuse a file with an unexpected size."""
    kind = np.dtype("<u2")
    if file.stat().st_size != count * kind.itemsize:
        raise UnreadableImage(
            "The header and the pixels of the DICOM file give different image sizes"
        )
    return np.fromfile(file, kind)


def _make_file_of_one_frame(
    frame: bytes, size: CodestreamSize, pixels: PixelFormat
) -> pydicom.FileDataset:
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = pixels.syntax
    meta.MediaStorageSOPClassUID = uid.SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = uid.generate_uid()
    file = pydicom.FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    file.SOPClassUID = meta.MediaStorageSOPClassUID
    file.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    file.Rows, file.Columns = pixels.height_px, pixels.width_px
    file.SamplesPerPixel = pixels.samples
    if pixels.samples == 3:
        file.PlanarConfiguration = 0
    file.PhotometricInterpretation = "RGB" if pixels.samples == 3 else "MONOCHROME2"
    file.BitsAllocated, file.BitsStored, file.HighBit = 16, size.bits, size.bits - 1
    file.PixelRepresentation = 0
    file.PixelData = pydicom.encaps.encapsulate([frame])
    file["PixelData"].is_undefined_length = True
    return file
