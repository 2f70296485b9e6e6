"""Estimates with 95 % intervals: a number is never reported without its uncertainty.

``estimate``     a value with its limits, its n and the method that made them
``means``        means and ratios of latencies, by the calibrated bootstrap in ``studentised``
``percentiles``  medians and percentiles, by order statistics
``proportions``  proportions (Wilson), AUROC (DeLong, Newcombe), statistics of grouped photographs
``differences``  differences and ratios of paired rows
``stability``    whether rows drift or depend on each other; outliers, listed and never trimmed
``notation``     how a number, its unit and its interval are written
"""
