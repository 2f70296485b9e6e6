"""Load a model and predict with TensorFlow, ONNX Runtime or OpenVINO, behind one interface.

``runtime`` is the interface.  ``model_loading`` chooses the runtime for an artifact and imports
only the library of that runtime.  ``classifier`` turns raw outputs into predictions, with the
classes and the kind of output that the manifest names.  ``signature`` compares a model's input and
output with the manifest.  ``cpu_limit`` finds how many threads the container may keep busy, which
may be fewer than the host's cores.  ``second_thread`` does a part of a photograph's work on a
second CPU, and ``idle_cpus`` predicts on more threads, while only one photograph is graded;
``photographs_in_progress`` counts them over all workers.  ``heap`` has the settings of the C library's heap.

Importing the package imports none of the three libraries, so a cold start imports only the library
that it uses.
"""
