"""CloudWatch: store samples, compute statistics and metric math, and evaluate alarms.

``metric_store`` keeps every sample. ``statistics`` computes CloudWatch's statistics, such as an
average or a percentile. ``metric_queries`` answers GetMetricStatistics, GetMetricData and
ListMetrics. ``expression_parser`` reads an expression of metric math, and ``metric_math`` computes
its value. ``time_series`` defines the time series with which ``metric_math`` computes.
``metric_search`` finds the metrics for the function ``SEARCH`` of metric math. ``alarms`` decides
the state of an alarm. ``log_patterns`` matches log lines with a filter pattern, and
``regular_expressions`` matches the regular expressions in such a pattern. ``monitoring_errors``
defines the error for requests that CloudWatch refuses.

The library moto simulates the rest of CloudWatch and CloudWatch Logs (dashboards, tags, log
groups). It also reads the requests and writes the responses. ``api.cloudwatch`` connects moto with
this package.
"""
