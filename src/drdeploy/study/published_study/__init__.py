"""Recompute the numbers that the study of 2023 printed, from the study's own raw rows.

A *printed number* is a number that the study printed, for example in a table. A *reading* is one
way to compute a printed number from the rows.

- ``raw_rows`` reads the study's raw rows as measurements.
- ``printed_figures`` reads the printed numbers with their digits.
- ``formulas`` computes a number as a mean, a ratio, a share or a reduction.
- ``definitions`` derives the formula of each number from its description in the study.
- ``departures`` lists possible changes to a definition; each change gives another reading.
- ``row_statistics`` lists the ways to turn rows into one number, for example a mean that is
  rounded.
- ``readings`` searches for other readings that give the printed number.
- ``verdicts`` says of each number whether it is reproduced, close, different or not recomputable.
- ``document`` writes the verdicts as sentences, as JSON and as tables.
- ``figures`` draws pictures 6.1 to 6.12 of the study again.
- ``page`` writes the reproduction as one HTML page that needs no other file.

Each number is first recomputed from its description, and only then compared with the printed value.
"""
