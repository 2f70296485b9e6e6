"""Measurements: one row for each invocation, and the facts that the rows depend on.

1. ``measurement`` declares the columns, ``schema`` says what follows from a declaration.
2. ``results`` is the folder, ``journal`` writes its rows so that they survive whatever happens
   to the process, ``environment`` records the facts about the machine
   and the run.
3. ``load`` reads a folder back as a pandas frame, ``validation`` refuses what contradicts the
   schema.
4. ``scenarios`` groups the rows by trial and kind of start, ``labels`` names the groups.
"""
