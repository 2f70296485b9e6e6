"""Build the grading networks and export them.

``architectures`` lists the networks and what each wants to see; ``network`` puts the study's
head on a Keras base; ``weights`` fills it (random, or ImageNet's for the base); ``export``
writes the SavedModel and the ONNX artifact and refuses to if they disagree with the network.
"""
