"""Compute estimates with 95 % intervals.

- ``estimate``: an estimate, its interval, its number of rows and its method.
- ``means``: means and medians of one sample, and their ratios for two samples.
- ``studentised``: the studentised bootstrap, which gives the intervals of means and their ratios.
- ``percentiles``: medians and percentiles, with intervals from order statistics.
- ``proportions``: proportions (Wilson), AUROC (DeLong, Newcombe), and statistics of grouped
  photographs.
- ``stability``: whether rows drift or depend on each other, and which rows are outliers.
- ``notation``: how a number, its unit and its interval are written.
"""
