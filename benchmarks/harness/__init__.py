"""The code that the benchmarks share.

``options`` is the command line of the benchmarks. ``rounds`` interleaves what is compared and forms
ratios. ``page`` writes the results (CSV, SVG and a page in Markdown). ``models`` makes the models.
``loaders`` and ``predictor`` run a model in a process of its own. ``limits`` puts a process under a
CPU limit. ``servers`` starts servers, and ``load`` is their clients.
"""
