"""SageMaker's limits on endpoints.

botocore comes with a description of each AWS API, the service model. If the service model states a
limit, the limit is read from it, so a newer botocore brings newer limits. A limit that the service
model does not state is a constant, with a reference to the documentation that states it.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

from drdeploy.errors import turn_import_error_into_missing_extra
from drdeploy.units import GIB, MIB

DEFAULT_REGION = "us-east-1"
"""The region that is used if none is named; the packaged price sheet covers it."""

SERVERLESS_MEMORY_STEP_MB = 1024
"""The difference in MB between one memory size and the next (service model, documentation of
``MemorySizeInMB``).
"""

SERVERLESS_PAYLOAD_BYTES = 4 * MIB
"""The largest body of a request or a response of a serverless endpoint, in bytes (developer guide,
"Invoke a serverless endpoint").
"""

REALTIME_PAYLOAD_BYTES = 6 * MIB
"""The largest body of a request or a response of a real-time endpoint, in bytes (API reference,
``InvokeEndpoint``).
"""

ASYNCHRONOUS_PAYLOAD_BYTES = GIB
"""Bytes of the largest input or result of an asynchronous request (developer guide, "Asynchronous
inference")."""

BATCH_PAYLOAD_BYTES = 6 * MIB
"""Bytes of the largest record of a transform job that states no ``MaxPayloadInMB`` (API reference,
``CreateTransformJob``)."""

BATCH_TRANSFORMS_AT_ONCE = 100 * MIB // BATCH_PAYLOAD_BYTES
"""The largest number of records that an instance gets at once if a transform job states no
``MaxPayloadInMB``.

``MaxPayloadInMB`` is then 6, and ``MaxConcurrentTransforms`` times ``MaxPayloadInMB`` is at most
100 (API reference, ``CreateTransformJob``).
"""

ASYNCHRONOUS_TIMEOUT_S = 900.0
"""Seconds within which a container must answer an asynchronous request that states no
``InvocationTimeoutSeconds`` (API reference, ``InvokeEndpointAsync``)."""

ASYNCHRONOUS_TIME_TO_LIVE_S = 21_600.0
"""Seconds that an asynchronous request may wait if it states no ``RequestTTLSeconds`` (API
reference, ``InvokeEndpointAsync``)."""

INVOCATION_TIMEOUT_S = 60.0
"""Seconds within which a container must answer (developer guide, "Custom Inference Code with
Hosting Services")."""

LAMBDA_MB_PER_VCPU = 1769
"""MB of memory that come with one vCPU in AWS Lambda (Lambda developer guide, "Configure Lambda
function memory").  SageMaker publishes no such number for serverless endpoints."""


@dataclass(frozen=True)
class IntegerRange:
    """The smallest and the largest permitted value of a parameter.

    The largest value is None if no largest value is documented.
    """

    minimum: int
    maximum: int | None

    def __contains__(self, value: int) -> bool:
        return self.minimum <= value and (self.maximum is None or value <= self.maximum)

    def __str__(self) -> str:
        return f"{self.minimum} to {self.maximum}" if self.maximum else f"at least {self.minimum}"


@cache
def _load_service_model_shapes() -> dict[str, Any]:
    with turn_import_error_into_missing_extra("cloud", "A configuration of SageMaker"):
        import botocore.loaders

    model = botocore.loaders.Loader().load_service_model("sagemaker", "service-2")
    shapes: dict[str, Any] = model["shapes"]
    return shapes


def _read_integer_range_of_shape(shape_name: str) -> IntegerRange:
    shape = _load_service_model_shapes()[shape_name]
    return IntegerRange(shape["min"], shape.get("max"))


def read_serverless_memory_range_mb() -> IntegerRange:
    """Return the permitted range of a serverless endpoint's memory, in MB."""
    return _read_integer_range_of_shape("ServerlessMemorySizeInMB")


def read_max_concurrency_range() -> IntegerRange:
    """Return the permitted range of ``MaxConcurrency``, the number of concurrent invocations."""
    return _read_integer_range_of_shape("ServerlessMaxConcurrency")


def read_provisioned_concurrency_range() -> IntegerRange:
    """Return the permitted range of ``ProvisionedConcurrency``, the number of warm containers."""
    return _read_integer_range_of_shape("ServerlessProvisionedConcurrency")


def read_initial_instance_count_range() -> IntegerRange:
    """Return the permitted range of ``InitialInstanceCount``, the instances at the start."""
    return _read_integer_range_of_shape("InitialTaskCount")


@cache
def read_instance_types() -> frozenset[str]:
    """Return all instance types that a production variant may name."""
    return frozenset(_load_service_model_shapes()["ProductionVariantInstanceType"]["enum"])


@cache
def read_transform_instance_types() -> frozenset[str]:
    """Return all instance types that a transform job may name."""
    return frozenset(_load_service_model_shapes()["TransformInstanceType"]["enum"])


def estimate_vcpu_from_memory(memory_mb: int, *, mb_per_vcpu: float = LAMBDA_MB_PER_VCPU) -> float:
    """Return the vCPUs that a serverless container with the given memory is assumed to have.

    SageMaker does not publish this number. By default, the ratio of memory to vCPUs is assumed to
    be that of AWS Lambda.
    """
    return memory_mb / mb_per_vcpu
