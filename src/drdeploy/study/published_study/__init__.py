"""The 2023 study recomputed from its own raw rows.

A *printed number* is a number that the study printed, for example in a table. A *reading* is one
way to compute a printed number from the rows.

- ``raw_rows`` reads the study's raw rows as measurements.
- ``printed_figures`` reads the printed numbers with their digits.
- ``formulas`` computes a number as a mean, a ratio, a share or a reduction.
- ``definitions`` defines the formula of each number from its description in the study.
- ``departures`` changes a definition in one respect, which gives another reading.
- ``row_statistics`` turns rows into one number, by a statistic and rounding.
- ``readings`` searches for other readings that give the printed number.
- ``verdicts`` judges whether each number is reproduced, is close, differs or cannot be recomputed.
- ``document`` writes the verdicts as sentences, as JSON and as tables.
- ``figures`` draws pictures 6.1 to 6.12 of the study again.
- ``page`` writes the reproduction as one HTML page that needs no other file.

Each number is first recomputed from its description, and only then compared with the printed value.
"""
