"""An endpoint's configuration: serverless or real-time, within SageMaker's limits.

>>> ServerlessConfig(memory_mb=2048, max_concurrency=5)
>>> RealTimeConfig(instance_type="ml.m5.xlarge")

In TOML and JSON, ``kind`` says which of the two it is.  A configuration that SageMaker would
refuse raises pydantic's ``ValidationError``.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_validator,
)

from drdeploy.hosting.sagemaker import quotas

# Functions and not ranges: reading botocore's service model takes tenths of a second, which an
# import should not pay.
_LIMITS = {
    "max_concurrency": quotas.serverless_max_concurrency,
    "provisioned_concurrency": quotas.serverless_provisioned_concurrency,
    "initial_instance_count": quotas.initial_instance_count,
}


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator(*_LIMITS, check_fields=False)
    @classmethod
    def _is_within_limits(cls, value: int | None, info: ValidationInfo) -> int | None:
        allowed = _LIMITS[info.field_name or ""]()
        if value is not None and value not in allowed:
            raise ValueError(f"must be {allowed}, not {value}")
        return value


class ServerlessConfig(_Config):
    """A serverless endpoint: paid per use, with no containers when idle.

    Attributes:
        memory_mb: Memory of a container in MB, 1024 to 6144 in steps of 1024; CPU comes in
            proportion.
        max_concurrency: Most invocations at once; SageMaker throttles any more.
        provisioned_concurrency: Containers kept warm, at most ``max_concurrency``.
    """

    kind: Literal["serverless"] = "serverless"
    memory_mb: int
    max_concurrency: int = 1
    provisioned_concurrency: int | None = None

    @field_validator("memory_mb")
    @classmethod
    def _memory_is_offered(cls, value: int) -> int:
        allowed = quotas.serverless_memory_mb()
        step = quotas.SERVERLESS_MEMORY_STEP_MB
        if value not in allowed or value % step:
            raise ValueError(f"must be {allowed} MB in steps of {step}, not {value}")
        return value

    @model_validator(mode="after")
    def _provisioned_within_max(self) -> Self:
        provisioned = self.provisioned_concurrency or 0
        if provisioned > self.max_concurrency:
            raise ValueError(
                f"provisioned_concurrency {provisioned} exceeds "
                f"max_concurrency {self.max_concurrency}"
            )
        return self

    @property
    def label(self) -> str:
        """A short name for trial ids, which never changes: ``1024mb``, ``1024mb-c5-p2``."""
        concurrency = f"-c{self.max_concurrency}" if self.max_concurrency > 1 else ""
        provisioned = f"-p{self.provisioned_concurrency}" if self.provisioned_concurrency else ""
        return f"{self.memory_mb}mb{concurrency}{provisioned}"

    @property
    def payload_limit_bytes(self) -> int:
        """Largest body of a request, and of a response."""
        return quotas.SERVERLESS_PAYLOAD_BYTES


class RealTimeConfig(_Config):
    """A real-time endpoint: instances that always run, paid by the hour.

    Attributes:
        instance_type: One of SageMaker's hosting types, for example ``ml.m5.xlarge``.
        initial_instance_count: Number of instances it starts with.
    """

    kind: Literal["realtime"] = "realtime"
    instance_type: str
    initial_instance_count: int = 1

    @field_validator("instance_type")
    @classmethod
    def _type_is_offered(cls, value: str) -> str:
        if value not in quotas.instance_types():
            raise ValueError(f"{value!r} is not a SageMaker hosting instance type")
        return value

    @property
    def label(self) -> str:
        """A short name for trial ids, which never changes: ``m5.xlarge``, ``m5.xlarge-x2``."""
        count = f"-x{self.initial_instance_count}" if self.initial_instance_count > 1 else ""
        return f"{self.instance_type.removeprefix('ml.')}{count}"

    @property
    def payload_limit_bytes(self) -> int:
        """Largest body of a request, and of a response."""
        return quotas.REALTIME_PAYLOAD_BYTES


EndpointConfig = Annotated[ServerlessConfig | RealTimeConfig, Field(discriminator="kind")]
"""A configuration of either kind, as a field of a pydantic model."""

endpoint_config: TypeAdapter[ServerlessConfig | RealTimeConfig] = TypeAdapter(EndpointConfig)
"""Parses a configuration of either kind::

    endpoint_config.validate_python({"kind": "serverless", "memory_mb": 1024})
"""
