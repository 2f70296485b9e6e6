"""The contract's figures and its sources."""

from __future__ import annotations

from dataclasses import dataclass

from drdeploy.units import MIB

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
        start_s: Until it is ready: 3 minutes on a serverless endpoint.
        ping_s: For an answer to ``GET /ping``.
        accept_s: For a connection to be accepted.
        answer_s: For an answer to ``POST /invocations``.
        stop_s: Between SIGTERM and SIGKILL.
        serverless_bytes: Largest body, and answer, of a serverless endpoint.
        real_time_bytes: Largest body of a real-time endpoint.
        attributes_chars: Longest ``X-Amzn-SageMaker-Custom-Attributes``.
        inference_id_chars: Longest ``X-Amzn-SageMaker-Inference-Id``.
        image_bytes: Largest image of a serverless endpoint.
        load_s: How long load is put on; no part of SageMaker's contract.
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
    image_bytes: int = 10_000_000_000
    load_s: float = 3.0
