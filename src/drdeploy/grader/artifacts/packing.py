"""Pack a model into ``model.tar.gz``, and read the input transform from a user's file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from drdeploy.errors import ArtifactError, InvalidInput
from drdeploy.files import TOML_BYTES_MAX, read_bytes_up_to_limit, read_toml_file, sha256_of_file
from drdeploy.grader.artifacts.contents import SAVED_MODEL_NAME, is_debris_file_in_archive
from drdeploy.grader.artifacts.file_kinds import HEAD_BYTES, ONNX_FILE, find_file_kind
from drdeploy.grader.artifacts.manifest import (
    MANIFEST_NAME,
    FileDigest,
    ModelDescription,
    ModelFormat,
    ModelManifest,
    check_manifest,
    encode_manifest,
    is_path_inside_folder,
)
from drdeploy.grader.artifacts.onnx_file import is_readable_as_onnx, read_paths_of_external_weights
from drdeploy.grader.artifacts.tar_archive import write_archive
from drdeploy.grader.fundus.transform import FundusTransform

if TYPE_CHECKING:
    from pathlib import Path

    from drdeploy.grader.artifacts.file_kinds import FileKind

ENTRIES: dict[ModelFormat, str] = {"saved_model": "saved_model", "onnx": "model.onnx"}


def pack_archive(model_path: Path, archive: Path, description: ModelDescription) -> ModelManifest:
    """Write an archive with a manifest; the same arguments give the same bytes.

    The model is not loaded. To test first whether the model can grade a photograph, call
    :func:`drdeploy.grader.importing.pack_model`.

    Args:
        model_path: A SavedModel's folder or an ONNX file. If the ONNX file keeps weights in other
            files, these are packed too.
        archive: Where to write ``model.tar.gz``; replaced if it exists.
        description: The values of the manifest except the list of files. The manifest of another
            archive is accepted too; its list of files is ignored.

    Raises:
        ArtifactError: ``model_path`` is neither a SavedModel nor an ONNX file, or a file with its
            weights is missing, hidden or outside the folder of the model.
        ManifestError: A field is wrong.
    """
    model_format = detect_model_format(model_path)
    sources = list_model_files_by_member_name(model_path, model_format)
    of_files = {
        "model_format": model_format,
        "entry": ENTRIES[model_format],
        "files": tuple(
            FileDigest(path, sha256_of_file(source), source.stat().st_size)
            for path, source in sources.items()
        ),
    }
    manifest = ModelManifest(**(msgspec.structs.asdict(description) | of_files))
    check_manifest(manifest)
    write_archive(archive, {MANIFEST_NAME: encode_manifest(manifest), **sources})
    return manifest


def detect_model_format(model_path: Path) -> ModelFormat:
    """Return the format of a model, a SavedModel's folder or an ONNX file, whatever its name is.

    Raises:
        ArtifactError: The path is something other than an ONNX file or a SavedModel. The message
            says what the file is, if this is known.
    """
    graph = model_path / SAVED_MODEL_NAME
    if graph.is_file():
        if not graph.stat().st_size:
            raise ArtifactError(
                "The file is empty", where=str(graph), remedy="Copy or save the model again"
            )
        return "saved_model"
    if not model_path.is_file():
        raise ArtifactError(
            "The folder holds no SavedModel" if model_path.is_dir() else "The model does not exist",
            where=str(model_path),
            remedy=f"Give an .onnx, .keras or .h5 file, or a folder with {SAVED_MODEL_NAME}",
        )
    if model_path.name == SAVED_MODEL_NAME:
        raise ArtifactError(
            "The file is only a part of a SavedModel",
            where=str(model_path),
            remedy="Name the folder instead",
        )
    with model_path.open("rb") as file:
        kind = find_file_kind(model_path.name, file.read(HEAD_BYTES))
    if kind is ONNX_FILE or is_readable_as_onnx(model_path):
        return "onnx"
    raise ArtifactError(
        f"The model is {kind.noun}, not a SavedModel's folder or an ONNX file"
        if kind
        else "The model is neither a SavedModel's folder nor an ONNX file",
        where=str(model_path),
        remedy=_write_remedy_for_unknown_model(kind),
    )


def _write_remedy_for_unknown_model(kind: FileKind | None) -> str:
    if kind is None:
        return "Export the model to ONNX, and pack the .onnx file"
    return (
        "Extract the archive, and pack the model that is inside"
        if kind.may_hold_model
        else kind.remedy
    )


def list_model_files_by_member_name(model_path: Path, model_format: ModelFormat) -> dict[str, Path]:
    """Return each file of the model under its name in the archive, always in the same order.

    Raises:
        ArtifactError: A file that belongs to the model is missing, or is outside the model's
            folder.
    """
    entry = ENTRIES[model_format]
    if model_format == "saved_model":
        paths = sorted(model_path.rglob("*"))
        for path in paths:
            _refuse_linked_folder(path, model_path)
        files = [path for path in paths if path.is_file()]
        names = {path: path.relative_to(model_path).as_posix() for path in files}
        own = {name: path for path, name in names.items() if not is_debris_file_in_archive(name)}
        for path in own.values():
            _refuse_link_out_of_folder(path, model_path)
        return {f"{entry}/{name}": path for name, path in own.items()}
    # An ONNX graph refers to its external data by file name, so these files keep their names.
    beside = {
        location.removeprefix("./"): _find_external_weights_file(
            model_path, location.removeprefix("./")
        )
        for location in read_paths_of_external_weights(model_path)
    }
    return dict(sorted({entry: model_path, **beside}.items()))


def _find_external_weights_file(model_path: Path, location: str) -> Path:
    """Find a file that holds weights of an ONNX file.

    Only visible files in the folder of the ONNX file or its subfolders are accepted. The archive
    may be published, so it must not contain any other file of the user's disk.
    """
    where = str(model_path)
    if not is_path_inside_folder(location) or any(
        part.startswith(".") for part in location.split("/")
    ):
        raise ArtifactError(
            f"The model's weights are in '{location}', which is hidden or outside the model's "
            "folder",
            where=where,
            remedy="Save the weights in a file beside the model",
        )
    if location in {MANIFEST_NAME, ENTRIES["onnx"]}:
        raise ArtifactError(
            f"The model keeps its weights in '{location}', but this name is "
            "reserved for another file of the archive",
            where=where,
            remedy="Save the model again, and give the file of its weights another name",
        )
    path = model_path.parent / location
    if not path.is_file():
        raise ArtifactError(
            f"The model keeps its weights in '{location}', which is missing",
            where=where,
            remedy=f"Put the missing file into {model_path.parent}",
        )
    _refuse_link_out_of_folder(path, model_path.parent)
    return path


def _refuse_linked_folder(path: Path, folder: Path) -> None:
    """Refuse a link to a folder: the search for files does not follow it, but a runtime would."""
    if path.is_symlink() and path.is_dir():
        raise ArtifactError(
            f"'{path.relative_to(folder)}' is a link to a folder",
            where=str(folder),
            remedy="Copy the folder with `cp -rL`, and pack the copy",
        )


def _refuse_link_out_of_folder(path: Path, folder: Path) -> None:
    """Refuse a link that leads out of the model's folder."""
    if not path.resolve().is_relative_to(folder.resolve()):
        raise ArtifactError(
            f"'{path.relative_to(folder)}' is a link to a file outside the model's folder",
            where=str(folder),
            remedy="Copy the folder with `cp -rL`, and pack the copy",
        )


def _describe_wrong_transform(err: ValueError | RecursionError) -> str:
    if isinstance(err, UnicodeDecodeError):
        return "it is not text in UTF-8"
    if isinstance(err, RecursionError):
        return "it is nested too deeply"
    return str(err).replace("`", "'")


def read_transform_file(file: Path) -> FundusTransform:
    """Read a transform from a TOML or JSON file; a field that is left out keeps its default.

    Raises:
        InvalidInput: The file cannot be read, or a field is wrong; the message names the field.
    """
    try:
        if file.suffix.lower() == ".toml":
            return msgspec.convert(read_toml_file(file), FundusTransform)
        text = read_bytes_up_to_limit(file, TOML_BYTES_MAX).decode("utf-8-sig")  # as Notepad writes
        return msgspec.json.decode(text, type=FundusTransform)
    except OSError as err:
        raise InvalidInput(
            f"The transform file cannot be read: {err.strerror}",
            where=str(file),
            remedy="Give a TOML or JSON file that you may read with --transform",
        ) from err
    except (ValueError, RecursionError) as err:
        raise InvalidInput(
            f"The transform file cannot be used: {_describe_wrong_transform(err)}",
            where=str(file),
            remedy="Write the fields as in the member `transform` of a manifest, which "
            "`drdeploy artifact inspect --json` shows",
        ) from err
