"""CloudWatch: store samples, compute statistics and metric math, and evaluate alarms.

``metric_store`` keeps every sample, and ``statistics`` computes what CloudWatch calls a statistic.
``metric_queries`` answers GetMetricStatistics, GetMetricData and ListMetrics. ``expression_parser``
reads an expression of metric math, and ``metric_math`` computes it from the values in
``time_series``. ``metric_search`` computes metric math's function ``SEARCH``. ``alarms`` decides
the state of an alarm, and ``log_patterns`` matches log lines with a filter pattern.

The library moto simulates the rest of CloudWatch and CloudWatch Logs (dashboards, tags, log
groups). It also reads the requests and writes the responses. ``api.cloudwatch`` connects moto with
this package.
"""
