"""Write a photograph of an eye as a DICOM file: Ophthalmic Photography 8 Bit (PS3.3, A.41)."""

from __future__ import annotations

import io
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from PIL import Image

from drdeploy.clinic.dicom_results import encode_result
from drdeploy.errors import turn_import_error_into_missing_extra

with turn_import_error_into_missing_extra("clinic", "A DICOM file"):
    import pydicom
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID, ExplicitVRLittleEndian, JPEGBaseline8Bit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.clinic.patients import EyeLaterality

PHOTOGRAPHY_8_BIT = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
_SIDES = {"right": "R", "left": "L"}
_EMPTY = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientSex", "ReferringPhysicianName",
    "StudyID", "StudyTime", "AccessionNumber", "SeriesNumber", "Manufacturer",
    "HorizontalFieldOfView", "EmmetropicMagnification", "IntraOcularPressure", "PupilDilated",
    "PatientEyeMovementCommanded", "DetectorType", "PatientOrientation",
)  # fmt: skip
"""Elements that the standard requires, but allows to be empty."""
_EMPTY_SEQUENCES = (
    "RefractiveStateSequence", "IlluminationTypeCodeSequence",
    "LightPathFilterTypeStackCodeSequence", "ImagePathFilterTypeStackCodeSequence",
    "LensesCodeSequence",
)  # fmt: skip
_FRAME_TIME = 0x00181063


@dataclass(frozen=True)
class EncodedPixels:
    """Pixels as they are stored in a DICOM file.

    Attributes:
        width_px: Columns.
        height_px: Rows.
        content: A JPEG, or RGB with 8 bits.
        photometric: Photometric interpretation.
        syntax: Transfer syntax.
    """

    width_px: int
    height_px: int
    content: bytes = field(repr=False)
    photometric: str = "RGB"
    syntax: str = ExplicitVRLittleEndian

    @classmethod
    def of_jpeg(
        cls, content: bytes, photometric: str = "YBR_FULL_422", syntax: str = JPEGBaseline8Bit
    ) -> EncodedPixels:
        """Take the pixels of a JPEG as they are."""
        with Image.open(io.BytesIO(content)) as image:
            return cls(image.width, image.height, content, photometric, syntax)

    @classmethod
    def of_picture(cls, image: Image.Image) -> EncodedPixels:
        """Take the pixels of a decoded picture."""
        rgb = image.convert("RGB")
        return cls(rgb.width, rgb.height, rgb.tobytes())


def encode_ophthalmic_photograph(
    pixels: EncodedPixels, *, eye: EyeLaterality | None, day: str, elements: Mapping[str, object]
) -> bytes:
    """Return a DICOM file with a photograph.

    Args:
        pixels: The photograph.
        eye: Which eye the photograph shows; None leaves the eye out of the file.
        day: The day of the study, as DICOM writes it; may be empty.
        elements: Other data elements by keyword, among them the identifiers of study, series and
            object. An element whose value is None is left out. If the patient's name and number are
            missing, these elements are empty.
    """
    dataset = pydicom.Dataset()
    for keyword in _EMPTY:
        setattr(dataset, keyword, None)
    for keyword in _EMPTY_SEQUENCES:
        setattr(dataset, keyword, [])
    dataset.SOPClassUID, dataset.Modality = PHOTOGRAPHY_8_BIT, "OP"
    dataset.StudyDate, dataset.ContentDate, dataset.ContentTime = day, day, "000000"
    dataset.InstanceNumber, dataset.NumberOfFrames = 1, 1
    dataset.FrameIncrementPointer, dataset.FrameTime = _FRAME_TIME, 0
    dataset.ImageType = ["ORIGINAL", "PRIMARY"]
    dataset.BurnedInAnnotation = "NO"
    dataset.AcquisitionDeviceTypeCodeSequence = [
        _make_dicom_code("409898007", "SCT", "Fundus Camera")
    ]
    dataset.AnatomicRegionSequence = [_make_dicom_code("5665001", "SCT", "Retina")]
    dataset.SynchronizationTrigger, dataset.AcquisitionTimeSynchronized = "NO TRIGGER", "N"
    if day:
        dataset.AcquisitionDateTime = day
    if eye is not None:
        dataset.ImageLaterality = _SIDES[eye]
    for keyword, value in elements.items():
        setattr(dataset, keyword, value)
        if value is None:
            delattr(dataset, keyword)
    _add_pixels_to_dataset(dataset, pixels)
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = UID(pixels.syntax)
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    return encode_result(dataset)


def _add_pixels_to_dataset(dataset: pydicom.Dataset, pixels: EncodedPixels) -> None:
    dataset.Rows, dataset.Columns = pixels.height_px, pixels.width_px
    dataset.SamplesPerPixel = 1 if pixels.photometric.startswith("MONOCHROME") else 3
    if dataset.SamplesPerPixel > 1:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = pixels.photometric
    dataset.BitsAllocated = dataset.BitsStored = 8
    dataset.HighBit, dataset.PixelRepresentation = 7, 0
    is_native = pixels.syntax == ExplicitVRLittleEndian
    dataset.LossyImageCompression = "00" if is_native else "01"
    content = pixels.content
    if not is_native:
        dataset.LossyImageCompressionMethod = "ISO_10918_1"
        uncompressed = pixels.width_px * pixels.height_px * dataset.SamplesPerPixel
        dataset.LossyImageCompressionRatio = round(uncompressed / len(content), 2)
    dataset.PixelData = (
        content + b"\0" * (len(content) % 2) if is_native else encapsulate([content])
    )
    dataset["PixelData"].VR = "OW" if is_native else "OB"
    dataset["PixelData"].is_undefined_length = not is_native


def _make_dicom_code(value: str, scheme: str, meaning: str) -> pydicom.Dataset:
    code = pydicom.Dataset()
    code.CodeValue, code.CodingSchemeDesignator, code.CodeMeaning = value, scheme, meaning
    return code
