"""Convert a Keras network to a SavedModel or an ONNX file.

The same network gives the same bytes every time: an artifact is known by its digest, and one that
changes without reason looks like another model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drdeploy.errors import ModelLoadFailed
from drdeploy.grader.networks.frameworks import import_frameworks
from drdeploy.grader.networks.normalization import freeze_normalization

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from drdeploy.grader.artifacts import ModelFormat

OPSET = 17
INPUT_NAME = "image"
OUTPUT_NAME = "probabilities"


def _serving_function(network: Any) -> Any:
    """Wrap a network as a TensorFlow function with named input and output and any batch size."""
    tf = import_frameworks().tensorflow
    freeze_normalization(network)
    spec = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32, name=INPUT_NAME)

    def predict(image: Any) -> dict[str, Any]:
        return {OUTPUT_NAME: network(image, training=False)}

    return tf.function(predict, input_signature=[spec])


def convert_to_saved_model(network: Any, folder: Path) -> Path:
    """Save the inference function and its variables; return the SavedModel's folder.

    ``keras.Model.export`` is not used because it writes every variable twice (27 MB for MobileNet
    instead of 14).
    """
    tf = import_frameworks().tensorflow
    module = tf.Module()
    module.network_variables = [variable.value for variable in network.weights]
    function = _serving_function(network).get_concrete_function()
    saved_model = folder / "saved_model"
    tf.saved_model.save(module, str(saved_model), signatures={"serving_default": function})
    # It holds a random identifier, which would give every export another digest.
    (saved_model / "fingerprint.pb").unlink(missing_ok=True)
    return saved_model


def convert_to_onnx(network: Any, folder: Path) -> Path:
    """Freeze the inference function into an ONNX file for any batch size; return the file."""
    import onnx
    import tf2onnx

    function = _serving_function(network)
    model, _ = tf2onnx.convert.from_function(
        function, input_signature=function.input_signature, opset=OPSET
    )
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    _name_constants(model.graph)
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def _name_constants(graph: Any) -> None:
    """Name and order the constants by their first use.

    tf2onnx names them in the order of a set, which differs from run to run.
    """
    constants = {tensor.name: tensor for tensor in graph.initializer}
    uses = (name for node in graph.node for name in node.input if name in constants)
    new_names = {name: f"constant_{index}" for index, name in enumerate(dict.fromkeys(uses))}
    for node in graph.node:
        node.input[:] = [new_names.get(name, name) for name in node.input]
    for name, new_name in new_names.items():
        constants[name].name = new_name
    used = [constants[name] for name in new_names]
    del graph.initializer[:]
    graph.initializer.extend(used)


CONVERTERS: dict[ModelFormat, Callable[[Any, Path], Path]] = {
    "saved_model": convert_to_saved_model,
    "onnx": convert_to_onnx,
}


def convert_keras_file(file: Path, folder: Path) -> Path:
    """Convert a ``.keras`` file to a SavedModel inside a folder; return the SavedModel's folder.

    Raises:
        ModelLoadFailed: Keras refuses the file, or its model does not have one image as input.
    """
    keras = import_frameworks().keras
    try:
        # Keras's safe mode, the default, refuses files that bring code of their own.
        network = keras.models.load_model(file, compile=False)
        return convert_to_saved_model(network, folder)
    except (ValueError, TypeError, OSError, KeyError) as err:
        raise ModelLoadFailed("Keras refuses the file", where=str(file)) from err
