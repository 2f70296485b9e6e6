"""Read the photographs in a DICOM file."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from PIL import Image

from drdeploy.grader.dicom import opening
from drdeploy.grader.dicom.decoding import (
    PixelFormat,
    check_codestream,
    cut_out_frames,
    decode_frame,
    read_pixel_format,
)
from drdeploy.grader.dicom.presentation import ColourProfile, make_rgb, refuse_stretched_pixels
from drdeploy.grader.fundus.formats import jpeg
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS, ImageLimits

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pydicom

Laterality = Literal["left", "right", ""]
"""The patient's left or right eye; empty if the file does not say."""

_LATERALITIES: dict[str, Laterality] = {"L": "left", "R": "right"}
_ADOBE_RGB = b"\xff\xee\x00\x0eAdobe\x00\x64\x00\x00\x00\x00\x00"
"""The segment in which a JPEG says that its three components are RGB."""


@dataclass(frozen=True)
class DicomPhotograph:
    """A frame of a DICOM file as a photograph.

    Attributes:
        data: A JPEG or an uncompressed TIFF.
        frame_number: The position of the photograph among the frames of the file, from 1.
        note: A sentence about the file for the reader of the result; usually empty.
    """

    data: bytes = field(repr=False)
    frame_number: int = 1
    note: str = ""


@dataclass(frozen=True)
class DicomFile:
    """An opened DICOM file whose pixels have not been decoded.

    ::

        file = DicomFile.open(Path("eye.dcm").read_bytes())
        for photograph in file.decode_photographs():
            service.infer([photograph.data])

    Attributes:
        dataset: The data elements of the file. They include the patient's name and number.
        pixels: Size and format of the file's pixels.
        limits: How large a picture may be.
    """

    dataset: pydicom.Dataset = field(repr=False)
    pixels: PixelFormat
    limits: ImageLimits = LOCAL_FILE_LIMITS

    @classmethod
    def open(cls, data: bytes, *, limits: ImageLimits = LOCAL_FILE_LIMITS) -> DicomFile:
        """Read a file's data elements, and check the size of its pictures.

        Raises:
            UnsupportedImage: The file is not a DICOM file, holds no photograph of the eye, or has
                pixels of an unsupported kind.
            UnreadableImage: The file is truncated or damaged.
            PayloadTooLarge: The file or a picture exceeds a limit.
        """
        with opening.refuse_damaged_file():
            dataset = opening.open_dicom_file(data, limits)
            refuse_stretched_pixels(dataset)
            return cls(dataset, read_pixel_format(dataset, limits), limits)

    @property
    def laterality(self) -> Laterality:
        """The eye in the attribute Image Laterality, or else in Laterality; empty if unknown."""
        for name in ("ImageLaterality", "Laterality"):
            value = str(self.dataset.get(name) or "").strip().upper()
            if value:
                return _LATERALITIES.get(value, "")
        return ""

    def decode_photographs(self) -> Iterator[DicomPhotograph]:
        """Decode the frames, one after the other.

        Raises:
            RequestRefused: A frame cannot be decoded.
        """
        with opening.refuse_damaged_file():
            profile = ColourProfile(self.dataset)
            frames = cut_out_frames(self.dataset, self.pixels)
        for number, frame in enumerate(frames, 1):
            with opening.refuse_damaged_file():
                data = self._make_photograph(frame, profile)
            yield DicomPhotograph(data, number, profile.note)

    def _make_photograph(self, frame: bytes, profile: ColourProfile) -> bytes:
        is_jpeg = self.pixels.syntax in opening.JPEG_LOSSY and self.pixels.samples == 3
        if is_jpeg and check_codestream(frame, self.pixels).bits == 8:
            frame = self._keep_pixels_of_jpeg(frame)
            if not profile.changes_colours:
                return frame
        samples = decode_frame(frame, self.pixels)
        rgb = profile.convert_to_srgb(make_rgb(samples, self.dataset, self.pixels))
        stream = io.BytesIO()
        Image.fromarray(rgb).save(stream, "TIFF")
        return stream.getvalue()

    def _keep_pixels_of_jpeg(self, frame: bytes) -> bytes:
        """Return a JPEG frame without EXIF data, and with its pixels unchanged.

        DICOM viewers ignore EXIF data, such as an orientation. If the DICOM file says that the
        pixels are RGB, the JPEG is marked as RGB.

        Raises:
            UnreadableImage: The JPEG is damaged.
            UnsupportedImage: The JPEG is of a variant that is not used for photographs.
        """
        header = jpeg.read_jpeg_header(frame)
        jpeg.refuse_jpeg_with_too_few_bytes(header)
        is_named = b"JFIF\0" in header.data[:32] or b"Adobe" in header.data[:64]
        if self.pixels.photometric == "RGB" and not is_named:
            return header.data[:2] + _ADOBE_RGB + header.data[2:]
        return header.data
