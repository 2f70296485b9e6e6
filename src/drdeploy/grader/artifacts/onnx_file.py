"""Find the separate files in which an ONNX model keeps its weights.

An ONNX model may keep its weights in separate files with any names, which ONNX calls external data.
An ONNX file is a Protocol Buffers message, ``ModelProto`` of ``onnx.proto``. This module reads only
the fields that name these files, and skips weights inside the ONNX file, because they may take
gigabytes. Packing therefore does not need the package ``onnx``. The file is not trusted, so every
length is checked.
"""

from __future__ import annotations

import mmap
from typing import TYPE_CHECKING

from drdeploy.errors import ArtifactError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_VARINT, _EIGHT_BYTES, _LENGTH, _FOUR_BYTES = 0, 1, 2, 5  # wire types of Protocol Buffers
_FIXED_SIZE = {_EIGHT_BYTES: 8, _FOUR_BYTES: 4}
_VARINT_BYTES_MAX = 10

_GRAPH_FIELD = 7
# The fields that lead to tensors: {message: {number of the field: message in the field}}.
_WAYS = {
    "model": {_GRAPH_FIELD: "graph", 25: "function"},
    "graph": {1: "node", 5: "tensor", 15: "sparse tensor"},
    "function": {7: "node", 11: "attribute"},
    "node": {5: "attribute"},
    "attribute": {
        5: "tensor",
        6: "graph",
        10: "tensor",
        11: "graph",
        22: "sparse tensor",
        23: "sparse tensor",
    },
    "sparse tensor": {1: "tensor", 2: "tensor"},
}
_EXTERNAL_DATA, _DATA_LOCATION, _EXTERNAL = 13, 14, 1  # fields of TensorProto, and a value
_KEY, _VALUE = 1, 2  # fields of StringStringEntryProto


class _Malformed(Exception):
    """The bytes are not a Protocol Buffers message."""


def read_paths_of_external_weights(file: Path) -> tuple[str, ...]:
    """Return the paths of the weight files that an ONNX file names, exactly as in the file.

    Raises:
        ArtifactError: The file cannot be read, or is not an ONNX file.
    """
    try:
        with file.open("rb") as opened:
            if not opened.seek(0, 2):
                raise _make_not_onnx_error(file, "The file is empty")
            with mmap.mmap(opened.fileno(), 0, access=mmap.ACCESS_READ) as data:
                return tuple(sorted(set(_find_external_paths_of_model(data))))
    except OSError as err:
        raise ArtifactError(
            f"The model cannot be read: {err.strerror}",
            where=str(file),
            remedy="Give a file that you may read",
        ) from err
    except (_Malformed, UnicodeDecodeError) as err:
        raise _make_not_onnx_error(
            file, "The file is not ONNX, or is damaged or incomplete"
        ) from err


def is_readable_as_onnx(file: Path) -> bool:
    """Whether a file can be read as ONNX, whatever its name is."""
    try:
        read_paths_of_external_weights(file)
    except ArtifactError:
        return False
    return True


def _make_not_onnx_error(file: Path, what: str) -> ArtifactError:
    return ArtifactError(what, where=str(file), remedy="Copy or export the model again")


def _find_external_paths_of_model(data: mmap.mmap) -> Iterator[str]:
    """Yield the path of the weight file for each tensor that lies outside the ONNX file.

    Raises:
        _Malformed: The bytes are not a model with a graph.
    """
    has_graph = False
    pending = [("model", 0, len(data))]
    while pending:  # a loop, because graphs may be nested deeper than Python's stack
        message, start, end = pending.pop()
        for number, wire, begin, stop in _read_protobuf_fields(data, start, end):
            inner = _WAYS[message].get(number)
            if inner is None or wire != _LENGTH:
                continue
            has_graph |= message == "model" and number == _GRAPH_FIELD
            if inner == "tensor":
                yield from _find_external_path_of_tensor(data, begin, stop)
            else:
                pending.append((inner, begin, stop))
    if not has_graph:
        raise _Malformed


def _find_external_path_of_tensor(data: mmap.mmap, start: int, end: int) -> Iterator[str]:
    location, is_external = "", False
    for number, wire, begin, stop in _read_protobuf_fields(data, start, end):
        if number == _DATA_LOCATION and wire == _VARINT:
            is_external = _read_varint(data, begin, stop)[0] == _EXTERNAL
        elif number == _EXTERNAL_DATA and wire == _LENGTH:
            entry = {
                field: data[entry_start:entry_end]
                for field, _, entry_start, entry_end in _read_protobuf_fields(data, begin, stop)
            }
            if entry.get(_KEY) == b"location":
                location = entry.get(_VALUE, b"").decode()
    if is_external:
        yield location


def _read_protobuf_fields(
    data: mmap.mmap, start: int, end: int
) -> Iterator[tuple[int, int, int, int]]:
    """Yield, for each field, its number, its wire type, and the start and end of its value.

    Raises:
        _Malformed: A field is longer than its message, or has an unknown wire type.
    """
    at = start
    while at < end:
        tag, at = _read_varint(data, at, end)
        number, wire = tag >> 3, tag & 7
        begin = at
        if wire == _VARINT:
            _, at = _read_varint(data, at, end)
        elif wire == _LENGTH:
            size, begin = _read_varint(data, at, end)
            at = begin + size
        elif wire in _FIXED_SIZE:
            at += _FIXED_SIZE[wire]
        else:
            raise _Malformed
        if at > end or not number:
            raise _Malformed
        yield number, wire, begin, at


def _read_varint(data: mmap.mmap, at: int, end: int) -> tuple[int, int]:
    """Return a number of variable length (a varint), and the position of the byte after it."""
    number = 0
    for count in range(_VARINT_BYTES_MAX):
        if at + count >= end:
            break
        byte = data[at + count]
        number |= (byte & 0x7F) << 7 * count
        if byte < 0x80:
            return number, at + count + 1
    raise _Malformed
