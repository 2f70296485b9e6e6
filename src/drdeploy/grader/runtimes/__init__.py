"""Load a model and predict: TensorFlow, ONNX Runtime or OpenVINO behind one Protocol.

``load`` picks the runtime for an artifact and imports that library alone; ``classifier`` reads
a runtime's raw outputs as the manifest says (probabilities or logits, which classes);
``cpu_limit`` finds how many threads the container may keep busy, which is not how many cores
its host has.  Nothing is imported here: a cold start pays for what it uses.
"""
