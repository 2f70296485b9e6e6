"""ONNX Runtime's C library, called without its Python extension.

``onnxruntime`` for Python is a second copy of the library with bindings for all that it can do,
of which a server needs to load and to run.  Importing that copy costs a cold start some 27 ms of
CPU, opening the library 4 ms; and an image that holds the library alone is 37 MB smaller.

The interface is a table of functions whose places never change; see ``OrtApi`` in
https://github.com/microsoft/onnxruntime/blob/main/include/onnxruntime/core/session/onnxruntime_c_api.h.
"""

from __future__ import annotations

import ctypes
import importlib.util
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

API_VERSION = 17
"""Of the table; a later library answers with that of an earlier one."""

ERRORS_ONLY = 3
SEQUENTIAL = 0
OPTIMIZE_ALL = 99
ARENA_ALLOCATOR, DEFAULT_MEMORY = 1, 0

ELEMENT_TYPES = {1: "float32", 10: "float16", 11: "float64", 2: "uint8", 6: "int32", 7: "int64"}
"""ONNX's numbers of the types that an image classifier can have."""
ELEMENT_NUMBERS = {name: number for number, name in ELEMENT_TYPES.items()}

PLACES = {
    "GetErrorMessage": 2,
    "CreateEnv": 3,
    "DisableTelemetryEvents": 6,
    "CreateSession": 7,
    "Run": 9,
    "CreateSessionOptions": 10,
    "SetSessionExecutionMode": 13,
    "SetSessionGraphOptimizationLevel": 23,
    "SetIntraOpNumThreads": 24,
    "SetInterOpNumThreads": 25,
    "SessionGetInputCount": 30,
    "SessionGetOutputCount": 31,
    "SessionGetInputTypeInfo": 33,
    "SessionGetOutputTypeInfo": 34,
    "SessionGetInputName": 36,
    "SessionGetOutputName": 37,
    "CreateTensorWithDataAsOrtValue": 49,
    "GetTensorMutableData": 51,
    "CastTypeInfoToTensorInfo": 55,
    "GetTensorElementType": 60,
    "GetDimensionsCount": 61,
    "GetDimensions": 62,
    "GetTensorTypeAndShape": 65,
    "CreateCpuMemoryInfo": 69,
    "AllocatorFree": 76,
    "GetAllocatorWithDefaultOptions": 78,
    "ReleaseStatus": 93,
    "ReleaseSession": 95,
    "ReleaseValue": 96,
    "ReleaseTypeInfo": 98,
    "ReleaseTensorTypeAndShapeInfo": 99,
    "ReleaseSessionOptions": 100,
    "AddSessionConfigEntry": 130,
}
"""Where in the table each function is; those that create or read answer with a status."""


class LibraryRefused(Exception):
    """ONNX Runtime answered with an error; the message is its own."""


@dataclass(frozen=True)
class Node:
    """An input or an output: its sides (None: any) and its element type."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class OnnxRuntimeLibrary:
    """The loaded library, with one environment."""

    def __init__(self, path: Path) -> None:
        opened = ctypes.CDLL(str(path))
        opened.OrtGetApiBase.restype = POINTER(c_void_p * 2)
        get_api, get_version = opened.OrtGetApiBase().contents
        self.version: str = ctypes.CFUNCTYPE(c_char_p)(get_version)().decode()
        table = ctypes.CFUNCTYPE(c_void_p, c_uint32)(get_api)(API_VERSION)
        places = ctypes.cast(table, POINTER(c_void_p))
        self._functions = {
            name: _function(name, address)
            for name, place in PLACES.items()
            if (address := places[place]) is not None
        }
        self._environment = self.make("CreateEnv", c_int(ERRORS_ONLY), b"drdeploy")
        self.call("DisableTelemetryEvents", self._environment)
        self.allocator = self.make("GetAllocatorWithDefaultOptions")
        self.memory = self.make("CreateCpuMemoryInfo", ARENA_ALLOCATOR, DEFAULT_MEMORY)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function of the table.

        Raises:
            LibraryRefused: It answered with an error.
        """
        status = self._functions[name](*arguments)
        if status:
            message = self._functions["GetErrorMessage"](status).decode(errors="replace")
            self.release("Status", c_void_p(status))
            raise LibraryRefused(message)

    def make(self, name: str, *arguments: Any) -> c_void_p:
        """Call a function whose last argument is where it puts what it makes."""
        made = c_void_p()
        self.call(name, *arguments, byref(made))
        return made

    def number(self, name: str, *arguments: Any) -> int:
        """Call a function whose last argument is where it puts a number."""
        found = c_size_t()
        self.call(name, *arguments, byref(found))
        return found.value

    def release(self, kind: str, thing: c_void_p) -> None:
        """Give back what was made."""
        self._functions[f"Release{kind}"](thing)

    def load(self, path: str, *, threads: int, entries: Mapping[str, str]) -> LibrarySession:
        """Load an ONNX file.

        Raises:
            LibraryRefused: It is not a model that this library can run.
        """
        options = self.make("CreateSessionOptions")
        try:
            self.call("SetIntraOpNumThreads", options, threads)
            self.call("SetInterOpNumThreads", options, 1)
            self.call("SetSessionExecutionMode", options, SEQUENTIAL)
            self.call("SetSessionGraphOptimizationLevel", options, OPTIMIZE_ALL)
            for name, value in entries.items():
                self.call("AddSessionConfigEntry", options, name.encode(), value.encode())
            made = self.make("CreateSession", self._environment, path.encode(), options)
        finally:
            self.release("SessionOptions", options)
        return LibrarySession(self, made)


class LibrarySession:
    """A loaded model with one tensor in; several threads may run it at once."""

    def __init__(self, library: OnnxRuntimeLibrary, session: c_void_p) -> None:
        self._library = library
        self._session = session
        self.inputs = self._nodes("Input")
        self.outputs = self._nodes("Output")
        names = [node.name.encode() for node in self.outputs]
        self._output_names = (c_char_p * len(names))(*names)
        self._input_names = (c_char_p * 1)(self.inputs[0].name.encode())

    def __del__(self) -> None:
        self._library.release("Session", self._session)

    def run(self, batch: NDArray[Any]) -> NDArray[Any]:
        """Predict.

        Args:
            batch: Of the input's shape and element type.

        Returns:
            The first output.

        Raises:
            LibraryRefused: The batch does not fit the model.
        """
        library = self._library
        data = np.ascontiguousarray(batch)
        shape = (c_int64 * data.ndim)(*data.shape)
        pointer = c_void_p(data.__array_interface__["data"][0])
        kind = c_int(ELEMENT_NUMBERS[data.dtype.name])
        value = library.make(
            "CreateTensorWithDataAsOrtValue",
            library.memory,
            pointer,
            c_size_t(data.nbytes),
            shape,
            c_size_t(data.ndim),
            kind,
        )
        answered = (c_void_p * len(self._output_names))()
        try:
            library.call(
                "Run",
                self._session,
                None,
                self._input_names,
                byref(value),
                c_size_t(1),
                self._output_names,
                c_size_t(len(self._output_names)),
                answered,
            )
            return self._copied(c_void_p(answered[0]))
        finally:
            library.release("Value", value)
            for one in answered:
                library.release("Value", c_void_p(one))

    def _copied(self, value: c_void_p) -> NDArray[Any]:
        library = self._library
        described = library.make("GetTensorTypeAndShape", value)
        try:
            shape, dtype = _shape_and_type(library, described)
        finally:
            library.release("TensorTypeAndShapeInfo", described)
        address = library.make("GetTensorMutableData", value).value
        sides = [side or 0 for side in shape]
        result = np.empty(sides, dtype)
        if address:
            ctypes.memmove(result.__array_interface__["data"][0], address, result.nbytes)
        return result

    def _nodes(self, side: str) -> tuple[Node, ...]:
        count = self._library.number(f"SessionGet{side}Count", self._session)
        return tuple(self._node(side, c_size_t(at)) for at in range(count))

    def _node(self, side: str, at: c_size_t) -> Node:
        library = self._library
        text = library.make(f"SessionGet{side}Name", self._session, at, library.allocator)
        name = ctypes.string_at(text.value or 0).decode()
        library.call("AllocatorFree", library.allocator, text)
        described = library.make(f"SessionGet{side}TypeInfo", self._session, at)
        try:
            tensor = library.make("CastTypeInfoToTensorInfo", described)
            if not tensor:
                raise LibraryRefused(f"{name} is not a tensor")
            return Node(name, *_shape_and_type(library, tensor))
        finally:
            library.release("TypeInfo", described)


def find_library() -> Path | None:
    """The C library of the installed ``onnxruntime``; its Linux wheels carry it."""
    package = importlib.util.find_spec("onnxruntime")
    if package is None or package.origin is None:
        return None
    found = sorted((Path(package.origin).parent / "capi").glob("libonnxruntime.so.*"))
    return found[0] if found else None


def _shape_and_type(
    library: OnnxRuntimeLibrary, tensor: c_void_p
) -> tuple[tuple[int | None, ...], str]:
    sides = (c_int64 * library.number("GetDimensionsCount", tensor))()
    library.call("GetDimensions", tensor, sides, c_size_t(len(sides)))
    number = c_int()
    library.call("GetTensorElementType", tensor, byref(number))
    dtype = ELEMENT_TYPES.get(number.value, f"type {number.value}")
    return tuple(side if side >= 0 else None for side in sides), dtype


def _function(name: str, address: int) -> Any:
    if name.startswith("Release"):
        return ctypes.CFUNCTYPE(None, c_void_p)(address)
    returns = c_char_p if name == "GetErrorMessage" else c_void_p
    function = ctypes.CFUNCTYPE(returns)(address)
    if name == "GetErrorMessage":
        function.argtypes = (c_void_p,)
    return function
