"""The same seed on the same machine gives the same numbers."""

from __future__ import annotations

from drdeploy.grader.networks.frameworks import import_frameworks


def make_deterministic(seed: int) -> None:
    """Seed everything, have TensorFlow sum in a fixed order, and use a GPU if there is one."""
    tf, keras = import_frameworks(accelerator=True)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    if tf.config.list_physical_devices("GPU"):
        keras.mixed_precision.set_dtype_policy("mixed_float16")
