"""Numbers that know how sure they are: estimates with 95 % intervals.

``estimate``     a value with its limits, its n and the method that made them
``means``        means, ratios and shares of latencies, by calibrated studentised bootstrap
``percentiles``  medians and percentiles, by order statistics
``proportions``  proportions (Wilson), AUROC (DeLong, Newcombe), whatever is a ratio of sums
``differences``  differences, and rows that are paired
``stability``    whether rows drift or depend on each other; outliers, listed and never trimmed
``notation``     how a number, its unit and its interval are written
"""
