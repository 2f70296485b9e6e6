"""What a user may set when starting the local service."""

from __future__ import annotations

from dataclasses import dataclass

from drdeploy.hosting.sagemaker import quotas


@dataclass(frozen=True)
class ServiceOptions:
    """What a user may set when starting the local service.

    Attributes:
        idle_s: Seconds without a request after which a serverless worker is stopped.  AWS does
            not publish its own figure; observed ones are a few minutes.
        mb_per_vcpu: MB of serverless memory that come with one vCPU.  SageMaker publishes no
            figure; the default is AWS Lambda's.
        trial_start: Whether creating a serverless endpoint starts its container once, at full
            CPU and within its memory, and stops it again.  A container that cannot start then
            fails the endpoint, as on AWS, and not the first request.
        invocation_timeout_s: Seconds that a container has to answer a request.
    """

    idle_s: float = 300.0
    mb_per_vcpu: float = quotas.LAMBDA_MB_PER_VCPU
    trial_start: bool = True
    invocation_timeout_s: float = quotas.INVOCATION_TIMEOUT_S
