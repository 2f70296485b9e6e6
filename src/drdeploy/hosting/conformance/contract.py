"""The contract's limits, and the documents that state them."""

from __future__ import annotations

from dataclasses import dataclass

from drdeploy.units import GB, MIB

HOSTING = "AWS developer guide, Custom inference code with hosting services"
SERVERLESS = "AWS developer guide, Deploy models with serverless inference"
TROUBLESHOOTING = "AWS developer guide, Troubleshooting serverless endpoints"
BATCH = "AWS developer guide, Custom inference code with batch transform"
PIPELINES = "AWS developer guide, Hosting along with multiple containers"
INVOKE = "API reference, InvokeEndpoint"
PRACTICE = "practice"
"""Not written down by AWS: learned from containers that failed."""


@dataclass(frozen=True)
class Contract:
    """What a host allows a container; the defaults are SageMaker's.

    Attributes:
        start_s: Seconds until it is ready: 3 minutes on a serverless endpoint.
        ping_s: Seconds for an answer to ``GET /ping``.
        accept_s: Seconds for a connection to be accepted.
        answer_s: Seconds for an answer to ``POST /invocations``.
        stop_s: Seconds between SIGTERM and SIGKILL.
        serverless_bytes: Largest request body, and answer, of a serverless endpoint.
        real_time_bytes: Largest request body of a real-time endpoint.
        attributes_chars: Longest ``X-Amzn-SageMaker-Custom-Attributes``.
        inference_id_chars: Longest ``X-Amzn-SageMaker-Inference-Id``.
        image_bytes: Largest image of a serverless endpoint.
        load_s: Seconds that the check puts load on; not part of SageMaker's contract.
    """

    start_s: float = 180.0
    ping_s: float = 2.0
    accept_s: float = 0.25
    answer_s: float = 60.0
    stop_s: float = 30.0
    serverless_bytes: int = 4 * MIB
    real_time_bytes: int = 6 * MIB
    attributes_chars: int = 1024
    inference_id_chars: int = 64
    image_bytes: int = 10 * GB
    load_s: float = 3.0
