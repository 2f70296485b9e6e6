"""Read the data elements of a DICOM file, within limits, before any pixel is decoded."""

from __future__ import annotations

import io
import threading
import warnings
import zlib
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from drdeploy.errors import (
    PayloadTooLarge,
    RequestRefused,
    UnreadableImage,
    UnsupportedImage,
    turn_import_error_into_missing_extra,
)
from drdeploy.grader.fundus.formats.foreign import is_dicom

with turn_import_error_into_missing_extra("clinic", "A DICOM file"):
    import pydicom
    from pydicom import uid
    from pydicom.datadict import dictionary_has_tag, dictionary_VR, keyword_for_tag
    from pydicom.dataelem import RawDataElement
    from pydicom.filebase import DicomBytesIO

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pydicom.tag import BaseTag

    from drdeploy.grader.fundus.limits import ImageLimits

MAX_READS = 60_000
"""How many times the parser may read from a file.  A photograph has a few hundred data elements,
and 256 MiB of compressed pixels take 33,000 reads. Without the limit, a file that consists of empty
elements would become gigabytes of Python objects."""

PHOTOGRAPH_CLASSES: Final[Mapping[str, str]] = {
    "1.2.840.10008.5.1.4.1.1.77.1.5.1": "Ophthalmic Photography 8 Bit",
    "1.2.840.10008.5.1.4.1.1.77.1.5.2": "Ophthalmic Photography 16 Bit",
    "1.2.840.10008.5.1.4.1.1.77.1.5.5": "Wide Field Ophthalmic Photography Stereographic",
    "1.2.840.10008.5.1.4.1.1.77.1.5.6": "Wide Field Ophthalmic Photography 3D Coordinates",
    "1.2.840.10008.5.1.4.1.1.7": "Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.2": "Multi-frame Grayscale Byte Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.3": "Multi-frame Grayscale Word Secondary Capture",
    "1.2.840.10008.5.1.4.1.1.7.4": "Multi-frame True Color Secondary Capture",
}
"""The SOP classes that may hold photographs of the eye (DICOM PS3.4, B.5)."""

NATIVE: Final = frozenset({
    uid.ImplicitVRLittleEndian, uid.ExplicitVRLittleEndian, uid.DeflatedExplicitVRLittleEndian
})  # fmt: skip
"""Transfer syntaxes whose pixels are not compressed."""
JPEG_LOSSY: Final = frozenset({uid.JPEGBaseline8Bit, uid.JPEGExtended12Bit})
JPEG_LOSSLESS: Final = frozenset({uid.JPEGLossless, uid.JPEGLosslessSV1})
JPEG_LS: Final = frozenset({uid.JPEGLSLossless, uid.JPEGLSNearLossless})
JPEG_2000: Final = frozenset({
    uid.JPEG2000Lossless, uid.JPEG2000,
    uid.HTJ2KLossless, uid.HTJ2KLosslessRPCL, uid.HTJ2K,
})  # fmt: skip
COMPRESSED: Final = JPEG_LOSSY | JPEG_LOSSLESS | JPEG_LS | JPEG_2000 | {uid.RLELossless}

# pydicom would warn about values against the standard, and quote them: a patient's name in a log.
pydicom.config.settings.reading_validation_mode = pydicom.config.IGNORE

MAX_VALUE_BYTES = 262_144
"""The longest value (text, numbers or a sequence) that is turned into Python objects, in bytes.  In
a photograph, a value has at most a few kilobytes. Pixels, tables and profiles stay bytes, whatever
their length."""

_BYTES = frozenset({"OB", "OB or OW", "OD", "OF", "OL", "OV", "OW", "UN"})
"""Value representations that pydicom keeps as bytes (DICOM PS3.5, 6.2)."""

_GROUPS_NOT_READ = frozenset({0x0018, 0x0022, 0x0032, 0x0038, 0x0040, 0x0088})
"""Groups of elements that grading does not need: how the photograph was taken and ordered, and its
icon.

If an element in these groups is damaged or too long, the element is left out and the photograph is
still read.
"""

_PARSING = threading.Lock()
"""The lock that a thread takes before it changes Python's warning filters, because these filters
belong to the whole process.
"""


@contextmanager
def refuse_damaged_file() -> Iterator[None]:
    """Turn any unexpected error inside the ``with`` block into a refusal.

    pydicom reads most values only when they are used. Wrong bytes may cause any exception, in
    pydicom or in a decoder. The messages of these exceptions may quote a value, so they are not
    passed on.

    Raises:
        UnreadableImage: The file is damaged.
    """
    try:
        yield
    except RequestRefused:
        raise
    except Exception as err:
        raise UnreadableImage(
            "The DICOM file is damaged and cannot be read", remedy="Send the file again"
        ) from err


class _BoundedStream(io.BytesIO):
    """A file in memory that raises an error after too many calls of ``read``.

    A file with very many small data elements would otherwise fill the memory.
    """

    reads = 0

    def read(self, size: int | None = -1, /) -> bytes:
        self.reads += 1
        if self.reads > MAX_READS:
            raise UnreadableImage("The DICOM file has too many data elements")
        return super().read(size)


def open_dicom_file(data: bytes, limits: ImageLimits) -> pydicom.Dataset:
    """Read a DICOM file, and check that it holds photographs of a supported kind.

    Args:
        data: Content of the file.
        limits: The largest size of the file, and of a deflated file after decompression.

    Raises:
        UnsupportedImage: The object is not a photograph, or its transfer syntax is not supported.
        UnreadableImage: The file is truncated or damaged.
        PayloadTooLarge: The file is too large.
    """
    if not is_dicom(data):
        raise UnsupportedImage(
            "The file is not a DICOM file, because it lacks the letters DICM",
            remedy="Export the photograph as a standard DICOM file (PS3.10)",
        )
    if len(data) > limits.max_bytes:
        raise PayloadTooLarge(
            f"The file has {len(data)} bytes, but at most {limits.max_bytes} are allowed",
            remedy="Export each photograph to its own file, or in JPEG Baseline",
        )
    dataset = _parse_data_elements(_decompress_deflated_file(data, limits))
    syntax = dataset.file_meta.get("TransferSyntaxUID", "")
    if syntax not in NATIVE and syntax not in COMPRESSED:
        raise UnsupportedImage(
            f"The file's transfer syntax ({_describe_dicom_uid(syntax)}) is not supported",
            remedy="Export the photograph in Explicit VR Little Endian or JPEG Baseline",
        )
    kind = dataset.get("SOPClassUID", "")
    if kind not in PHOTOGRAPH_CLASSES:
        raise UnsupportedImage(
            "The DICOM object is not a photograph of the eye "
            f"(its SOP class: {_describe_dicom_uid(kind)})",
            remedy="Give Ophthalmic Photography or Secondary Capture objects",
        )
    if "PixelData" not in dataset:
        raise UnreadableImage("The DICOM file has no pixels", remedy="Export the photograph again")
    with _PARSING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        _read_all_standard_values(dataset.file_meta)
        _read_all_standard_values(dataset)
    return dataset


def read_patient_number(data: bytes, limits: ImageLimits) -> str:
    """Return the Patient ID in a DICOM file of any kind; empty if it has none.

    Raises:
        RequestRefused: The file is damaged or too large.
    """
    with refuse_damaged_file():
        dataset = _parse_data_elements(
            _decompress_deflated_file(data, limits), specific_tags=["PatientID"]
        )
        return str(dataset.get("PatientID") or "").strip()


def _read_all_standard_values(dataset: pydicom.Dataset) -> None:
    """Read the values of all elements that the standard defines, so that later reads cannot fail.

    pydicom reads a value only when it is first used. Without this function, a damaged value would
    cause an error later, when the worklist, a report or an export is written.

    Raises:
        UnreadableImage: A value is damaged or too long.
    """
    for tag in list(dataset.keys()):
        if tag.is_private:  # nobody here reads a vendor's own elements
            continue
        try:
            _refuse_long_value(dataset, tag)
            element = dataset[tag]
            if element.VR == "SQ":
                _refuse_sequence_instead_of_value(tag)
                for item in element.value:
                    _read_all_standard_values(item)
        except Exception as err:  # whatever Python raises for wrong bytes
            if tag.group in _GROUPS_NOT_READ:
                del dataset[tag]
                continue
            if isinstance(err, UnreadableImage):
                raise
            raise UnreadableImage(
                f"The DICOM attribute {_describe_dicom_tag(tag)} is damaged",
                remedy="Export the photograph from the archive or the camera again",
            ) from err


def _refuse_long_value(dataset: pydicom.Dataset, tag: BaseTag) -> None:
    raw = dataset.get_item(tag)
    if not isinstance(raw, RawDataElement) or raw.length <= MAX_VALUE_BYTES:
        return
    kind = raw.VR or (dictionary_VR(tag) if dictionary_has_tag(tag) else "UN")
    if kind not in _BYTES:
        raise UnreadableImage(
            f"The DICOM attribute {_describe_dicom_tag(tag)} has {raw.length} bytes, but at most "
            f"{MAX_VALUE_BYTES} are allowed for text, numbers and sequences",
            remedy="Export the photograph from the archive or the camera again",
        )


def _refuse_sequence_instead_of_value(tag: BaseTag) -> None:
    """Refuse a sequence in an attribute that the standard defines as a text or a number.

    Such a sequence would be turned into text with all its elements, also the private ones, which
    may be damaged.
    """
    if dictionary_has_tag(tag) and dictionary_VR(tag) != "SQ":
        raise UnreadableImage(
            f"The DICOM attribute {_describe_dicom_tag(tag)} is a sequence instead of a value",
            remedy="Export the photograph from the archive or the camera again",
        )


def _describe_dicom_tag(tag: BaseTag) -> str:
    return keyword_for_tag(tag) or str(tag)


def _describe_dicom_uid(value: object) -> str:
    """Return the name that the standard gives to an identifier.

    An identifier that is not in the standard is not shown, because it may identify a patient.
    """
    known = uid.UID(str(value))
    return known.name if known.name != str(known) else "not in the DICOM standard"


def _parse_data_elements(data: bytes, *, specific_tags: list[str] | None = None) -> pydicom.Dataset:
    with _PARSING, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return pydicom.dcmread(_BoundedStream(data), specific_tags=specific_tags)


def _decompress_deflated_file(data: bytes, limits: ImageLimits) -> bytes:
    """Decompress a deflated file to a file in explicit VR; return any other file unchanged.

    pydicom decompresses without a limit, and a file of 256 MiB may decompress to 256 GB.

    Raises:
        UnreadableImage: The deflated data are damaged or end too early.
        PayloadTooLarge: The decompressed file is too large.
    """
    end = _end_of_file_meta(data)
    if end is None or uid.DeflatedExplicitVRLittleEndian.encode() not in data[:end]:
        return data
    meta = _parse_data_elements(data[:end]).file_meta
    if meta.get("TransferSyntaxUID") != uid.DeflatedExplicitVRLittleEndian:
        return data
    inflater = zlib.decompressobj(-zlib.MAX_WBITS)
    try:
        inflated = inflater.decompress(data[end:], limits.max_bytes)
    except zlib.error as err:
        raise UnreadableImage("The deflated DICOM file is damaged") from err
    if inflater.unconsumed_tail:
        raise PayloadTooLarge(
            f"The deflated DICOM file decompresses to more than {limits.max_bytes} bytes"
        )
    if not inflater.eof:
        raise UnreadableImage(
            "The deflated data in the DICOM file are incomplete", remedy="Send the file again"
        )
    meta.TransferSyntaxUID = uid.ExplicitVRLittleEndian
    head = DicomBytesIO()
    pydicom.filewriter.write_file_meta_info(head, meta, enforce_standard=False)
    return b"".join([data[:132], head.getvalue(), inflated])


def _end_of_file_meta(data: bytes) -> int | None:
    """Return where the file meta information ends; its first element states this (PS3.10, 7.1)."""
    if data[132:140] != b"\x02\x00\x00\x00UL\x04\x00":
        return None
    return 144 + int.from_bytes(data[140:144], "little")
