"""ONNX Runtime's C library, called without its Python extension.

The Python package ``onnxruntime`` holds the library twice: once as a C library, and once linked
into an extension with bindings for everything that it can do.  A server only loads a model and
runs it.  Importing the extension costs a cold start some 27 ms of CPU, opening the C library 4 ms,
and an image with the C library alone is 37 MB smaller.

The C interface is one table of function pointers, ``OrtApi``.  New versions only append to it, so
the position of a function never changes; see
https://github.com/microsoft/onnxruntime/blob/main/include/onnxruntime/core/session/onnxruntime_c_api.h.
Each function that can fail returns a status, which is null on success and otherwise an object with
a message that the caller must release; whatever a function creates, it writes to its last argument.
:meth:`OnnxRuntimeLibrary.call` and :meth:`OnnxRuntimeLibrary.make` are these two conventions.
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
"""Version of the table that is asked for.  A later library has this one too; an earlier library
returns no table."""

# Values of enumerations in the header: OrtLoggingLevel, ExecutionMode, GraphOptimizationLevel,
# OrtAllocatorType and OrtMemType.
ERRORS_ONLY = 3
SEQUENTIAL = 0
OPTIMIZE_ALL = 99
ARENA_ALLOCATOR, DEFAULT_MEMORY = 1, 0

ELEMENT_TYPES = {1: "float32", 10: "float16", 11: "float64", 2: "uint8", 6: "int32", 7: "int64"}
"""ONNX's numbers for the element types that an image classifier may have."""
ELEMENT_NUMBERS = {name: number for number, name in ELEMENT_TYPES.items()}

POSITIONS = {
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
"""Position of each function in the table, counted from 0."""


class LibraryRefused(Exception):
    """ONNX Runtime returned an error; the message is its own."""


@dataclass(frozen=True)
class Node:
    """An input or an output of a model.

    Attributes:
        name: In the graph.
        shape: None for a side of any length.
        dtype: Name of the element type.
    """

    name: str
    shape: tuple[int | None, ...]
    dtype: str


class OnnxRuntimeLibrary:
    """The opened C library.

    It has one environment (ONNX Runtime's log and thread pools), shared by all its sessions.

    Attributes:
        version: Of the library, for example ``1.20.1``.
        allocator: Allocates the strings that the library returns; they are freed through it.
        memory: Says that input tensors lie in ordinary memory.
    """

    def __init__(self, path: Path) -> None:
        opened = ctypes.CDLL(str(path))
        opened.OrtGetApiBase.restype = POINTER(c_void_p * 2)
        get_api, get_version = opened.OrtGetApiBase().contents
        self.version: str = ctypes.CFUNCTYPE(c_char_p)(get_version)().decode()
        table = ctypes.CFUNCTYPE(c_void_p, c_uint32)(get_api)(API_VERSION)
        pointers = ctypes.cast(table, POINTER(c_void_p))
        self._functions = {
            name: _function(name, address)
            for name, position in POSITIONS.items()
            if (address := pointers[position]) is not None
        }
        self._environment = self.make("CreateEnv", c_int(ERRORS_ONLY), b"drdeploy")
        self.call("DisableTelemetryEvents", self._environment)
        self.allocator = self.make("GetAllocatorWithDefaultOptions")
        self.memory = self.make("CreateCpuMemoryInfo", ARENA_ALLOCATOR, DEFAULT_MEMORY)

    def call(self, name: str, *arguments: Any) -> None:
        """Call a function that returns a status.

        Raises:
            LibraryRefused: The status is an error.
        """
        status = self._functions[name](*arguments)
        if status:
            message = self._functions["GetErrorMessage"](status).decode(errors="replace")
            self.release("Status", c_void_p(status))
            raise LibraryRefused(message)

    def make(self, name: str, *arguments: Any) -> c_void_p:
        """Call a function that writes a pointer to its last argument; return that pointer."""
        made = c_void_p()
        self.call(name, *arguments, byref(made))
        return made

    def number(self, name: str, *arguments: Any) -> int:
        """Call a function that writes a size to its last argument; return that size."""
        found = c_size_t()
        self.call(name, *arguments, byref(found))
        return found.value

    def release(self, kind: str, thing: c_void_p) -> None:
        """Free an object of that kind, which the library created."""
        self._functions[f"Release{kind}"](thing)

    def load(self, path: str, *, threads: int, entries: Mapping[str, str]) -> LibrarySession:
        """Load an ONNX file.

        Raises:
            LibraryRefused: The library cannot run the model.
        """
        options = self.make("CreateSessionOptions")
        try:
            self.call("SetIntraOpNumThreads", options, threads)
            # Nodes run one after the other, so a second pool of threads would only wait.
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
    """A loaded model with one input; several threads may run it at once."""

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
        """Predict a batch.

        Args:
            batch: Its shape and element type are those of the input.

        Returns:
            The first output.

        Raises:
            LibraryRefused: The batch does not fit the model.
        """
        library = self._library
        # The tensor borrows this array's memory, which must not be freed before the call returns.
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
        # The memory belongs to the value, which is released after this: hence a copy.
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
            # A view into the type's description, not an object to release.
            tensor = library.make("CastTypeInfoToTensorInfo", described)
            if not tensor:
                raise LibraryRefused(f"{name} is not a tensor")
            return Node(name, *_shape_and_type(library, tensor))
        finally:
            library.release("TypeInfo", described)


def find_library() -> Path | None:
    """Find the C library of the installed ``onnxruntime``; only its Linux wheels have one."""
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
    """Give an address the C signature of the function by that name."""
    if name.startswith("Release"):
        return ctypes.CFUNCTYPE(None, c_void_p)(address)
    returns = c_char_p if name == "GetErrorMessage" else c_void_p
    function = ctypes.CFUNCTYPE(returns)(address)
    if name == "GetErrorMessage":
        function.argtypes = (c_void_p,)
    return function
