"""Recognise files that are not models, so that an error can say what they are.

The error also says what to do instead. The file's first bytes are checked before its name, because
the name may be wrong. For example, a failed download may have the name of a model, although its
content is a web page. The name is used only if the first bytes do not show the kind of file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

WEIGHTS_SUFFIX = ".weights.h5"
"""A file whose name ends in this suffix holds only the weights of a Keras network."""
HEAD_BYTES = 512
"""How many bytes to read from the start of a file; the mark of a tar file begins at byte 257."""

_REPACK = (
    "SageMaker takes only gzip-compressed tar files. Extract the file, and pack its content with "
    "`tar -czf model.tar.gz -C FOLDER .`"
)
_FROM_TORCH = "Export the model to ONNX with torch.onnx.export, and pack the .onnx file"
_TO_ONNX = "Export the model to ONNX, and pack the .onnx file"
_TO_SAVED_MODEL = "Save the model as a SavedModel with tf.saved_model.save, and pack that folder"
_WHOLE_MODEL = "Weights are only part of a model: export the whole model to ONNX or as a SavedModel"
_PICKLE = (
    "A pickle runs code when it is loaded, so drdeploy loads no pickles. Export the model to "
    "ONNX, and pack the .onnx file"
)
_ORIGINAL = "Pack the ONNX file or the SavedModel that the file was made from"
_DOWNLOAD = "Download the model itself"
_PACK = "Pack the model first with `drdeploy artifact pack`"


@dataclass(frozen=True)
class FileKind:
    """A kind of file that cannot be used as it is.

    Attributes:
        noun: What the file is, for example "a zip archive".
        remedy: What to do instead.
    """

    noun: str
    remedy: str

    @property
    def may_hold_model(self) -> bool:
        """Whether the file is an archive of arbitrary files, which may include a model."""
        return self.remedy == _REPACK


_PYTORCH = FileKind("a PyTorch file", _FROM_TORCH)
_PYTHON_PICKLE = FileKind("a Python pickle", _PICKLE)
_PLAIN_TAR = FileKind("a tar file without compression", _REPACK)
_PICTURE = FileKind("a picture", "Give the file of a model")
_WEB_PAGE = FileKind("a web page", _DOWNLOAD)
ONNX_FILE = FileKind("an ONNX file", _PACK)
HDF5_FILE = FileKind("an HDF5 file", _PACK)
KERAS_FILE = FileKind("a Keras file", _PACK)
_WEIGHTS = FileKind("a file of weights", _WHOLE_MODEL)
_CHECKPOINT = FileKind("a checkpoint", _WHOLE_MODEL)
ZIP = FileKind("a zip archive", _REPACK)

_BY_START: tuple[tuple[bytes, FileKind], ...] = (
    (b"PK\3\4", ZIP),
    (b"\x89HDF\r\n\x1a\n", HDF5_FILE),
    (
        b"\x1f\x8b",
        FileKind(
            "compressed with gzip",
            "If the file is already a packed model.tar.gz, check it with `drdeploy artifact "
            "verify`. Otherwise, extract the file, and pack the model that is inside",
        ),
    ),
    (b"BZh", FileKind("compressed with bzip2", _REPACK)),
    (b"\xfd7zXZ\0", FileKind("compressed with xz", _REPACK)),
    (b"\x28\xb5\x2f\xfd", FileKind("compressed with Zstandard", _REPACK)),
    (b"7z\xbc\xaf\x27\x1c", FileKind("a 7-Zip archive", _REPACK)),
    (b"Rar!\x1a\7", FileKind("a RAR archive", _REPACK)),
    (b"GGUF", FileKind("a GGUF language model", _TO_ONNX)),
    (b"\xff\xd8\xff", _PICTURE),
    (b"\x89PNG", _PICTURE),
    (b"version https://git-lfs", FileKind("a Git LFS pointer", "Run `git lfs pull`")),
)
_BY_SUFFIX: dict[str, FileKind] = {
    ".7z": FileKind("a 7-Zip archive", _REPACK),
    ".bin": _WEIGHTS,
    ".caffemodel": FileKind("a Caffe model", _TO_ONNX),
    ".ckpt": _CHECKPOINT,
    ".engine": FileKind("a TensorRT engine", _ORIGINAL),
    ".gguf": FileKind("a GGUF language model", _TO_ONNX),
    ".h5": HDF5_FILE,
    ".hdf5": HDF5_FILE,
    ".index": _CHECKPOINT,
    ".joblib": _PYTHON_PICKLE,
    ".keras": KERAS_FILE,
    ".mar": FileKind("an archive of TorchServe", _FROM_TORCH),
    ".meta": _CHECKPOINT,
    ".mlmodel": FileKind("a Core ML model", _TO_ONNX),
    ".mlpackage": FileKind("a Core ML model", _TO_ONNX),
    ".npz": _WEIGHTS,
    ".onnx": ONNX_FILE,
    ".ort": FileKind("a model in ONNX Runtime's own format", _ORIGINAL),
    ".pb": FileKind("a frozen graph of TensorFlow 1", _TO_SAVED_MODEL),
    ".pdmodel": FileKind("a PaddlePaddle model", "Export the model to ONNX with paddle2onnx"),
    ".pickle": _PYTHON_PICKLE,
    ".pkl": _PYTHON_PICKLE,
    ".plan": FileKind("a TensorRT engine", _ORIGINAL),
    **dict.fromkeys((".pt", ".pt2", ".pth", ".ptl", ".torchscript"), _PYTORCH),
    ".safetensors": _WEIGHTS,
    ".skops": FileKind("a scikit-learn model", _TO_ONNX),
    ".tar": _PLAIN_TAR,
    ".tflite": FileKind("a TensorFlow Lite model", _TO_SAVED_MODEL),
    ".xml": FileKind("an OpenVINO model in XML", _ORIGINAL),
    ".zip": ZIP,
}
_ZIPPED = frozenset(
    {".bin", ".ckpt", ".keras", ".mar", ".npz", ".pt", ".pt2", ".pth", ".ptl", ".skops"}
    | {".torchscript"}
)
"""The suffixes of the kinds of files that are stored as zip archives."""
_FIRST_NAMES_IN_ZIP: tuple[tuple[bytes, FileKind], ...] = (
    (b"/data.pkl", _PYTORCH),
    (b"metadata.json", KERAS_FILE),
    (b"MAR-INF/", _BY_SUFFIX[".mar"]),
)
_AT_BYTE_4 = {b"TFL3": ".tflite", b"ORTM": ".ort"}


def find_file_kind(name: str, head: bytes) -> FileKind | None:
    """Return the kind of a file, or None if neither its first bytes nor its name show it.

    Args:
        name: The file's name or path.
        head: The file's first :data:`HEAD_BYTES` bytes; empty if only the name is known.
    """
    suffix = PurePosixPath(name).suffix.lower()
    by_suffix = _BY_SUFFIX.get(suffix)
    for start, kind in _BY_START:
        if head.startswith(start):
            return _find_kind_of_zip(suffix, head) if kind is ZIP else kind
    if head[:1] == b"\x80" and head[1:2] in {b"\2", b"\3", b"\4", b"\5"}:
        return by_suffix if by_suffix is _PYTORCH else _PYTHON_PICKLE
    if head[4:8] in _AT_BYTE_4:
        return _BY_SUFFIX[_AT_BYTE_4[head[4:8]]]
    if head[257:262] == b"ustar":
        return _PLAIN_TAR
    if head.lstrip()[:14].lower().startswith((b"<!doctype html", b"<html")):
        return _WEB_PAGE
    if head.startswith(b"<?xml") and b"<Error>" in head:
        return FileKind("a server's error message", _DOWNLOAD)
    if ".data-" in suffix:
        return _CHECKPOINT
    if name.endswith(WEIGHTS_SUFFIX):
        return _WEIGHTS
    return by_suffix


def _find_kind_of_zip(suffix: str, head: bytes) -> FileKind:
    """Return the kind of a zip archive, which may be a PyTorch, Keras or NumPy file."""
    if suffix in _ZIPPED:
        return _BY_SUFFIX[suffix]
    return next((kind for name, kind in _FIRST_NAMES_IN_ZIP if name in head[:128]), ZIP)
