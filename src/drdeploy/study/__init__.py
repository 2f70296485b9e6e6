"""Measure ways of hosting a grader, and decide between them.

A measurement passes through the packages in this order:

- ``design`` reads a study from its TOML file, and plans its trials, duration and cost.
- ``running`` hosts each model, sends requests, and records rows; start at ``running/session.py``.
- ``measurements`` holds the schema of a row, the journal of rows, and the results folder.
- ``aws_latency`` predicts latencies on AWS from rows that were measured on this machine.
- ``report`` shows summaries, comparisons, findings, pictures and tables on one page.
- ``recommendation`` simulates traffic, prices every way of hosting, and chooses the cheapest.
- ``published_study`` recomputes the numbers that the study of 2023 printed, from its raw rows.
"""
