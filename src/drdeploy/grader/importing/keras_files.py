"""Convert a Keras file to a SavedModel, or say which layer prevents the conversion.

A Keras file describes its layers in JSON, which this module reads before it imports Keras. A layer
that holds code (``Lambda``) is never run: the file is refused, and the error names the layer. A
setting that only Keras 2 accepts is removed if it does not change the predictions.
"""

from __future__ import annotations

import json
import shutil
import zipfile
import zlib
from typing import TYPE_CHECKING, Any

from drdeploy.errors import ModelLoadFailed, one_line_error_message
from drdeploy.files import parse_json
from drdeploy.grader.networks.convert import save_as_saved_model
from drdeploy.grader.networks.frameworks import import_tensorflow_and_keras
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HDF5_START, ZIP_START = b"\x89HDF\r\n\x1a\n", b"PK\3\4"
CONFIG_NAME, CONFIG_ATTRIBUTE = "config.json", "model_config"
CONFIG_BYTES_MAX = 64 * MIB
"""The largest JSON description that is read; a network of thousands of layers takes a few MiB."""

_CODE_LAYERS = frozenset({"Lambda"})
_KERAS_2_LAYERS = frozenset({"TFOpLambda", "SlicingOpLambda", "TensorFlowOpLayer", "ClassMethod"})
_EXPORT = (
    "Export the model in the program that made it, with model.export(FOLDER), or "
    "tf.saved_model.save in Keras 2. Pack that folder"
)


def convert_keras_file_to_saved_model(file: Path, folder: Path) -> Path:
    """Convert a Keras file to a SavedModel inside a folder; return the SavedModel's folder.

    Args:
        file: A ``.keras`` file or an HDF5 file, of Keras 3 or 2.
        folder: Where to write the SavedModel and a copy of the file.

    Raises:
        ModelLoadFailed: The file is not a Keras file, a layer cannot be loaded, or the network does
            not take exactly one image.
        RuntimeUnavailable: TensorFlow is not installed.
    """
    with file.open("rb") as opened:
        start = opened.read(len(HDF5_START))
    is_hdf5 = start == HDF5_START
    if not is_hdf5 and not start.startswith(ZIP_START):
        what = "is neither a .keras nor an HDF5 file" if start else "is empty"
        raise _make_load_failure(file, f"The file {what}", "Save the model again with model.save")
    frameworks = import_tensorflow_and_keras()
    # Keras requires its own suffix, but the file may have another suffix or capital letters.
    copy = folder / ("network.h5" if is_hdf5 else "network.keras")
    shutil.copyfile(file, copy)
    _check_and_repair_layers(file, copy, is_hdf5=is_hdf5)
    try:
        # Keras's safe mode, the default, refuses files that bring code of their own.
        network = frameworks.keras.models.load_model(copy, compile=False)
    except Exception as err:  # whatever the layers of a strange network raise
        raise _make_load_failure(
            file,
            f"Keras {frameworks.keras.__version__} cannot load the file: "
            f"{_shorten_keras_error(err)}",
            _EXPORT,
        ) from err
    _require_single_image_input(file, network)
    try:
        return save_as_saved_model(network, folder)
    except Exception as err:  # whatever the layers of a strange network raise
        raise _make_load_failure(
            file, f"The network cannot become a SavedModel: {_shorten_keras_error(err)}", _EXPORT
        ) from err


def _require_single_image_input(file: Path, network: Any) -> None:
    try:
        inputs = list(network.inputs or ())
    except (AttributeError, ValueError):
        inputs = []
    if not inputs:
        raise _make_load_failure(
            file,
            f"The network '{network.name}' does not declare the size of its input",
            "Call model.build((None, HEIGHT, WIDTH, 3)) before model.save",
        )
    if len(inputs) > 1:
        named = ", ".join(f"'{one.name}'" for one in inputs)
        raise _make_load_failure(
            file,
            f"The network takes {len(inputs)} inputs, not one image: {named}",
            "Save a model whose only input is the photograph",
        )


def _check_and_repair_layers(file: Path, copy: Path, *, is_hdf5: bool) -> None:
    """Refuse layers that cannot be loaded, and remove settings of Keras 2 that have no effect.

    Raises:
        ModelLoadFailed: A layer cannot be loaded, or the file describes no network.
    """
    try:
        text = (
            _read_network_config_from_hdf5(copy) if is_hdf5 else _read_network_config_from_zip(copy)
        )
        config = None if text is None else parse_json(text)
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as err:
        raise _make_load_failure(
            file, "The file is damaged or incomplete", "Copy or save the model again"
        ) from err
    if not isinstance(config, dict):
        raise _make_load_failure(
            file,
            "The file holds only weights, and no network",
            "Save the whole model with model.save, not with save_weights",
        )
    layers = list(_iterate_layer_descriptions(config))
    for layer in layers:
        _refuse_unloadable_layer(file, layer)
    if _repair_layers_of_keras_2(layers):
        write = _write_network_config_to_hdf5 if is_hdf5 else _write_network_config_to_zip
        write(copy, json.dumps(config))


def _iterate_layer_descriptions(config: Any) -> Iterator[dict[str, Any]]:
    """Yield the description of every object with a class name, such as a layer, at any depth."""
    pending = [config]
    while pending:
        value = pending.pop()
        if isinstance(value, dict):
            if isinstance(value.get("class_name"), str):
                yield value
            pending.extend(value.values())
        elif isinstance(value, list):
            pending.extend(value)


def _refuse_unloadable_layer(file: Path, layer: dict[str, Any]) -> None:
    kind = layer["class_name"]
    details = layer.get("config")
    name = layer.get("name") or (details.get("name") if isinstance(details, dict) else None)
    called = f"'{name}'" if name else "without a name"
    if kind in _CODE_LAYERS:
        raise _make_load_failure(
            file,
            f"The layer {called} is a {kind}, whose code drdeploy does not run",
            "Replace the layer by a layer of Keras, for example Rescaling. Or export the model in "
            "the program that made it, with model.export(FOLDER), and pack that folder",
        )
    if kind in _KERAS_2_LAYERS:
        raise _make_load_failure(
            file,
            f"The layer {called} is a {kind} of Keras 2, which Keras 3 cannot load",
            _EXPORT,
        )
    registered = layer.get("registered_name")
    module = layer.get("module")
    is_own = isinstance(registered, str) and ">" in registered
    is_own |= ">" in kind
    if is_own and not (isinstance(module, str) and module.split(".")[0] == "keras"):
        raise _make_load_failure(
            file,
            f"The layer {called} is of the class '{kind}', whose code is not in the file",
            _EXPORT,
        )


def _repair_layers_of_keras_2(layers: list[dict[str, Any]]) -> bool:
    """Remove settings of Keras 2 that have no effect, and return True if there were any."""
    changed = False
    for layer in layers:
        details = layer.get("config")
        # Keras 2 wrote ``groups`` even for a convolution that has one group per channel.
        if layer["class_name"] == "DepthwiseConv2D" and isinstance(details, dict):
            changed |= details.pop("groups", None) is not None
    return changed


def _read_network_config_from_zip(file: Path) -> bytes | None:
    with zipfile.ZipFile(file) as opened:
        if CONFIG_NAME not in opened.namelist():
            return None
        if opened.getinfo(CONFIG_NAME).file_size > CONFIG_BYTES_MAX:
            raise ValueError(CONFIG_NAME)
        return opened.read(CONFIG_NAME)


def _write_network_config_to_zip(file: Path, text: str) -> None:
    original = file.with_name("original.keras")
    file.replace(original)
    with zipfile.ZipFile(original) as source, zipfile.ZipFile(file, "w") as target:
        for info in source.infolist():
            if info.filename == CONFIG_NAME:
                target.writestr(CONFIG_NAME, text)
                continue
            with source.open(info) as member, target.open(info.filename, "w") as written:
                shutil.copyfileobj(member, written)
    original.unlink()


def _read_network_config_from_hdf5(file: Path) -> bytes | str | None:
    import h5py

    with h5py.File(file, "r") as opened:
        text = opened.attrs.get(CONFIG_ATTRIBUTE)
        return text if isinstance(text, bytes | str) else None


def _write_network_config_to_hdf5(file: Path, text: str) -> None:
    import h5py

    with h5py.File(file, "r+") as opened:
        opened.attrs[CONFIG_ATTRIBUTE] = text


def _shorten_keras_error(err: Exception) -> str:
    """Return the first sentence of a Keras error; the rest may be a long list of layer settings."""
    return one_line_error_message(err).partition(". ")[0][:300]


def _make_load_failure(file: Path, what: str, remedy: str) -> ModelLoadFailed:
    return ModelLoadFailed(what, where=str(file), remedy=remedy)
