"""DICOM files as cameras write them, and as nobody should."""

from __future__ import annotations

import io
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from required import require

if TYPE_CHECKING:
    import numpy as np

PHOTOGRAPHY_8_BIT = "1.2.840.10008.5.1.4.1.1.77.1.5.1"
PATIENT = "Garcia^Ana"
ROOT = Path(__file__).resolve().parent.parent.parent
EYE = ROOT / "examples" / "photographs" / "cc0_healthy_left_eye.jpg"


def make_dataset(pixels: np.ndarray, *, photometric: str = "", bits: int = 0, **fields):
    """A photograph of the left eye in Explicit VR Little Endian."""
    from pydicom import FileDataset
    from pydicom.dataset import FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, generate_uid

    stored = bits or 8 * pixels.dtype.itemsize
    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = PHOTOGRAPHY_8_BIT
    meta.MediaStorageSOPInstanceUID = generate_uid()
    dataset = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
    dataset.SOPClassUID = meta.MediaStorageSOPClassUID
    dataset.SOPInstanceUID = meta.MediaStorageSOPInstanceUID
    dataset.StudyInstanceUID, dataset.SeriesInstanceUID = generate_uid(), generate_uid()
    dataset.PatientName, dataset.PatientID = PATIENT, "4711"
    dataset.Modality, dataset.ImageLaterality = "OP", "L"
    dataset.Rows, dataset.Columns = pixels.shape[:2]
    dataset.SamplesPerPixel = 3 if pixels.ndim == 3 else 1
    if pixels.ndim == 3:
        dataset.PlanarConfiguration = 0
    dataset.PhotometricInterpretation = photometric or (
        "RGB" if pixels.ndim == 3 else "MONOCHROME2"
    )
    dataset.BitsAllocated = 8 * pixels.dtype.itemsize
    dataset.BitsStored, dataset.HighBit = stored, stored - 1
    dataset.PixelRepresentation = int(pixels.dtype.kind == "i")
    dataset.PixelData = pixels.tobytes()
    for name, value in fields.items():
        setattr(dataset, name, value)
    return dataset


def shrink_eye(by: int = 5) -> tuple[bytes, np.ndarray]:
    """A small JPEG of the healthy eye, for tests of many files, and its pixels."""
    import numpy as np
    from PIL import Image

    stream = io.BytesIO()
    with Image.open(EYE) as image:
        small = image.convert("RGB").reduce(by)
    small.save(stream, "JPEG", quality=90, subsampling="4:2:2")
    return stream.getvalue(), np.asarray(small)


def as_bytes(dataset) -> bytes:
    stream = io.BytesIO()
    dataset.save_as(stream, enforce_file_format=True)
    return stream.getvalue()


def encapsulate(dataset, frames: list[bytes], syntax: str):
    """The same photograph with compressed frames."""
    from pydicom.encaps import encapsulate
    from pydicom.uid import UID

    dataset.file_meta.TransferSyntaxUID = UID(syntax)
    dataset.PixelData = encapsulate(frames)
    dataset["PixelData"].VR = "OB"
    dataset["PixelData"].is_undefined_length = True
    if len(frames) > 1:
        dataset.NumberOfFrames = len(frames)
    return dataset


def rewrite_with_dcmtk(data: bytes, program: str, *options: str) -> bytes:
    """Rewrite a file with a program of dcmtk, for example in another transfer syntax."""
    require(shutil.which(program) is not None, f"{program} (Debian's package dcmtk)")
    with tempfile.TemporaryDirectory() as folder:
        source, target = Path(folder, "source.dcm"), Path(folder, "target.dcm")
        source.write_bytes(data)
        subprocess.run([program, *options, source, target], check=True, capture_output=True)
        return target.read_bytes()
