"""Store incoming photographs in the records, and prepare stored photographs for the browser."""

from __future__ import annotations

import io
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pydicom
from PIL import Image

from drdeploy.clinic.disk_space import is_disk_too_full_for_photograph
from drdeploy.clinic.ophthalmic_photograph import EncodedPixels, encode_ophthalmic_photograph
from drdeploy.clinic.patients import check_dicom_identifiers, identify_patient
from drdeploy.errors import ClinicError, MalformedRequest, RequestRefused, UnsupportedImage
from drdeploy.files import sha256_of_bytes
from drdeploy.grader.dicom.opening import refuse_damaged_file
from drdeploy.grader.dicom.photographs import DicomFile
from drdeploy.grader.fundus.decode import SIGNATURES, decode_image_of_header, read_and_check_header
from drdeploy.grader.fundus.formats import jpeg
from drdeploy.grader.fundus.formats.ifd import UPRIGHT
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.clinic.patients import EyeLaterality
    from drdeploy.clinic.records import ClinicRecords

_NAMESPACE = uuid.UUID("0f2b4f8e-5d2b-5f0e-8a53-1d6b7d3f9c21")
_NUMBER_CHARACTERS_MAX = 64
FRAMES_SHOWN_MAX = 32
"""The largest number of frames of a file that are shown. The page says how many others there are.
"""
_HEADERS_KNOWN_MAX = 10_000
_SIDES = {"left": "L", "right": "R"}


class DetailsMissing(Exception):
    """The patient or the eye of a file is not known, so the page must ask the user.

    A JPEG, PNG or TIFF names neither the patient nor the eye. A DICOM file may not name the eye.

    Attributes:
        names: The missing details: ``patient``, ``eye`` or both.
    """

    def __init__(self, *names: str) -> None:
        super().__init__(*names)
        self.names = names


class StudyErased(Exception):
    """The study of a photograph was erased from the records."""


@dataclass(frozen=True)
class ShownPhotograph:
    """A photograph of a study on the page.

    Attributes:
        number: The photograph's number in the records.
        frame: The frame's number in the file, counted from 1.
        eye: Which eye; empty if the file cannot be read.
    """

    number: int
    frame: int
    eye: str


def receive_photograph(
    records: ClinicRecords,
    content: bytes,
    *,
    patient: str = "",
    eye: EyeLaterality | None = None,
    may_be_erased: bool = True,
) -> bool:
    """Store a file that was uploaded, or fetched from an archive; return whether it is new.

    Args:
        records: The clinic's records.
        content: A DICOM file, or a photograph as JPEG, PNG or TIFF.
        patient: The patient's number, for a photograph that is not a DICOM file.
        eye: The eye that the photograph shows. It is used only if the file does not name the eye.
        may_be_erased: Whether to store a photograph of a study that was erased.

    Raises:
        DetailsMissing: The patient's number or the eye is missing.
        StudyErased: The study was erased, and ``may_be_erased`` is false.
        RequestRefused: The file cannot be used.
        ClinicError: The disk has too little free space.
    """
    if content.startswith(SIGNATURES):
        content = wrap_photograph_in_dicom(content, patient=patient, eye=eye)
    file = DicomFile.open(content)
    check_dicom_identifiers(file.dataset)
    identity, study_uid = identify_patient(file.dataset), str(file.dataset.StudyInstanceUID)
    if not may_be_erased and records.erasure.is_erased(identity, study_uid):
        raise StudyErased
    if not file.laterality:
        if eye is None:
            raise DetailsMissing("eye")
        file.dataset.ImageLaterality = _SIDES[eye]
        content = _encode_changed_dicom_file(file)
    if is_disk_too_full_for_photograph(records.store.folder.parent):
        raise ClinicError("The disk has too little free space", where="the clinic's records")
    return records.add_photograph(
        content,
        patient=identity,
        study_uid=study_uid,
        sop_instance_uid=str(file.dataset.SOPInstanceUID),
    )


def wrap_photograph_in_dicom(content: bytes, *, patient: str, eye: EyeLaterality | None) -> bytes:
    """Return a JPEG, PNG or TIFF as a DICOM file of ophthalmic photography.

    All photographs of a patient that arrive on the same day belong to one study. The compressed
    pixels of a baseline JPEG are kept; the pixels of other files are stored uncompressed.

    Raises:
        DetailsMissing: The patient's number or the eye is missing.
        RequestRefused: The photograph cannot be used.
    """
    number = patient.strip()
    if not number or eye is None:
        raise DetailsMissing("patient", "eye")
    if len(number) > _NUMBER_CHARACTERS_MAX or not number.isprintable() or "\\" in number:
        raise MalformedRequest(
            f"A patient's number has at most {_NUMBER_CHARACTERS_MAX} printable characters, and no "
            "backslash"
        )
    header = read_and_check_header(content, limits=LOCAL_FILE_LIMITS)
    today = datetime.now(UTC).astimezone()
    of_study = f"{number}\n{today:%Y%m%d}"
    if _can_keep_jpeg_pixels(content, header.orientation):
        pixels = EncodedPixels.of_jpeg(content)
    else:
        pixels = EncodedPixels.of_picture(Image.fromarray(decode_image_of_header(header)))
    return encode_ophthalmic_photograph(
        pixels,
        eye=eye,
        # No time is written, so that a photograph that is sent again becomes the same file.
        day=f"{today:%Y%m%d}",
        elements={
            "SpecificCharacterSet": "ISO_IR 192",
            "PatientID": number,
            # A camera may have written the patient's name into the picture.
            "BurnedInAnnotation": None,
            "StudyInstanceUID": _make_uid(of_study),
            "SeriesInstanceUID": _make_uid(f"series {of_study}"),
            "SOPInstanceUID": _make_uid(f"{of_study}\n{eye}\n{sha256_of_bytes(content)}"),
        },
    )


def _can_keep_jpeg_pixels(content: bytes, orientation: int) -> bool:
    """Return whether a photograph is a JPEG that looks the same inside a DICOM file.

    DICOM viewers ignore some of a JPEG's metadata, for example the orientation.
    """
    if not content.startswith(jpeg.SIGNATURE):
        return False
    with Image.open(io.BytesIO(content)) as image:
        is_plain = (
            image.format == "JPEG" and image.mode == "RGB" and "progressive" not in image.info
        )
        # With Adobe's transform 0, the pixels are RGB, but the DICOM file would call them YBR.
        is_converted = "adobe_transform" in image.info and image.info["adobe_transform"] == 0
        return is_plain and orientation == UPRIGHT and not is_converted


def _make_uid(text: str) -> str:
    return f"2.25.{uuid.uuid5(_NAMESPACE, text).int}"


def _encode_changed_dicom_file(file: DicomFile) -> bytes:
    """Return the bytes of a changed DICOM file, in the transfer syntax that the file had."""
    stream = io.BytesIO()
    with refuse_damaged_file():
        pydicom.dcmwrite(stream, file.dataset, enforce_file_format=True)
    return stream.getvalue()


class PhotographHeaders:
    """Caches the frames and the eye of photographs, so that each header is read once.

    Without the cache, each view of a study's page would read the whole files, only to find out
    which eye they show. A cached value never becomes outdated: files are named by the hash of their
    content, so the content of a file never changes.
    """

    def __init__(self, records: ClinicRecords) -> None:
        self._records = records
        self._known: dict[str, tuple[int, str]] = {}

    def list_shown_photographs(self, study: int) -> Iterator[ShownPhotograph]:
        """Yield the photographs of a study, and which eye each of them shows."""
        for number, sha256 in self._records.worklist.list_photographs(study).items():
            frames, eye = self._read_header(sha256)
            for frame in range(1, min(frames, FRAMES_SHOWN_MAX) + 1):
                yield ShownPhotograph(number, frame, eye)

    def count_frames_not_shown(self, study: int) -> int:
        """Return how many frames of a study are not shown, because their file has too many."""
        files = self._records.worklist.list_photographs(study).values()
        return sum(max(self._read_header(sha256)[0] - FRAMES_SHOWN_MAX, 0) for sha256 in files)

    def _read_header(self, sha256: str) -> tuple[int, str]:
        known = self._known.get(sha256)
        if known is not None and self._records.store.has_file(sha256):
            return known
        try:
            file = DicomFile.open(self._records.store.read_file(sha256))
            found = int(file.dataset.get("NumberOfFrames") or 1), file.laterality
        except (RequestRefused, ClinicError, ValueError, OSError):
            return 1, ""
        if len(self._known) >= _HEADERS_KNOWN_MAX:
            self._known.clear()
        self._known[sha256] = found
        return found


def read_picture_for_browser(records: ClinicRecords, sha256: str, frame: int) -> tuple[bytes, str]:
    """Return a frame of a stored file in full resolution, as JPEG or PNG, with its media type.

    Raises:
        RequestRefused: The frame cannot be decoded.
        ClinicError: The file is gone or damaged.
    """
    file = DicomFile.open(records.store.read_file(sha256))
    for photograph in file.decode_photographs():
        if photograph.frame_number == frame:
            if photograph.data.startswith(jpeg.SIGNATURE):
                return photograph.data, "image/jpeg"
            stream = io.BytesIO()
            with Image.open(io.BytesIO(photograph.data)) as image:
                image.save(stream, "PNG", compress_level=1)
            return stream.getvalue(), "image/png"
    raise UnsupportedImage("The file has no frame with this number")
