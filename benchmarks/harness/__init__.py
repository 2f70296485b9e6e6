"""What the benchmarks share.

``options`` is their command line, ``rounds`` the interleaving and the ratios, ``page`` what they
leave behind (CSV, SVG and a page in Markdown), ``models`` what they predict with, ``loaders``
and ``predictor`` a model in a process of its own, ``limits`` a process under a CPU limit,
``servers`` and ``load`` a server and its clients.
"""
