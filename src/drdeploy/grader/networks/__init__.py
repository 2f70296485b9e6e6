"""Build a network, give it weights, and export it as SavedModel and ONNX.

``architectures`` lists the 27 networks of the 2023 study and the input that each expects.
``network`` puts the study's last layers on a Keras base.  ``weights`` sets the weights: all random
(``random_weights``), or ImageNet weights for the base.  ``export`` writes artifacts with the
converters in ``convert``, and compares each artifact's answers with the network's, on the
photographs of ``sample``.  ``vgg19_onnx`` builds VGG19 without TensorFlow.
"""
