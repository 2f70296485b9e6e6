"""The options for starting the local service."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path  # noqa: TC003 - a dataclass field's annotation
from typing import Literal

from drdeploy.hosting.sagemaker import api_limits

IsolationChoice = Literal["auto", "container", "process"]
"""How the local service runs model servers. With ``auto``, it uses containers if it finds a
container engine, and processes if it does not.
"""


@dataclass(frozen=True)
class ServiceOptions:
    """The options for starting the local service.

    Attributes:
        idle_s: Seconds without a request after which a serverless worker is stopped. Managed
            scaling releases an instance that has held no copy of an inference component for the
            same time. AWS does not publish its own times; a few minutes have been observed.
        mb_per_vcpu: A serverless endpoint gets one vCPU for this many MB of its memory. SageMaker
            does not publish this number; the default is AWS Lambda's number.
        trial_start: Whether a new serverless endpoint starts its container once as a trial, and
            stops it again. In this trial, the container has the memory limit of the endpoint, but
            may use all CPUs. If the container cannot start, the creation of the endpoint fails, as
            on AWS. Without this trial, the first request fails instead.
        invocation_timeout_s: Seconds within which a container must answer a request.
        strict_containers: Whether containers are restricted more than on AWS. A restricted
            container runs as the user of its image, without capabilities. Its root file system is
            read-only, except for ``/tmp``.
        queue_folder: The folder that keeps the requests of asynchronous endpoints. Requests may
            wait there when the service stops. A later service with the same folder processes them
            as soon as it has their endpoints. One service at a time can use a folder. With None,
            the folder is below ``DRDEPLOY_LOCAL_HOME``, and its name contains the service's port.
            If the service chooses its own port, the requests are deleted when the service ends.
    """

    idle_s: float = 300.0
    mb_per_vcpu: float = api_limits.LAMBDA_MB_PER_VCPU
    trial_start: bool = True
    invocation_timeout_s: float = api_limits.INVOCATION_TIMEOUT_S
    strict_containers: bool = False
    queue_folder: Path | None = None
