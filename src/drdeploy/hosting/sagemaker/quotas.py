"""SageMaker's limits on endpoints.

A limit that botocore's service model states is read from there, so that a newer botocore brings
newer limits.  Every other limit names the documentation that states it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from drdeploy.units import MIB

DEFAULT_REGION = "us-east-1"
"""The region that the packaged price sheet covers, taken where nobody names another."""

SERVERLESS_MEMORY_STEP_MB = 1024
"""Memory sizes are this far apart (service model, documentation of ``MemorySizeInMB``)."""

SERVERLESS_PAYLOAD_BYTES = 4 * MIB
"""Largest body of a request, and of a response (developer guide, "Invoke a serverless
endpoint")."""

REALTIME_PAYLOAD_BYTES = 6 * MIB
"""Largest body of a request, and of a response (API reference, ``InvokeEndpoint``)."""

INVOCATION_TIMEOUT_S = 60.0
"""Seconds within which a container must answer (developer guide, "Custom Inference Code with
Hosting Services")."""

LAMBDA_MB_PER_VCPU = 1769
"""MB of memory that come with one vCPU in AWS Lambda (Lambda developer guide, "Configure Lambda
function memory").  SageMaker publishes no figure for serverless endpoints."""


@dataclass(frozen=True)
class IntegerRange:
    """Smallest and largest permitted value; a maximum of None means that none is documented."""

    minimum: int
    maximum: int | None

    def __contains__(self, value: int) -> bool:
        return self.minimum <= value and (self.maximum is None or value <= self.maximum)

    def __str__(self) -> str:
        return f"{self.minimum} to {self.maximum}" if self.maximum else f"at least {self.minimum}"


@cache
def _shapes() -> dict[str, Any]:
    import botocore.loaders

    model = botocore.loaders.Loader().load_service_model("sagemaker", "service-2")
    shapes: dict[str, Any] = model["shapes"]
    return shapes


def _integer_range(shape_name: str) -> IntegerRange:
    shape = _shapes()[shape_name]
    return IntegerRange(shape["min"], shape.get("max"))


def serverless_memory_mb() -> IntegerRange:
    """Return the range of a serverless endpoint's memory, in MB."""
    return _integer_range("ServerlessMemorySizeInMB")


def serverless_max_concurrency() -> IntegerRange:
    """Return the range of ``MaxConcurrency``: invocations of a serverless endpoint at once."""
    return _integer_range("ServerlessMaxConcurrency")


def serverless_provisioned_concurrency() -> IntegerRange:
    """Return the range of ``ProvisionedConcurrency``: containers that are kept warm."""
    return _integer_range("ServerlessProvisionedConcurrency")


def initial_instance_count() -> IntegerRange:
    """Return the range of instances that a real-time endpoint may start with."""
    return _integer_range("InitialTaskCount")


@cache
def instance_types() -> frozenset[str]:
    """Return every instance type that a production variant may name."""
    return frozenset(_shapes()["ProductionVariantInstanceType"]["enum"])


def vcpu_of_memory(memory_mb: int, *, mb_per_vcpu: float = LAMBDA_MB_PER_VCPU) -> float:
    """Return the vCPU assumed for a serverless memory size, by default in Lambda's proportion."""
    return memory_mb / mb_per_vcpu
