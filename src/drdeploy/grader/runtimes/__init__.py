"""Load a model and predict: TensorFlow, ONNX Runtime or OpenVINO behind one interface.

``protocol`` is that interface.  ``load`` picks the runtime for an artifact and imports that library
alone; ``classifier`` turns raw outputs into predictions as the manifest says (probabilities or
logits, which classes); ``signature`` compares a model's input and output with its manifest;
``cpu_limit`` finds how many threads the container may keep busy, which is not how many cores its
host has.

Importing the package imports none of them: a cold start pays only for what it uses.
"""
