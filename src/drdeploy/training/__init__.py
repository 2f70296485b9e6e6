"""From labelled photographs to an artifact whose quality is known.

``datasets`` reads, deduplicates and splits photographs; ``architectures`` lists the networks and
what each wants to see; ``network`` puts the study's head on a Keras base; ``weights`` fills it
(random, or ImageNet's for the base).  ``compare`` trains heads on frozen networks, ``train`` a
whole one, out of fold; ``evaluation`` says how good it is.  ``export`` writes the SavedModel and
the ONNX artifact and refuses to if they disagree with the network; ``quantization`` makes it
smaller and judges what that costs.
"""
