"""ONNX Runtime's C library, called without its Python extension.

The Python package ``onnxruntime`` contains the library twice: as a C library, and inside a Python
extension with bindings for all its functions.  A server needs only the functions that load and run
a model.  At a cold start, importing the extension takes about 27 ms of CPU, and opening the C
library takes 4 ms. A container image with only the C library is 37 MB smaller.

The C interface is one table of function pointers, ``OrtApi``. New versions only append to
``OrtApi``, so the position of a function never changes; see
https://github.com/microsoft/onnxruntime/blob/main/include/onnxruntime/core/session/onnxruntime_c_api.h.
A function that can fail returns a status, which is null on success. On failure, the status is an
object with a message. :meth:`OnnxRuntimeLibrary.call_function` reads the message and releases the
object. A function that creates an object writes a pointer to the object to its last argument.
:meth:`OnnxRuntimeLibrary.call_to_create_object` returns this pointer.
"""

from __future__ import annotations

import ctypes
import importlib.util
from ctypes import POINTER, byref, c_char_p, c_int, c_int64, c_size_t, c_uint32, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from drdeploy.grader.runtimes.signature import Tensor

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

API_VERSION = 17
"""The requested version of the table of functions. A newer library also offers this version; an
older library returns no table."""

# FATAL_ONLY: ONNX Runtime returns each error. If it also printed the error, the line would break
# the server's log of JSON.
#
# Values of enumerations in the header: OrtLoggingLevel, ExecutionMode, GraphOptimizationLevel,
# OrtAllocatorType and OrtMemType.
FATAL_ONLY = 4
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
"""Position of each function in ``OrtApi``, the table of function pointers, counted from 0."""


class LibraryRefused(Exception):
    """Raised if a call of ONNX Runtime failed; the exception holds ONNX Runtime's message."""


class OnnxRuntimeLibrary:
    """The loaded C library of ONNX Runtime.

    All sessions share one environment, which holds ONNX Runtime's log and thread pools.

    Attributes:
        version: Version of the library, for example ``1.20.1``.
        allocator: Allocates and frees the strings that the library returns.
        memory: An object of the library that describes ordinary memory. It is passed with each
            input tensor.
    """

    def __init__(self, path: Path) -> None:
        opened = ctypes.CDLL(str(path))
        opened.OrtGetApiBase.restype = POINTER(c_void_p * 2)
        get_api, get_version = opened.OrtGetApiBase().contents
        self.version: str = ctypes.CFUNCTYPE(c_char_p)(get_version)().decode()
        table = ctypes.CFUNCTYPE(c_void_p, c_uint32)(get_api)(API_VERSION)
        pointers = ctypes.cast(table, POINTER(c_void_p))
        self._functions = {
            name: _make_function_with_c_signature(name, address)
            for name, position in POSITIONS.items()
            if (address := pointers[position]) is not None
        }
        self._environment = self.call_to_create_object("CreateEnv", c_int(FATAL_ONLY), b"drdeploy")
        self.call_function("DisableTelemetryEvents", self._environment)
        self.allocator = self.call_to_create_object("GetAllocatorWithDefaultOptions")
        self.memory = self.call_to_create_object(
            "CreateCpuMemoryInfo", ARENA_ALLOCATOR, DEFAULT_MEMORY
        )

    def call_function(self, name: str, *arguments: Any) -> None:
        """Call a function that returns a status.

        Raises:
            LibraryRefused: The status is an error.
        """
        status = self._functions[name](*arguments)
        if status:
            message = self._functions["GetErrorMessage"](status).decode(errors="replace")
            self.release_object("Status", c_void_p(status))
            raise LibraryRefused(message)

    def call_to_create_object(self, name: str, *arguments: Any) -> c_void_p:
        """Call a function that writes a pointer to its last argument, and return the pointer."""
        made = c_void_p()
        self.call_function(name, *arguments, byref(made))
        return made

    def call_to_get_size(self, name: str, *arguments: Any) -> int:
        """Call a function that writes a size to its last argument, and return the size."""
        found = c_size_t()
        self.call_function(name, *arguments, byref(found))
        return found.value

    def release_object(self, kind: str, thing: c_void_p) -> None:
        """Free an object of the given kind that the library created."""
        self._functions[f"Release{kind}"](thing)

    def load_onnx_file(
        self, path: str, *, threads: int, entries: Mapping[str, str]
    ) -> LibrarySession:
        """Load an ONNX file.

        Raises:
            LibraryRefused: The library cannot run the model.
        """
        options = self.call_to_create_object("CreateSessionOptions")
        try:
            self.call_function("SetIntraOpNumThreads", options, threads)
            # Nodes run one after the other, so a second pool of threads would only wait.
            self.call_function("SetInterOpNumThreads", options, 1)
            self.call_function("SetSessionExecutionMode", options, SEQUENTIAL)
            self.call_function("SetSessionGraphOptimizationLevel", options, OPTIMIZE_ALL)
            for name, value in entries.items():
                self.call_function("AddSessionConfigEntry", options, name.encode(), value.encode())
            made = self.call_to_create_object(
                "CreateSession", self._environment, path.encode(), options
            )
        finally:
            self.release_object("SessionOptions", options)
        return LibrarySession(self, made)


class LibrarySession:
    """A loaded model with one input; several threads may run it at once."""

    def __init__(self, library: OnnxRuntimeLibrary, session: c_void_p) -> None:
        self._library = library
        self._session = session
        self.inputs = self._describe_nodes("Input")
        self.outputs = self._describe_nodes("Output")
        self._input_names = (c_char_p * 1)(self.inputs[0].name.encode())

    def __del__(self) -> None:
        self._library.release_object("Session", self._session)

    def run_batch(self, batch: NDArray[Any], output: int = 0) -> NDArray[Any]:
        """Predict a batch.

        Args:
            batch: A batch with the shape and element type of the model's input.
            output: Position of the output to return; other outputs are not computed.

        Raises:
            LibraryRefused: The batch does not fit the model.
        """
        library = self._library
        # The tensor borrows this array's memory, which must not be freed before the call returns.
        data = np.ascontiguousarray(batch)
        shape = (c_int64 * data.ndim)(*data.shape)
        pointer = c_void_p(data.__array_interface__["data"][0])
        kind = c_int(ELEMENT_NUMBERS[data.dtype.name])
        value = library.call_to_create_object(
            "CreateTensorWithDataAsOrtValue",
            library.memory,
            pointer,
            c_size_t(data.nbytes),
            shape,
            c_size_t(data.ndim),
            kind,
        )
        output_names = (c_char_p * 1)(self.outputs[output].name.encode())
        answered = c_void_p()
        try:
            library.call_function(
                "Run",
                self._session,
                None,
                self._input_names,
                byref(value),
                c_size_t(1),
                output_names,
                c_size_t(1),
                byref(answered),
            )
            return self._copy_output(answered)
        finally:
            library.release_object("Value", value)
            library.release_object("Value", answered)

    def _copy_output(self, value: c_void_p) -> NDArray[Any]:
        library = self._library
        described = library.call_to_create_object("GetTensorTypeAndShape", value)
        try:
            shape, dtype = _read_shape_and_type(library, described)
        finally:
            library.release_object("TensorTypeAndShapeInfo", described)
        # The memory belongs to the value, which is released after this: hence a copy.
        address = library.call_to_create_object("GetTensorMutableData", value).value
        sides = [side or 0 for side in shape]
        result = np.empty(sides, dtype)
        if address:
            ctypes.memmove(result.__array_interface__["data"][0], address, result.nbytes)
        return result

    def _describe_nodes(self, side: str) -> tuple[Tensor, ...]:
        count = self._library.call_to_get_size(f"SessionGet{side}Count", self._session)
        return tuple(self._describe_node(side, c_size_t(at)) for at in range(count))

    def _describe_node(self, side: str, at: c_size_t) -> Tensor:
        library = self._library
        text = library.call_to_create_object(
            f"SessionGet{side}Name", self._session, at, library.allocator
        )
        name = ctypes.string_at(text.value or 0).decode()
        library.call_function("AllocatorFree", library.allocator, text)
        described = library.call_to_create_object(f"SessionGet{side}TypeInfo", self._session, at)
        try:
            # A view into the type's description, not an object to release.
            tensor = library.call_to_create_object("CastTypeInfoToTensorInfo", described)
            if not tensor:
                raise LibraryRefused(f"the input or output {name} is not a tensor")
            return Tensor(name, *_read_shape_and_type(library, tensor))
        finally:
            library.release_object("TypeInfo", described)


def find_onnxruntime_library() -> Path | None:
    """Find the C library in the installed ``onnxruntime``; only its Linux wheels contain one."""
    package = importlib.util.find_spec("onnxruntime")
    if package is None or package.origin is None:
        return None
    found = sorted((Path(package.origin).parent / "capi").glob("libonnxruntime.so.*"))
    return found[0] if found else None


def _read_shape_and_type(
    library: OnnxRuntimeLibrary, tensor: c_void_p
) -> tuple[tuple[int | None, ...], str]:
    sides = (c_int64 * library.call_to_get_size("GetDimensionsCount", tensor))()
    library.call_function("GetDimensions", tensor, sides, c_size_t(len(sides)))
    number = c_int()
    library.call_function("GetTensorElementType", tensor, byref(number))
    dtype = ELEMENT_TYPES.get(number.value, f"type {number.value}")
    return tuple(side if side >= 0 else None for side in sides), dtype


def _make_function_with_c_signature(name: str, address: int) -> Any:
    """Make the C function at an address callable, with the signature that its name implies."""
    if name.startswith("Release"):
        return ctypes.CFUNCTYPE(None, c_void_p)(address)
    returns = c_char_p if name == "GetErrorMessage" else c_void_p
    function = ctypes.CFUNCTYPE(returns)(address)
    if name == "GetErrorMessage":
        function.argtypes = (c_void_p,)
    return function
