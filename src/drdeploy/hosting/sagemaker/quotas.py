"""SageMaker's limits: ranges and names from botocore's service model, the rest documented.

Where a limit stands in ``service-2.json`` it is read from there, so that a newer botocore
brings newer limits.  The others carry their source.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from drdeploy.units import MIB

DEFAULT_REGION = "us-east-1"
"""The region that the packaged price sheet covers, taken where nobody names another."""

SERVERLESS_MEMORY_STEP_MB = 1024
"""Valid sizes are 1 GB apart (service model, documentation of ``MemorySizeInMB``)."""

SERVERLESS_PAYLOAD_BYTES = 4 * MIB
"""Each way (developer guide, "Invoke models with SageMaker Serverless Inference")."""

REALTIME_PAYLOAD_BYTES = 6 * MIB
"""Each way (API reference, ``InvokeEndpoint``)."""

INVOCATION_TIMEOUT_S = 60.0
"""A container answers within this time (developer guide, "Custom inference code")."""

LAMBDA_MB_PER_VCPU = 1769
"""AWS Lambda's documented memory per vCPU.  SageMaker documents none for serverless."""


@dataclass(frozen=True)
class IntegerRange:
    """Smallest and largest value, both allowed; None means no limit is documented."""

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
    """Memory of a serverless endpoint, in MB."""
    return _integer_range("ServerlessMemorySizeInMB")


def serverless_max_concurrency() -> IntegerRange:
    """Invocations that a serverless endpoint may process at once."""
    return _integer_range("ServerlessMaxConcurrency")


def serverless_provisioned_concurrency() -> IntegerRange:
    """Containers that a serverless endpoint keeps warm."""
    return _integer_range("ServerlessProvisionedConcurrency")


def initial_instance_count() -> IntegerRange:
    """Instances that a real-time endpoint starts with."""
    return _integer_range("InitialTaskCount")


@cache
def instance_types() -> frozenset[str]:
    """Every instance type that a production variant may name."""
    return frozenset(_shapes()["ProductionVariantInstanceType"]["enum"])


def vcpu_of_memory(memory_mb: int, *, mb_per_vcpu: float = LAMBDA_MB_PER_VCPU) -> float:
    """VCPU that a serverless memory size is taken to give, Lambda's proportion by default."""
    return memory_mb / mb_per_vcpu
