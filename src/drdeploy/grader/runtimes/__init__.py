"""Load a model and predict with TensorFlow, ONNX Runtime or OpenVINO, behind one interface.

``runtime`` is the interface.  ``model_loading`` chooses the runtime for an artifact and imports
only the library of that runtime.  ``classifier`` turns a model's raw outputs into predictions; the
manifest names the classes and the kind of output.  ``signature`` compares a model's input and
output with the manifest.  ``batching`` predicts several photographs at once on a GPU. ``cpu_limit``
finds how many threads the container may keep busy. The container may be allowed fewer CPUs than the
host has. ``second_thread`` uses a second CPU to check a photograph, and ``idle_cpus`` predicts on
more threads. Both modules do this only while no other photograph is being graded.
``photographs_in_progress`` counts the photographs that all workers of a server are grading.
``processor`` says whether the processor adds up int8 products exactly.

Importing this package does not import the three libraries. A cold start therefore imports only the
library that it uses.
"""
