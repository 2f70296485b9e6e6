"""Fill in the elements that all DICOM results of a study share, such as patient and device.

The structured report and the PDF name the same patient and study as the photographs. The
identifiers of the results are derived from the photographs, the grader and the grader's answers.
The same answers therefore always give a report and a PDF with the same identifiers. If they are
sent twice, an archive keeps only one copy.
"""

from __future__ import annotations

import io
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import turn_import_error_into_missing_extra
from drdeploy.files import write_file_atomically
from drdeploy.grader.dicom.opening import refuse_damaged_file
from drdeploy.version import VERSION

with turn_import_error_into_missing_extra("clinic", "A DICOM result"):
    import pydicom
    from pydicom.uid import ExplicitVRLittleEndian

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

    from drdeploy.clinic.patients import GradedStudy
    from drdeploy.grader.artifacts import ModelArtifact

MANUFACTURER = "drdeploy"
CODING_SCHEME = "99DRDEPLOY"
"""The coding scheme of drdeploy's own codes, for concepts that no public terminology has."""

_NAMESPACE = uuid.UUID("5d0c3b3e-5b0f-5c5a-8f43-6a0f2f4c9b77")
_KEPT = (
    # The patient module (PS3.3, C.7.1.1)
    "PatientName", "PatientID", "IssuerOfPatientID", "IssuerOfPatientIDQualifiersSequence",
    "TypeOfPatientID", "PatientBirthDate", "PatientBirthTime", "PatientSex", "OtherPatientNames",
    "OtherPatientIDsSequence", "EthnicGroup", "PatientComments", "PatientSpeciesDescription",
    "PatientIdentityRemoved", "DeidentificationMethod", "DeidentificationMethodCodeSequence",
    # The general study module (C.7.2.1)
    "StudyInstanceUID", "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID",
    "AccessionNumber", "IssuerOfAccessionNumberSequence", "StudyDescription",
)  # fmt: skip
_NEVER_ABSENT = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex",
    "StudyDate", "StudyTime", "ReferringPhysicianName", "StudyID", "AccessionNumber",
)  # fmt: skip
"""Elements of type 2, which are empty if the photographs lack them."""

# If a value breaks the standard, pydicom warns and quotes it. The log could then show a patient's
# name.
pydicom.config.settings.writing_validation_mode = pydicom.config.IGNORE


@dataclass(frozen=True)
class ResultIdentifiers:
    """The unique identifiers of the results of one study."""

    fingerprint: str

    @classmethod
    def from_graded_study(cls, study: GradedStudy, artifact: ModelArtifact) -> ResultIdentifiers:
        """Derive the identifiers from the photographs, the grader and the answers."""
        parts = [str(study.dataset.StudyInstanceUID), artifact.digest, VERSION, study.outcome]
        for eye in study.eyes:
            parts += [eye.eye, eye.outcome, *eye.marks]
            parts += sorted(
                f"{one.dataset.SOPInstanceUID} {one.frame_number} {one.ungradable} "
                + (
                    ""
                    if one.prediction is None
                    else format_probabilities(one.prediction.probabilities)
                )
                for one in eye.photographs
            )
        return cls("\n".join(parts))

    def make_uid(self, what: str) -> str:
        """Return a unique identifier for the part of the results called ``what`` (PS3.5, B.2)."""
        return f"2.25.{uuid.uuid5(_NAMESPACE, f'{what} {self.fingerprint}').int}"


def format_probabilities(probabilities: object) -> str:
    """Return probabilities as text with two decimals."""
    return " ".join(f"{float(one):.2f}" for one in probabilities)  # type: ignore[attr-defined]


def copy_patient_and_study_attributes(source: pydicom.Dataset, result: pydicom.Dataset) -> None:
    """Copy the data about patient and study from a photograph into a result, as Unicode text.

    Raises:
        UnreadableImage: The photograph's data elements are damaged.
    """
    with refuse_damaged_file():
        header = pydicom.Dataset()
        for keyword in _KEPT:
            if keyword in source:
                header[keyword] = source[keyword]
        # Decode the texts, which would otherwise stay in the photograph's character set.
        header.SpecificCharacterSet = source.get("SpecificCharacterSet") or "ISO_IR 6"
        header.decode()
    for keyword in _NEVER_ABSENT:
        if keyword not in header:
            setattr(header, keyword, "")
    header.SpecificCharacterSet = "ISO_IR 192"
    result.update(header)


def write_dates_of_result(result: pydicom.Dataset, issued: datetime) -> None:
    """Write the time at which a result was made. It is local time, like the dates of the study."""
    local = issued.astimezone()
    for name in ("Content", "InstanceCreation", "Series"):
        setattr(result, f"{name}Date", f"{local:%Y%m%d}")
        setattr(result, f"{name}Time", f"{local:%H%M%S}")
    for equipment in result.get("ContributingEquipmentSequence") or ():
        equipment.ContributionDateTime = f"{local:%Y%m%d%H%M%S}"


def describe_grader_as_device(artifact: ModelArtifact) -> dict[str, str]:
    """Return the DICOM attributes that describe the grader as a device, by keyword."""
    return {
        "Manufacturer": MANUFACTURER,
        "ManufacturerModelName": artifact.manifest.name[:64],
        "DeviceSerialNumber": artifact.digest[:64],
        "SoftwareVersions": VERSION,
    }


def encode_result(result: pydicom.Dataset) -> bytes:
    """Return a result as a DICOM file (PS3.10)."""
    stream = io.BytesIO()
    pydicom.dcmwrite(
        stream, result, implicit_vr=False, little_endian=True, enforce_file_format=True
    )
    return stream.getvalue()


def make_dicom_file_meta(result: pydicom.Dataset) -> pydicom.dataset.FileMetaDataset:
    """Return the file meta information of a result."""
    meta = pydicom.dataset.FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = result.SOPClassUID
    meta.MediaStorageSOPInstanceUID = result.SOPInstanceUID
    return meta


def write_result(folder: Path, name: str, result: pydicom.Dataset) -> bytes:
    """Write a result into a folder, unless it is there already, and return the content of its file.

    The file name ends with digits of the result's identifier, so that an older result of the same
    study is not overwritten.
    """
    folder.mkdir(parents=True, exist_ok=True)
    digits = uuid.UUID(int=int(result.SOPInstanceUID.removeprefix("2.25."))).hex[:12]
    file = folder / f"{name}-{digits}.dcm"
    if not file.exists():
        write_file_atomically(file, encode_result(result))
    return file.read_bytes()
