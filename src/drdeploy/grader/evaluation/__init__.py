"""How good a grader is: every figure with its interval.

``metrics`` and ``curves`` are single figures; ``evaluation`` is all of them for one grader;
``comparison`` sets two graders side by side on the same photographs; ``graders`` evaluates
artifacts on a data set; ``predictions`` are what all of it is computed from; ``document``,
``figures`` and ``page`` show it.
"""
