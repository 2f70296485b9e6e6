"""The time and size limits of the hosting contract, and the documents that state them."""

from __future__ import annotations

from dataclasses import dataclass

from drdeploy.hosting.container_engine.container import STOP_TIMEOUT_S
from drdeploy.hosting.sagemaker.api_limits import (
    INVOCATION_TIMEOUT_S,
    REALTIME_PAYLOAD_BYTES,
    SERVERLESS_PAYLOAD_BYTES,
)
from drdeploy.units import GB

HOSTING = "AWS developer guide, Custom inference code with hosting services"
SERVERLESS = "AWS developer guide, Deploy models with serverless inference"
TROUBLESHOOTING = "AWS developer guide, Troubleshooting serverless endpoints"
BATCH = "AWS developer guide, Custom inference code with batch transform"
PIPELINES = "AWS developer guide, Hosting along with multiple containers"
CREATE_MODEL = (
    "CreateModel's error 'Unsupported manifest media type'; AWS re:Post, 'OCI format unsupported "
    "when creating a SageMaker model'"
)
INVOKE = "API reference, InvokeEndpoint"
PRACTICE = "practice"
"""The source of clauses that no AWS document states.

Such clauses come from experience with containers that failed.
"""


@dataclass(frozen=True)
class Contract:
    """The limits that a host sets for a container; the defaults are SageMaker's.

    Attributes:
        start_s: Seconds that a container may take to become ready.
        ping_s: Seconds that an answer to ``GET /ping`` may take.
        accept_s: Seconds that the server may take to accept a connection.
        answer_s: Seconds that an answer to ``POST /invocations`` may take.
        stop_s: Seconds between SIGTERM and SIGKILL.
        serverless_bytes: Bytes of the largest request or answer that a serverless endpoint
            transmits.
        real_time_bytes: Bytes of the largest request body that a real-time endpoint accepts.
        attributes_chars: The largest length of the header ``X-Amzn-SageMaker-Custom-Attributes``,
            in characters.
        inference_id_chars: The largest length of the header ``X-Amzn-SageMaker-Inference-Id``, in
            characters.
        image_bytes: Bytes of the largest container image that a serverless endpoint runs.
        load_s: Seconds for which a check keeps the container under load; not a limit of SageMaker.
    """

    start_s: float = 180.0
    ping_s: float = 2.0
    accept_s: float = 0.25
    answer_s: float = INVOCATION_TIMEOUT_S
    stop_s: float = STOP_TIMEOUT_S
    serverless_bytes: int = SERVERLESS_PAYLOAD_BYTES
    real_time_bytes: int = REALTIME_PAYLOAD_BYTES
    attributes_chars: int = 1024
    inference_id_chars: int = 64
    image_bytes: int = 10 * GB
    load_s: float = 3.0
