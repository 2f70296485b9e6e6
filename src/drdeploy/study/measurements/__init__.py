"""One invocation is one row; a results folder holds the rows and the facts they depend on.

``measurement`` is the schema, ``journal`` keeps rows on disk whatever happens to the process,
``environment`` the facts of machine and run, ``results`` is the folder; ``load`` reads a folder
back, ``scenarios`` groups rows by trial and kind of start.
"""
