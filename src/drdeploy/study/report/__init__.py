"""Report a study's measurements as one page, with tables and pictures in separate files.

- ``summaries`` computes the times, the cost and the number of rows of each scenario.
- ``queues_and_jobs`` summarises asynchronous requests and Batch Transform jobs.
- ``comparisons`` computes ratios, with intervals, between scenarios that differ in one dimension.
- ``findings`` writes sentences on the fastest and the cheapest configuration, and on cold starts.
- ``caveats`` writes warnings about the measurements.
- ``evidence`` calls the modules above once, and holds all their results.
- ``scenario_picture`` draws every scenario's cost against its latency, for a report without a
  recommendation.
- ``figures`` draws three kinds of pictures as SVG: box plots, the parts of the latency, and costs.
- ``panels`` groups the scenarios that are drawn in one picture.
- ``image_figure`` draws cold starts by image.
- ``tables`` writes the results as CSV, in full precision.
- ``cells`` formats estimates as table cells.
- ``report`` writes the report as one HTML page that needs no other file.

Some rows are left out of the results: those of warm-up requests, of failed requests, and of
requests with the wrong kind of start (cold instead of warm, or the reverse). These rows stay in the
file. The report says how many rows are left out, and why.
"""
