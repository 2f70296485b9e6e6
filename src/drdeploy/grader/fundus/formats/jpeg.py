"""Read the markers of a JPEG file (ITU-T T.81, annex B)."""

from __future__ import annotations

import re
from typing import NamedTuple

from drdeploy.errors import UnreadableImage, UnsupportedImage
from drdeploy.grader.fundus.formats import jpeg_index
from drdeploy.grader.fundus.formats.header import (
    ImageHeader,
    refuse_picture_behind_end,
    truncated_image_error,
)
from drdeploy.grader.fundus.formats.ifd import UPRIGHT, read_exif_orientation

SIGNATURE = b"\xff\xd8\xff"

MAX_SCANS = 32
"""The largest number of scans that is accepted. A progressive encoder writes about 10 scans. The
decoder passes over all pixels for each scan, even if the scan holds a single byte.
"""

MAX_SEGMENTS = 4096
"""The largest number of segments that is accepted. Photographs have a few dozen, or a few hundred
with a colour profile and an editing history.
"""

_MARKER = re.compile(rb"\xff([^\x00\xff])")
_AFTER_SCAN = re.compile(rb"\xff[^\x00\xd0-\xd7\xff]")  # all but stuffed bytes and restarts
_STANDALONE = frozenset({0x01, 0xD8, *range(0xD0, 0xD8)})
_END_OF_IMAGE = 0xD9
_START_OF_SCAN = 0xDA
_JFIF = 0xE0
_EXIF = 0xE1
_MULTI_PICTURE = 0xE2
_ADOBE = 0xEE
_APPLICATION_HEADER_BYTES = 12
"""The length of an Adobe header, and of a JFIF header without its thumbnail."""
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE_FRAME = 0xC2
_HUFFMAN_FRAMES = frozenset({0xC0, 0xC1, _PROGRESSIVE_FRAME})  # baseline, extended, progressive
# Frames, Huffman, quantization and arithmetic tables, restarts, and the two application segments
# that name the colour space (JFIF, Adobe): all that libjpeg needs for the pixels.
_NEEDED = frozenset({*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, 0xE0, 0xEE, _START_OF_SCAN})
_TABLES = frozenset({0xC4, 0xDB, 0xDD})  # Huffman, quantization, restart interval


class _Segment(NamedTuple):
    marker: int
    body: bytes  # without marker and length
    raw: memoryview  # as in the file; with the compressed data if it is a scan
    start: int  # where in the file


def read_jpeg_header(data: bytes) -> ImageHeader:
    """Read the header of a JPEG.

    Raises:
        UnreadableImage: The file ends too early, does not have exactly one frame, or is built to be
            slow to decode.
        UnsupportedImage: The samples are not 8-bit or not Huffman-coded, or the file holds more
            than one picture.
    """
    segments, end = _read_segments(data)
    frame = _find_single_frame_header(segments)
    _check_all_components(frame, segments)
    _refuse_second_picture_in_file(data, segments, end or len(data))
    body = frame.body
    return ImageHeader(
        format="JPEG",
        height_px=int.from_bytes(body[1:3]),
        width_px=int.from_bytes(body[3:5]),
        orientation=_find_exif_orientation(segments),
        data=_encode_segments(segments, _NEEDED),
        is_progressive=frame.marker == _PROGRESSIVE_FRAME,
        scan_count=sum(segment.marker == _START_OF_SCAN for segment in segments),
        lacks_end=end is None,
    )


def check_and_reduce_tiff_part(data: bytes, *, max_width_px: int, max_height_px: int) -> bytes:
    """Check a JPEG-compressed strip or tile of a TIFF, and return the data that its pixels need.

    Raises:
        UnreadableImage: The data are not a JPEG, are larger than the strip or tile should be, or
            are refused by :func:`read_jpeg_header`.
        UnsupportedImage: :func:`read_jpeg_header` does not support the data.
    """
    if not data.startswith(SIGNATURE):
        raise UnreadableImage("A strip or tile of the JPEG-compressed TIFF is not a JPEG")
    header = read_jpeg_header(data)
    # Encoders may round both sides up to whole blocks, of 16 pixels at most.
    if header.width_px > max_width_px + 15 or header.height_px > max_height_px + 15:
        raise UnreadableImage("The TIFF states two different sizes of the picture")
    if header.lacks_end:
        raise truncated_image_error(file_format="TIFF")
    refuse_jpeg_with_too_few_bytes(header)
    return header.data


def check_and_reduce_tiff_tables(data: bytes) -> bytes:
    """Check the JPEG tables that the strips or tiles of a TIFF share, and return only the tables.

    Raises:
        UnreadableImage: The tables are cut off, or the data hold more than tables.
    """
    segments, _ = _read_segments(data)
    if not data.startswith(SIGNATURE) or not {part.marker for part in segments} <= _TABLES:
        raise UnreadableImage("The JPEG tables in the TIFF are damaged")
    return _encode_segments(segments, _TABLES)


def remove_jpeg_metadata(data: bytes) -> bytes:
    """Return a JPEG without segments that its pixels do not need, such as EXIF and profiles.

    The compressed pixels stay as they are.

    Raises:
        UnreadableImage: The file ends too early, or has too many segments or scans.
    """
    segments, _ = _read_segments(data)
    kept = [
        _strip_metadata_of_application_segment(one) for one in segments if one.marker in _NEEDED
    ]
    return b"".join([b"\xff\xd8", *kept, b"\xff\xd9"])


def _strip_metadata_of_application_segment(segment: _Segment) -> bytes | memoryview:
    """Keep only the JFIF or Adobe header of a segment; the rest, such as a thumbnail, is cut."""
    body = segment.body[:_APPLICATION_HEADER_BYTES]
    if segment.marker == _JFIF:
        is_whole = body.startswith(b"JFIF\0") and len(body) == _APPLICATION_HEADER_BYTES
        return b"\xff\xe0\x00\x10" + body + b"\0\0" if is_whole else b""
    if segment.marker == _ADOBE:
        is_whole = body.startswith(b"Adobe") and len(body) == _APPLICATION_HEADER_BYTES
        return b"\xff\xee\x00\x0e" + body if is_whole else b""
    return segment.raw


def _encode_segments(segments: list[_Segment], markers: frozenset[int]) -> bytes:
    kept = (segment.raw for segment in segments if segment.marker in markers)
    return b"".join([b"\xff\xd8", *kept, b"\xff\xd9"])


def refuse_jpeg_with_too_few_bytes(header: ImageHeader) -> None:
    """Refuse a JPEG with too few bytes for the size that it claims.

    libjpeg fills missing data with grey, so a file of 300 bytes could take the memory and time of
    40 million pixels. Each block of 8 x 8 pixels needs at least one bit, because a Huffman code has
    at least one. The check requires only half a bit per block, so that files with unusual
    subsampling pass too.

    Raises:
        UnreadableImage: The file has too few bytes for its size in pixels.
    """
    blocks = header.width_px * header.height_px / (8 * 8)
    least_bytes = blocks / 8  # one bit each
    if len(header.data) < least_bytes / 2:
        raise truncated_image_error(file_format="JPEG")


def _find_single_frame_header(segments: list[_Segment]) -> _Segment:
    frames = [segment for segment in segments if segment.marker in _FRAMES]
    if len(frames) != 1 or len(frames[0].body) < 6:
        raise UnreadableImage("The JPEG must have exactly one frame header")
    if frames[0].marker not in _HUFFMAN_FRAMES:
        raise UnsupportedImage(
            "Lossless and arithmetic-coded JPEGs are not supported",
            remedy="Save the image as a baseline JPEG",
        )
    if frames[0].body[0] != 8:
        raise UnsupportedImage(
            f"JPEGs with {frames[0].body[0]}-bit samples are not supported",
            remedy="Save the image as a JPEG with 8 bits per sample",
        )
    return frames[0]


def _check_all_components(frame: _Segment, segments: list[_Segment]) -> None:
    """Refuse a JPEG that ends before its last scan, and therefore lacks colours or details.

    Each scan of a progressive JPEG holds some frequencies (0 to 63) of some components. The first
    scan of a frequency may hold only its upper bits; each later scan then adds one bit. The picture
    is complete if scans hold the lowest bit of every frequency of every component.

    Raises:
        UnreadableImage: For a frequency of a component, no scan holds the lowest bit.
    """
    is_progressive = frame.marker == _PROGRESSIVE_FRAME
    components = frame.body[6::3][: frame.body[5]]
    missing = dict.fromkeys(components, (1 << 64) - 1 if is_progressive else 1)
    for scan in (segment.body for segment in segments if segment.marker == _START_OF_SCAN):
        count = scan[0] if scan else 0
        selection = scan[1 + 2 * count : 4 + 2 * count]
        if len(selection) < 3:
            raise truncated_image_error(file_format="JPEG")
        first, last, bits = selection
        if is_progressive and bits & 0xF:
            continue  # a later scan has the lowest bits
        done = (2 << min(last, 63)) - (1 << min(first, 63)) if is_progressive else 1
        for component in scan[1 : 1 + 2 * count : 2]:
            missing[component] = missing.get(component, 0) & ~done
    if any(missing.values()):
        raise truncated_image_error(file_format="JPEG")


def _refuse_second_picture_in_file(data: bytes, segments: list[_Segment], end: int) -> None:
    """Refuse a JPEG with a second picture other than a preview or map of the first picture.

    Raises:
        UnsupportedImage: There is a second picture.
    """
    companions = sum(
        jpeg_index.count_previews_and_gain_maps(
            data, segment.start + 4 + len(jpeg_index.IDENTIFIER)
        )
        for segment in segments
        if segment.marker == _MULTI_PICTURE and segment.body.startswith(jpeg_index.IDENTIFIER)
    )
    if not companions:
        refuse_picture_behind_end(data, end, file_format="JPEG")


def _read_segments(data: bytes) -> tuple[list[_Segment], int | None]:
    """Return the segments, and the position after the end marker (None if there is no end marker).

    Raises:
        UnreadableImage: The file ends before its first scan or within a segment's header, or has
            too many segments or scans.
    """
    segments: list[_Segment] = []
    scans = 0
    position = 2
    while True:
        found = _MARKER.search(data, position)
        if found is None:
            # A file may lack its last bytes, which no pixel needs.
            if segments and segments[-1].marker == _START_OF_SCAN:
                return segments, None
            raise truncated_image_error(file_format="JPEG")
        marker = found[1][0]
        if marker == _END_OF_IMAGE:
            return segments, found.end()
        if marker in _STANDALONE:
            position = found.end()
            continue
        scans += marker == _START_OF_SCAN
        if scans > MAX_SCANS or len(segments) >= MAX_SEGMENTS:
            raise UnreadableImage(
                "The JPEG has too many segments or scans",
                remedy="Save the image as a baseline JPEG",
            )
        segment = _read_segment(data, found.start(), marker)
        position = found.start() + len(segment.raw)
        segments.append(segment)


def _read_segment(data: bytes, start: int, marker: int) -> _Segment:
    body_end = start + 2 + int.from_bytes(data[start + 2 : start + 4])
    # The length counts its own two bytes, so that less than two is not a length.
    if body_end < start + 4 or body_end > len(data):
        raise truncated_image_error(file_format="JPEG")
    end = body_end
    if marker == _START_OF_SCAN:
        after = _AFTER_SCAN.search(data, body_end)
        end = after.start() if after else _find_end_of_truncated_scan(data)
    raw = memoryview(data)[start : max(end, body_end)]  # no copy of the compressed data
    return _Segment(marker, data[start + 4 : body_end], raw, start)


def _find_end_of_truncated_scan(data: bytes) -> int:
    """Return the position at which the compressed data end in a file without an end marker.

    The file may end with zeros. The zeros are cut off, because the decoder would take them for
    pixels. One zero is kept, because it may belong to the compressed data. A last byte 0xFF is the
    first half of the end marker, and is cut off too.
    """
    end = min(len(data.rstrip(b"\0")) + 1, len(data))
    return end - 1 if data[end - 1] == 0xFF else end


def _find_exif_orientation(segments: list[_Segment]) -> int:
    prefix = b"Exif\x00\x00"
    for segment in segments:
        if segment.marker == _EXIF and segment.body.startswith(prefix):
            return read_exif_orientation(segment.body[len(prefix) :])
    return UPRIGHT
