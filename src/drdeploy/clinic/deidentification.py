"""Remove the data that identify a patient from photographs and studies (PS3.15, annex E).

The data are not deleted from the old file. Instead, a new file is written, which has only a short
list of data elements. Elements that are not on the list, such as private elements of a vendor, are
therefore never copied. The list follows the Basic Application Level Confidentiality Profile of
DICOM. Dates are kept, but shifted, which is an option of this profile. The pixels stay as they are.
"""

from __future__ import annotations

import hmac
import io
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from PIL import Image

from drdeploy.clinic.ophthalmic_photograph import EncodedPixels, encode_ophthalmic_photograph
from drdeploy.errors import turn_import_error_into_missing_extra
from drdeploy.grader.fundus.formats.jpeg import SIGNATURE, remove_jpeg_metadata
from drdeploy.version import VERSION

with turn_import_error_into_missing_extra("clinic", "A DICOM file"):
    import pydicom

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.clinic.patients import EyeLaterality
    from drdeploy.grader.dicom.photographs import DicomFile
    from drdeploy.photograph_names import PhotographNames

SHIFT_DAYS_MAX = 3650
JPEG_QUALITY = 95
_DAY = "%Y%m%d"
_METHODS = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
)
"""The methods by which the files were de-identified: codes of DICOM PS3.16, CID 7050, with their
meanings.
"""


@dataclass(frozen=True)
class Deidentifier:
    """Replaces identifiers and dates. The same key always gives the same replacements.

    Attributes:
        names: The object that holds the key.
    """

    names: PhotographNames

    def make_uid(self, original: str) -> str:
        """Return the new DICOM identifier (UID) that replaces an original one (PS3.5, B.2)."""
        return f"2.25.{uuid.UUID(bytes=self._compute_keyed_hash(f'uid {original}')[:16]).int}"

    def shift_day(self, day: str, patient: str) -> str:
        """Move a DICOM date back by a number of days that depends on the patient.

        All dates of a patient are moved by the same number of days. If the text is not a date, an
        empty string is returned.
        """
        try:
            parsed = datetime.strptime(day, _DAY)  # noqa: DTZ007 - a day has no time zone
            number = int.from_bytes(self._compute_keyed_hash(f"days {patient}")[:8])
            shifted = parsed - timedelta(days=1 + number % SHIFT_DAYS_MAX)
        except (ValueError, OverflowError):
            return ""
        return f"{shifted.year:04d}{shifted:%m%d}"

    def _compute_keyed_hash(self, text: str) -> bytes:
        message = f"deidentified {text}".encode("utf-8", "surrogateescape")
        return hmac.digest(self.names.key or b"", message, "sha256")


@dataclass(frozen=True)
class DeidentifiedPhotograph:
    """The pixels of a photograph, and which eye they show.

    Attributes:
        pixels: The pixels.
        eye: The eye of the photograph, or None if the file does not say.
        frame_number: The number of the photograph in the file, counted from 1.
    """

    pixels: EncodedPixels
    eye: EyeLaterality | None
    frame_number: int

    def encode_jpeg(self) -> bytes:
        """Return the photograph as a JPEG without metadata."""
        if self.pixels.content.startswith(SIGNATURE):
            return self.pixels.content
        size = (self.pixels.width_px, self.pixels.height_px)
        stream = io.BytesIO()
        Image.frombytes("RGB", size, self.pixels.content).save(
            stream, "JPEG", quality=JPEG_QUALITY, subsampling="4:4:4"
        )
        return stream.getvalue()

    def encode_dicom(self, file: DicomFile, to: Deidentifier, *, patient: str, name: str) -> bytes:
        """Return the photograph as a DICOM file.

        Args:
            file: The file that contains the photograph.
            to: Replaces identifiers and dates.
            patient: A text that identifies the patient; the new identifiers and dates are derived
                from it.
            name: The keyed hash that replaces the patient's name and number.
        """
        source = file.dataset
        study, series, instance = (
            to.make_uid(f"{patient} {source.get(keyword)} {self.frame_number * last}")
            for keyword, last in (
                ("StudyInstanceUID", 0), ("SeriesInstanceUID", 0), ("SOPInstanceUID", 1),
            )
        )  # fmt: skip
        return encode_ophthalmic_photograph(
            self.pixels,
            eye=self.eye,
            day=to.shift_day(str(source.get("StudyDate") or ""), patient),
            elements={
                "PatientName": name, "PatientID": name, "StudyInstanceUID": study,
                "SeriesInstanceUID": series, "SOPInstanceUID": instance,
                "SynchronizationFrameOfReferenceUID": to.make_uid(f"{patient} time"),
                # A file that does not declare its pixels free of text must not declare it now.
                "BurnedInAnnotation": "NO" if source.get("BurnedInAnnotation") == "NO" else None,
                "PatientIdentityRemoved": "YES",
                "LongitudinalTemporalInformationModified": "MODIFIED",
                "DeidentificationMethod": f"drdeploy {VERSION}",
                "DeidentificationMethodCodeSequence": [
                    _make_code_of_deidentification_method(*one) for one in _METHODS
                ],
            },
        )  # fmt: skip


def _make_code_of_deidentification_method(value: str, meaning: str) -> pydicom.Dataset:
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, "DCM", meaning
    return code


def has_writing_in_pixels(file: DicomFile) -> bool:
    """Return whether a file declares that text is burned into its pixels."""
    return str(file.dataset.get("BurnedInAnnotation") or "").strip().upper() == "YES"


def deidentify_photographs(file: DicomFile) -> Iterator[DeidentifiedPhotograph]:
    """Yield the photographs in a file, each without metadata.

    A JPEG with 8 bits keeps its compressed pixels. Any other photograph is converted to 8-bit sRGB,
    as it is for grading.

    Raises:
        RequestRefused: A frame cannot be decoded.
    """
    eye: EyeLaterality | None = file.laterality or None
    for photograph in file.decode_photographs():
        if photograph.data.startswith(SIGNATURE):
            content = remove_jpeg_metadata(photograph.data)
            pixels = EncodedPixels.of_jpeg(content, file.pixels.photometric, file.pixels.syntax)
        else:
            with Image.open(io.BytesIO(photograph.data)) as image:
                pixels = EncodedPixels.of_picture(image)
        yield DeidentifiedPhotograph(pixels, eye, photograph.frame_number)
