"""Measure how good a grader is, each figure with its 95 % interval.

``evaluate`` is the whole way: load an artifact, grade labelled photographs, compute every figure.
Below it, ``predictions`` are the labels and probabilities that all figures are computed from;
``metrics`` and ``curves`` compute single ones, ``evaluation`` all of them for one grader, and
``comparison`` the difference of two graders on the same photographs; ``graders`` adds which grader
and which photographs these are; ``document``, ``figures`` and ``page`` show the result.
"""
