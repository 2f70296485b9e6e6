"""A network small enough to export in a second."""

import pytest

from drdeploy.grader.networks import export


def build_tiny(architecture=None):
    """The study's shape, 200 parameters: convolutions, pooling, a hidden layer, five grades."""
    import keras

    inputs = keras.Input((224, 224, 3))
    features = keras.layers.Conv2D(4, 5, strides=4, activation="relu6")(inputs)
    features = keras.layers.Conv2D(4, 3, strides=4, activation="relu6")(features)
    features = keras.layers.GlobalAveragePooling2D()(features)
    features = keras.layers.Dense(4, activation="relu", name="hidden_1")(features)
    return keras.Model(inputs, keras.layers.Dense(5, activation="softmax", name="grades")(features))


@pytest.fixture
def tiny(monkeypatch):
    """What is built instead of any architecture."""
    network = build_tiny()
    monkeypatch.setattr(export, "build_network", lambda architecture: network)
    return network
