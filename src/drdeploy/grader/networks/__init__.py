"""Build a network, give it weights, and export it as SavedModel and ONNX.

``architectures`` lists the 27 networks of the 2023 study and the input that each expects.
``network`` puts the study's head on a Keras base; ``weights`` fills it, with random weights
(``random_weights``, ``initial``) or ImageNet's for the base (``normalization`` repairs what Keras
does to EfficientNet).  ``export`` writes artifacts with the converters in ``convert`` and checks
each against the network on ``sample`` photographs.  ``vgg19_onnx`` makes one network without
TensorFlow.
"""
