"""The names under which SageMaker writes metrics and logs to CloudWatch, and a limit on reading.

The namespace ``AWS/SageMaker`` holds the metrics of invocations. Each of the other names has two
uses. It is the namespace of the CPU and memory metrics of instances. It is also the name of a log
group, or the beginning of the names of log groups (developer guide, "Monitor Amazon SageMaker AI
with Amazon CloudWatch").
"""

from __future__ import annotations

METRICS_NAMESPACE = "AWS/SageMaker"
ENDPOINTS = "/aws/sagemaker/Endpoints"
"""The log group of an endpoint is this name, a slash, and the name of the endpoint."""
INFERENCE_COMPONENTS = "/aws/sagemaker/InferenceComponents"
"""The log group of a component is this name, a slash, and the name of the component."""
TRANSFORM_JOBS = "/aws/sagemaker/TransformJobs"
"""All jobs share this log group. The metrics of their instances have the dimension ``Host``."""

DATAPOINTS_MAX = 1440
"""The largest number of datapoints that one request may ask for (API reference,
``GetMetricStatistics``).
"""
