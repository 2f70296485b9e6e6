"""Convert a Keras network to a SavedModel or an ONNX file.

Converting the same network twice gives the same bytes. This matters because files with different
digests count as different models.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drdeploy.grader.networks.frameworks import import_tensorflow_and_keras
from drdeploy.grader.networks.network import turn_normalization_into_constants

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from drdeploy.grader.artifacts import ModelFormat

OPSET = 17
INPUT_NAME = "image"
OUTPUT_NAME = "probabilities"


def _wrap_as_serving_function(network: Any) -> Any:
    """Wrap a network as a TensorFlow function for any batch size, and name its input and output.

    If the network has several outputs, each output keeps the name that it has in the network.
    """
    tf = import_tensorflow_and_keras().tensorflow
    turn_normalization_into_constants(network)
    (image_input,) = network.inputs
    spec = tf.TensorSpec((None, *image_input.shape[1:]), tf.float32, name=INPUT_NAME)
    names = network.output_names if len(network.outputs) > 1 else [OUTPUT_NAME]

    def predict(image: Any) -> dict[str, Any]:
        outputs = tf.nest.flatten(network(image, training=False))
        return dict(zip(names, outputs, strict=True))

    return tf.function(predict, input_signature=[spec])


def save_as_saved_model(network: Any, folder: Path) -> Path:
    """Save a network's inference function and variables, and return the SavedModel's folder.

    ``keras.Model.export`` is not used because it writes every variable twice (27 MB for MobileNet
    instead of 14).
    """
    tf = import_tensorflow_and_keras().tensorflow
    module = tf.Module()
    module.network_variables = [variable.value for variable in network.weights]
    function = _wrap_as_serving_function(network).get_concrete_function()
    saved_model = folder / "saved_model"
    tf.saved_model.save(module, str(saved_model), signatures={"serving_default": function})
    # It holds a random identifier, which would give every export another digest.
    (saved_model / "fingerprint.pb").unlink(missing_ok=True)
    return saved_model


def save_as_onnx(network: Any, folder: Path) -> Path:
    """Save a network's inference function as an ONNX file, and return the file's path."""
    import onnx
    import tf2onnx

    function = _wrap_as_serving_function(network)
    model, _ = tf2onnx.convert.from_function(
        function, input_signature=function.input_signature, opset=OPSET
    )
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    _rename_constants_by_first_use(model.graph)
    path = folder / "model.onnx"
    onnx.save(model, path)
    return path


def _rename_constants_by_first_use(graph: Any) -> None:
    """Rename and sort the constants of an ONNX graph by their first use.

    tf2onnx numbers the constants in the order of a Python set, which differs from run to run.
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
    "saved_model": save_as_saved_model,
    "onnx": save_as_onnx,
}
