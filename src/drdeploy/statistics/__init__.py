"""Compute estimates with 95 % intervals.

- ``estimate``: an estimate with its interval, the number of rows and the method.
- ``means``: means, and ratios of independent or paired rows; the bootstrap is in ``studentised``.
- ``percentiles``: medians and percentiles, with intervals from order statistics.
- ``proportions``: proportions (Wilson), AUROC (DeLong, Newcombe), and statistics over groups.
- ``stability``: whether rows drift or depend on each other, and which rows are outliers.
- ``notation``: how a number, its unit and its interval are written.
"""
