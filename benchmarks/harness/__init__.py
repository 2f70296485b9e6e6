"""Code that all benchmarks use: options, models, servers, measurements and pages of results.

``options`` is the command line of the benchmarks. ``rounds`` interleaves measurements and computes
ratios. ``page`` writes the results (CSV, SVG and a page in Markdown). ``models`` makes the models
to compare. ``loaders`` and ``predictor`` run a model in a process of its own. ``limits`` puts a
process under a CPU limit. ``servers`` starts servers, ``local_service`` starts drdeploy's local
service, and ``load`` contains the clients of servers.
"""
