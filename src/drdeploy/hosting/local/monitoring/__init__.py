"""CloudWatch: store samples, compute statistics and metric math, and evaluate alarms.

``metric_store`` keeps every sample, and ``statistics`` computes what CloudWatch calls a statistic.
``metric_queries`` answers GetMetricStatistics, GetMetricData and ListMetrics. An expression of
metric math is read by ``expression_parser`` and computed by ``metric_math`` on ``time_series``;
``metric_search`` computes metric math's function ``SEARCH``. ``alarms`` decides the state of an
alarm, and ``log_patterns`` matches log lines with a filter pattern.

moto simulates the rest of CloudWatch and CloudWatch Logs (dashboards, tags, log groups), reads
requests and writes responses. ``api.cloudwatch`` connects moto with this package.
"""
