"""Make the grader: from a photograph to a grade, and from graded photographs to a model.

From a photograph to a grade, in :mod:`~drdeploy.grader.inference`::

    fundus/      decode -> where the eye is -> can it be graded -> the model's input
    runtimes/    load a model and predict, whichever library runs it
    grading/     what the prediction means: a grade of the ICDR scale
    artifacts/   model.tar.gz and its manifest, which says all of the above about one model
    box/         the grader that ships with this package

From graded photographs to a model::

    datasets/      labelled photographs: read, deduplicate, split
    networks/      build, fill with weights, export
    training/      train out of fold, calibrate, choose operating points
    evaluation/    how good it is, each figure with its interval
    quantization/  make it smaller, and measure what that costs
    synthetic/     painted eyes, for machines without photographs

A lean container image holds the first four of these packages and ``inference``.
"""
