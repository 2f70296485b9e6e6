"""Pack a SavedModel, an ONNX file or a Keras file as an artifact, with notes for the user."""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import ArtifactError, RuntimeUnavailable
from drdeploy.grader.artifacts import ModelManifest, pack_archive
from drdeploy.grader.artifacts.contents import (
    SAVED_MODEL_NAME,
    find_path_of_saved_model,
    is_debris_file_in_archive,
)
from drdeploy.grader.artifacts.file_kinds import (
    HDF5_FILE,
    HEAD_BYTES,
    KERAS_FILE,
    WEIGHTS_SUFFIX,
    find_file_kind,
)
from drdeploy.grader.artifacts.packing import (
    detect_model_format,
    list_model_files_by_member_name,
)
from drdeploy.grader.importing.trial_prediction import (
    predict_on_probe_images_and_complete_description,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.grader.artifacts import ModelDescription
    from drdeploy.grader.importing.trial_prediction import SizePx

KERAS_SUFFIXES = frozenset({".keras", ".h5", ".hdf5"})
MODEL_SUFFIXES = frozenset({".onnx", *KERAS_SUFFIXES})
_PARTS_OF_SAVED_MODEL = frozenset({"fingerprint.pb", "keras_metadata.pb"})
OPEN_SIZE: SizePx = (None, None)


@dataclass(frozen=True)
class PackedModel:
    """A model that was packed.

    Attributes:
        manifest: The manifest of the packed model.
        notes: Sentences for the user about what was done or assumed while packing.
    """

    manifest: ModelManifest
    notes: list[str] = field(default_factory=list)


def pack_model(
    model: Path, archive: Path, description: ModelDescription, *, size_px: SizePx = OPEN_SIZE
) -> PackedModel:
    """Load a model, predict with it, and pack it.

    If the library that runs the model is not installed, the model is packed without a prediction,
    and a note says so.

    Args:
        model: A SavedModel's folder, a folder of TensorFlow Serving, an ONNX file or a Keras file.
        archive: Where to write ``model.tar.gz``; replaced if it exists.
        description: The values of the manifest that are not read from the model.
        size_px: Height and width of the model's input; None reads them from the model.

    Raises:
        ArtifactError: The file cannot be packed as a model, or its weights are missing.
        ModelLoadFailed: The model cannot be served as it is described.
        RuntimeUnavailable: The model is a Keras file, and TensorFlow is not installed.
    """
    notes: list[str] = []
    with _open_as_packable_model(model, notes) as source:
        model_format = detect_model_format(source)
        # A missing file has a clearer message here than from the runtime.
        list_model_files_by_member_name(source, model_format)
        try:
            description, doubts = predict_on_probe_images_and_complete_description(
                source, model_format, description, size_px
            )
            notes += doubts
        except RuntimeUnavailable as err:
            notes.append(f"the model was not tried: {err.sentence}")
        manifest = pack_archive(source, archive, description)
        if model_format == "saved_model":
            notes += _write_note_on_unpacked_files(source)
    external = [file.path for file in manifest.files if file.path != manifest.entry]
    if model_format == "onnx" and external:
        notes.append(f"files with weights, which were packed with the model: {', '.join(external)}")
    return PackedModel(manifest, notes)


@contextmanager
def _open_as_packable_model(model: Path, notes: list[str]) -> Iterator[Path]:
    """Yield the path to pack, a SavedModel's folder or an ONNX file; convert a Keras file first."""
    if model.is_dir():
        yield _find_saved_model_in_folder(model, notes)
        return
    if not _is_keras_file(model):
        yield model
        return
    from drdeploy.grader.importing.keras_files import convert_keras_file_to_saved_model

    with tempfile.TemporaryDirectory(prefix="drdeploy-keras-") as folder:
        yield convert_keras_file_to_saved_model(model, Path(folder))


def _is_keras_file(model: Path) -> bool:
    if model.suffix.lower() in KERAS_SUFFIXES or not model.is_file():
        return model.is_file()
    with model.open("rb") as file:
        return find_file_kind(model.name, file.read(HEAD_BYTES)) in {KERAS_FILE, HDF5_FILE}


def _find_saved_model_in_folder(folder: Path, notes: list[str]) -> Path:
    """Find the SavedModel in a folder, which may hold several versions for TensorFlow Serving."""
    if (folder / SAVED_MODEL_NAME).is_file():
        return folder
    paths = (path for path in folder.rglob("*") if path.is_file())
    names = [path.relative_to(folder).as_posix() for path in paths]
    names = [name for name in sorted(names) if not is_debris_file_in_archive(name)]
    if any(Path(name).name == SAVED_MODEL_NAME for name in names):
        found = (folder / find_path_of_saved_model(names)).parent
        notes.append(f"the SavedModel in {found.relative_to(folder)} was packed")
        return found
    models = [
        name
        for name in names
        if Path(name).suffix.lower() in MODEL_SUFFIXES and not name.endswith(WEIGHTS_SUFFIX)
    ]
    if models:
        raise ArtifactError(
            "A folder can be packed only if it is a SavedModel",
            where=str(folder),
            remedy=f"Give the file: {' or '.join(str(folder / name) for name in models[:3])}",
        )
    known = (
        (name, find_file_kind(name, b""))
        for name in (folder.name, *names)
        if Path(name).name not in _PARTS_OF_SAVED_MODEL
    )
    for name, kind in known:
        if kind is not None:
            raise ArtifactError(
                f"The folder holds no SavedModel: '{name}' is {kind.noun}",
                where=str(folder),
                remedy=kind.remedy,
            )
    return folder


def _write_note_on_unpacked_files(folder: Path) -> list[str]:
    """Return a note that names the files in a SavedModel's folder that were not packed, if any."""
    paths = (path for path in folder.rglob("*") if path.is_file())
    left = sorted(
        name
        for path in paths
        if is_debris_file_in_archive(name := path.relative_to(folder).as_posix())
    )
    return (
        [f"files that belong to no model, and so are not packed: {', '.join(left)}"] if left else []
    )
