"""Build a network, give it weights, and export it as SavedModel and ONNX.

drdeploy can build the 27 networks that a study compared in 2023. ``architectures`` lists them, and
the input that each expects. ``network`` takes the base of a network from Keras, and puts the
study's last layers on it. ``weights`` sets the weights: all random (``random_weights``), or
ImageNet weights for the base and random weights for the last layers. ``export`` writes artifacts
with the converters in ``convert``. It then compares each artifact's answers with the network's
answers, for the photographs that ``sample`` makes. ``vgg19_onnx`` builds VGG19 without TensorFlow.
"""
