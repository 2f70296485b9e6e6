"""Measure ways of hosting a grader, and decide between them.

A measurement's way::

    design/          a study is a TOML file; it becomes a plan, shown before anything is spent
    running/         host, send, record, resume: begin at running/session.py
    measurements/    one invocation, one row, one schema; the journal and the results folder
    report/          summaries, comparisons, findings, pictures and tables on one page
    recommendation/  traffic, simulation, cold-start mitigation, cost, requirements, decision
    thesis/          the 2023 study: its raw rows, its printed figures, what holds of them
"""
