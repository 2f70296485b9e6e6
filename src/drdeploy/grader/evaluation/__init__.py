"""Measure how good a grader is, with a 95 % interval for each result.

``evaluate`` loads an artifact, grades labelled photographs, and computes all results.
``predictions`` holds the labels and probabilities that all results are computed from. ``metrics``
computes single measures and curves; ``evaluation`` computes all measures of one grader.
``comparison`` computes the difference of two graders on the same photographs. ``graders`` evaluates
graders on sets of photographs, and notes what limits the results. ``document``, ``figures`` and
``page`` show the results.
"""
