"""Grade a photograph, and train a grader from graded photographs.

The following packages grade a photograph. :mod:`~drdeploy.grader.inference` calls the first four:

- ``fundus`` decodes a photograph, finds the eye, checks whether it can be graded, and makes the
  model's input.
- ``runtimes`` loads a model into the library that runs it, and predicts.
- ``grading`` turns a prediction into a grade of the ICDR scale.
- ``artifacts`` reads and writes ``model.tar.gz`` with its manifest, which describes the model.
- ``dicom`` reads the photographs in DICOM files.
- ``box`` contains the packaged grader.

The following packages make a model from graded photographs:

- ``datasets`` reads labelled photographs, finds copies, and splits data sets.
- ``networks`` builds networks, loads initial weights, and exports trained networks.
- ``importing`` turns a model that was made elsewhere into an artifact.
- ``training`` trains networks with cross-validation, calibrates them, and chooses thresholds.
- ``evaluation`` measures how good a grader is, and gives an interval for each result.
- ``recalibration`` adapts a grader to the photographs of a clinic.
- ``quantization`` makes a model smaller, and measures how much quality is lost.
- ``synthetic`` paints photographs of eyes, for machines without real photographs.

A lean container image contains ``inference`` and the packages ``fundus``, ``runtimes``, ``grading``
and ``artifacts``.
"""
