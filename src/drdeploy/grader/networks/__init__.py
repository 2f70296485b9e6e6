"""The networks: build one, fill it with weights, write it as SavedModel and ONNX.

``architectures`` lists the 27 networks of the 2023 study and the input each expects; ``network``
puts the study's head on a Keras base; ``weights`` fills it (random, or ImageNet's for the base);
``export`` writes artifacts and refuses to where they disagree with the network.
"""
