"""Make a training repeatable: the same seed on the same machine gives the same numbers."""

from __future__ import annotations

from drdeploy.grader.networks.frameworks import import_frameworks


def make_deterministic(seed: int) -> None:
    """Seed every generator and make TensorFlow sum in a fixed order; use a GPU if there is one.

    Floating-point sums depend on their order, and threads finish in another one each time.
    """
    tf, keras = import_frameworks(accelerator=True)
    keras.utils.set_random_seed(seed)
    tf.config.experimental.enable_op_determinism()
    if tf.config.list_physical_devices("GPU"):
        keras.mixed_precision.set_dtype_policy("mixed_float16")
