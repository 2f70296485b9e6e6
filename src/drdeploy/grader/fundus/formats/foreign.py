"""Recognise picture formats that drdeploy does not decode, so that an error can name them."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final, NamedTuple

from drdeploy.errors import UnsupportedImage

if TYPE_CHECKING:
    from collections.abc import Mapping

FOREIGN_SUFFIXES: Final[Mapping[str, str]] = {
    **dict.fromkeys((".heic", ".heif", ".hif"), "HEIC"),
    **dict.fromkeys((".jp2", ".j2k", ".jpx", ".jpf"), "JPEG 2000"),
    **dict.fromkeys((".dcm", ".dicom"), "DICOM"),
    **dict.fromkeys((".3fr", ".arw", ".cr2", ".cr3", ".crw", ".dcr", ".dng"), "camera raw"),
    **dict.fromkeys((".erf", ".gpr", ".iiq", ".kdc", ".mef", ".mos"), "camera raw"),
    **dict.fromkeys((".mrw", ".nef", ".nrw", ".orf", ".pef", ".raf", ".raw"), "camera raw"),
    **dict.fromkeys((".rw2", ".rwl", ".sr2", ".srf", ".srw", ".x3f"), "camera raw"),
    **dict.fromkeys((".psd", ".psb"), "Photoshop (PSD)"),
    **dict.fromkeys((".svg", ".svgz"), "SVG"),
    **dict.fromkeys((".eps", ".ps"), "PostScript"),
    ".avif": "AVIF",
    ".bmp": "BMP",
    ".dds": "DDS",
    ".djvu": "DjVu",
    ".e2e": "Heidelberg (E2E)",
    ".exr": "OpenEXR",
    ".fda": "Topcon (FDA)",
    ".fds": "Topcon (FDS)",
    ".gif": "GIF",
    ".jxl": "JPEG XL",
    ".jxr": "JPEG XR",
    ".kra": "Krita (KRA)",
    ".pcx": "PCX",
    ".qoi": "QOI",
    ".sgi": "SGI",
    ".tga": "TGA",
    ".webp": "WebP",
    ".xcf": "GIMP (XCF)",
}
"""Names of picture formats that are not decoded, by suffix, for files with unrecognised content."""

ARCHIVE_SUFFIXES: Final = frozenset(
    {".7z", ".bz2", ".gz", ".rar", ".tar", ".tbz2", ".tgz", ".txz", ".xz", ".zip", ".zst"}
)
"""The suffixes of archives, which may hold photographs."""

HEAD_BYTES: Final = 132
"""The number of bytes that :func:`find_name_of_foreign_format` needs; the mark of a DICOM file ends
at this byte."""

# ISO base media files (HEIF and its relatives) name their kind behind "ftyp".
_ISO_BRANDS: Final = {
    **dict.fromkeys((b"avif", b"avis"), "AVIF"),
    **dict.fromkeys(
        (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"), "HEIC"
    ),
    b"crx ": "CR3 camera raw",
}
_MARKS: Final = (
    (0, b"GIF8", "GIF"),
    (8, b"WEBP", "WebP"),
    (0, b"\0\0\0\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"\0\0\0\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"II\xbc\x01", "JPEG XR"),
    (128, b"DICM", "DICOM"),
    (0, b"II+\0", "BigTIFF"),
    (0, b"MM\0+", "BigTIFF"),
    (0, b"IIU\0", "RW2 camera raw"),
    (0, b"IIRO", "ORF camera raw"),
    (0, b"IIRS", "ORF camera raw"),
    (0, b"FUJIFILMCCD-RAW", "RAF camera raw"),
    (0, b"FOVb", "X3F camera raw"),
    (0, b"FOCT", "Topcon (FDA)"),
    (0, b"CMDb", "Heidelberg (E2E)"),
    (0, b"8BPS", "Photoshop (PSD)"),
    (0, b"gimp xcf", "GIMP (XCF)"),
    (0, b"\0\0\1\0", "icon (ICO)"),
    (0, b"P5\n", "PGM"),
    (0, b"P6\n", "PPM"),
    (0, b"%PDF-", "PDF"),
)

_CONTENTS: Final = (
    (re.compile(rb"version https://git-lfs"), "a Git LFS pointer", "Run `git lfs pull`"),
    (
        re.compile(rb"\s*<(!doctype html|html)", re.IGNORECASE),
        "a web page",
        "Download the file itself",
    ),
    (
        re.compile(rb"PK\x03\x04|\x1f\x8b|7z\xbc\xaf|Rar!|BZh|\xfd7zXZ|\x28\xb5\x2f\xfd"),
        "an archive",
        "Unpack it first",
    ),
    (
        re.compile(rb"(\xef\xbb\xbf)?\s*(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<svg"),
        "an SVG",
        "Save the picture as a JPEG, PNG or TIFF",
    ),
    (
        re.compile(rb"<\?xml[^>]*>\s*<Error>"),
        "a server's error message",
        "Download the file itself",
    ),
    (
        # The mark of a PNG is designed to reveal this damage.
        re.compile(rb"\x89PNG[\r\n]"),
        "a PNG that was damaged by a transfer in text mode",
        "Transfer the file as binary data",
    ),
    (
        re.compile(rb"\0{132}"),
        "a failed copy (it begins with zeros)",
        "Copy the file again",
    ),
)
"""Formats of files that are named like a photograph or a table but are neither: the first bytes,
the format, and the remedy."""


class OtherContent(NamedTuple):
    """The format of a file that is not the expected photograph or table.

    Attributes:
        noun: The format, for example "a web page".
        remedy: What to do.
    """

    noun: str
    remedy: str


def find_content_that_is_no_photograph(data: bytes) -> OtherContent | None:
    """Return the format of a file that is neither a photograph nor a table; None if unknown."""
    head = data[:HEAD_BYTES]
    found = (OtherContent(noun, to_do) for start, noun, to_do in _CONTENTS if start.match(head))
    return next(found, None)


def is_dicom(data: bytes) -> bool:
    """Tell whether a file has DICOM's mark, which comes after a preamble of 128 bytes."""
    return data[128:132] == b"DICM"


def find_name_of_foreign_format(head: bytes) -> str:
    """Return the name of a picture format that is not decoded; empty if the format is unknown.

    Args:
        head: The first ``HEAD_BYTES`` bytes of the file, or all of it.
    """
    if head[4:8] == b"ftyp":
        return _ISO_BRANDS.get(head[8:12], "")
    if head.startswith(b"BM") and head[6:10] == bytes(4):  # a string may begin with BM, too
        return "BMP"
    return next(
        (name for start, mark, name in _MARKS if head[start : start + len(mark)] == mark), ""
    )


def make_unsupported_format_error(data: bytes) -> UnsupportedImage:
    """Make the error for a file that is not a JPEG, PNG or TIFF, with its format if it is known."""
    name = find_name_of_foreign_format(data[:HEAD_BYTES])
    if name:
        return UnsupportedImage(
            f"The file is in the format {name}, not a JPEG, PNG or TIFF",
            remedy="Save the picture as a JPEG, PNG or TIFF",
        )
    other = find_content_that_is_no_photograph(data)
    if other:
        return UnsupportedImage(
            f"The file is {other.noun}, not a JPEG, PNG or TIFF", remedy=other.remedy
        )
    return UnsupportedImage(
        "The file is not a JPEG, PNG or TIFF", remedy="Send the photograph as one of these"
    )
