"""Report a study's measurements as one page, with tables and pictures in separate files.

- ``summaries`` computes the times, the cost and the number of rows of each scenario.
- ``comparisons`` computes ratios between scenarios that differ in one dimension, with intervals.
- ``findings`` writes sentences on the fastest and the cheapest configuration, and on cold starts.
- ``caveats`` writes warnings about the measurements.
- ``evidence`` computes all results of ``summaries``, ``comparisons``, ``findings`` and ``caveats``
  once.
- ``scenario_picture`` draws every scenario's cost against its latency, for a report that recommends
  no hosting.
- ``figures`` draws box plots, the parts of the latency, and costs, as SVG.
- ``panels`` groups the scenarios that are drawn in one picture.
- ``image_figure`` draws cold starts by image.
- ``tables`` writes the results as CSV, in full precision.
- ``cells`` formats estimates as table cells.
- ``report`` writes the report as one HTML page that needs no other file.

Some rows do not count: warm-up requests, failed requests, and requests with the wrong kind of start
(cold instead of warm, or the reverse). These rows stay in the file. The report shows how many rows
do not count, and why.
"""
