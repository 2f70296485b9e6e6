"""Import TensorFlow and Keras when they are needed, and silence their logs."""

from __future__ import annotations

import os
from typing import Any, NamedTuple

from drdeploy.errors import RuntimeUnavailable, describe_extra_installation


class Frameworks(NamedTuple):
    """The modules ``tensorflow`` and ``keras``."""

    tensorflow: Any
    keras: Any


def import_tensorflow_and_keras(*, accelerator: bool = False) -> Frameworks:
    """Import TensorFlow, and Keras on top of it.

    Args:
        accelerator: Let TensorFlow use a GPU if there is one. TensorFlow reads the setting while it
            is imported. Only the first call in a process therefore decides whether TensorFlow uses
            a GPU.

    Raises:
        RuntimeUnavailable: TensorFlow is not installed.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    if not accelerator:
        os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
    os.environ["KERAS_BACKEND"] = "tensorflow"
    try:
        import keras
        import tensorflow as tf
    except ImportError as err:
        raise RuntimeUnavailable(
            "TensorFlow and Keras are needed, but cannot be imported",
            remedy=describe_extra_installation("train"),
        ) from err
    return Frameworks(tf, keras)
