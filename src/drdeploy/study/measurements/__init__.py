"""Measurements with one row per invocation, and facts about the machine and the run.

1. ``measurement`` declares the columns of a row, and ``schema`` reads and writes a column's values.
2. ``results`` is the results folder. ``journal`` writes each row so that a later crash cannot lose
   it. ``environment`` records facts about the machine and the run.
3. ``load`` reads a results folder as a pandas frame.  ``validation`` refuses rows that contradict
   the schema.
4. ``scenarios`` groups the rows by trial and kind of start, and names each group.
"""
