"""Scale pixels to a network's value range within TensorFlow's graph."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from drdeploy.grader.networks.frameworks import import_tensorflow_and_keras

if TYPE_CHECKING:
    from drdeploy.grader.fundus.transform import FundusTransform


def scale_pixel_values(pixels: Any, transform: FundusTransform) -> Any:
    """Apply a transform's value range, channel order, mean and deviation to pixels.

    A server does the same in ``fundus.apply``.
    """
    tf = import_tensorflow_and_keras().tensorflow
    low, high = transform.value_range
    scaled = tf.cast(pixels, tf.float32) * ((high - low) / 255.0) + low
    ordered = scaled[..., ::-1] if transform.channel_order == "bgr" else scaled
    return (ordered - tf.constant(transform.mean)) / tf.constant(transform.std)
