"""The configuration of an endpoint or of a transform job, within SageMaker's limits.

>>> ServerlessConfig(memory_mb=2048, max_concurrency=5)
>>> RealTimeConfig(instance_type="ml.m5.xlarge")
>>> AsynchronousConfig(instance_type="ml.m5.xlarge")
>>> BatchConfig(instance_type="ml.m5.xlarge")

In TOML and JSON, ``kind`` is ``serverless``, ``realtime``, ``asynchronous`` or ``batch``.  A
configuration that SageMaker would refuse raises pydantic's ``ValidationError``.  An
:class:`EndpointDefinition` describes a model, an endpoint configuration and an endpoint, which
``Hosting`` creates with the same name.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Annotated, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationInfo,
    field_validator,
    model_validator,
)

from drdeploy.errors import InvalidInput
from drdeploy.hosting.sagemaker import api_limits
from drdeploy.hosting.sagemaker.gpu_hosts import check_gpu_host

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_sagemaker.type_defs import (
        AsyncInferenceConfigTypeDef,
        ProductionVariantTypeDef,
    )

# These are functions, because reading botocore's service model takes tenths of a second, and an
# import should not take that long.
_LIMITS = {
    "max_concurrency": api_limits.read_max_concurrency_range,
    "provisioned_concurrency": api_limits.read_provisioned_concurrency_range,
    "initial_instance_count": api_limits.read_initial_instance_count_range,
}


class _Config(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    @field_validator(*_LIMITS, check_fields=False)
    @classmethod
    def _check_value_is_within_limits(cls, value: int | None, info: ValidationInfo) -> int | None:
        allowed = _LIMITS[info.field_name or ""]()
        if value is not None and value not in allowed:
            raise ValueError(f"the value must be {allowed}, not {value}")
        return value


class ServerlessConfig(_Config):
    """The configuration of a serverless endpoint, which is paid per use.

    Attributes:
        memory_mb: The memory of a container in MB, 1024 to 6144 in steps of 1024. A container with
            more memory also has more CPU.
        max_concurrency: The largest number of invocations that run at once. SageMaker refuses
            further invocations.
        provisioned_concurrency: How many containers are kept warm, at most ``max_concurrency``.
    """

    kind: Literal["serverless"] = "serverless"
    memory_mb: int
    max_concurrency: int = 1
    provisioned_concurrency: int | None = None

    @field_validator("memory_mb")
    @classmethod
    def _check_memory_is_offered(cls, value: int) -> int:
        allowed = api_limits.read_serverless_memory_range_mb()
        step = api_limits.SERVERLESS_MEMORY_STEP_MB
        if value not in allowed or value % step:
            raise ValueError(f"the memory must be {allowed} MB in steps of {step}, not {value}")
        return value

    @model_validator(mode="after")
    def _check_provisioned_within_maximum(self) -> Self:
        provisioned = self.provisioned_concurrency or 0
        if provisioned > self.max_concurrency:
            raise ValueError(
                f"provisioned_concurrency {provisioned} exceeds "
                f"max_concurrency {self.max_concurrency}"
            )
        return self

    @property
    def label(self) -> str:
        """A short, stable name of the configuration, for example ``1024mb-c5-p2``."""
        concurrency = f"-c{self.max_concurrency}" if self.max_concurrency > 1 else ""
        provisioned = f"-p{self.provisioned_concurrency}" if self.provisioned_concurrency else ""
        return f"{self.memory_mb}mb{concurrency}{provisioned}"

    @property
    def payload_limit_bytes(self) -> int:
        """The largest body of a request or a response, in bytes."""
        return api_limits.SERVERLESS_PAYLOAD_BYTES


class _InstanceConfig(_Config):
    kind: str
    instance_type: str
    initial_instance_count: int = 1
    inference_ami_version: str | None = None

    @field_validator("instance_type")
    @classmethod
    def _check_instance_type_is_offered(cls, value: str) -> str:
        if value not in api_limits.read_instance_types():
            raise ValueError(f"{value!r} is not a SageMaker hosting instance type")
        return value

    @property
    def label(self) -> str:
        """A short, stable name of the configuration, for example ``m5.xlarge-x2``."""
        count = f"-x{self.initial_instance_count}" if self.initial_instance_count > 1 else ""
        ami = f"-{self.inference_ami_version}" if self.inference_ami_version else ""
        return f"{self.instance_type.removeprefix('ml.')}{count}{ami}"

    @model_validator(mode="after")
    def _check_ami_fits_instances(self) -> Self:
        try:
            check_gpu_host({}, self.instance_type, self.inference_ami_version)
        except InvalidInput as err:
            raise ValueError(f"{err.what}. {err.remedy}") from err
        return self


class RealTimeConfig(_InstanceConfig):
    """The configuration of a real-time endpoint; instances always run, and are paid by the hour.

    Attributes:
        instance_type: An instance type that SageMaker hosts on, for example ``ml.m5.xlarge``.
        initial_instance_count: The number of instances that the endpoint starts with.
        inference_ami_version: The AMI version of instances with a GPU, which decides the GPU's
            driver; None takes SageMaker's default.
    """

    kind: Literal["realtime"] = "realtime"

    @property
    def payload_limit_bytes(self) -> int:
        """The largest body of a request or a response, in bytes."""
        return api_limits.REALTIME_PAYLOAD_BYTES


class AsynchronousConfig(_InstanceConfig):
    """The configuration of an asynchronous endpoint; running instances are paid by the hour.

    Attributes:
        instance_type: An instance type that SageMaker hosts on, for example ``ml.m5.xlarge``.
        initial_instance_count: The number of instances that the endpoint starts with.
        inference_ami_version: The AMI version of instances with a GPU, which decides the GPU's
            driver; None takes SageMaker's default.
        max_concurrent_invocations_per_instance: The largest number of requests that an instance
            processes at a time, 1 to 1000; None leaves the number to SageMaker.
    """

    kind: Literal["asynchronous"] = "asynchronous"
    max_concurrent_invocations_per_instance: Annotated[int, Field(ge=1, le=1000)] | None = None

    @property
    def label(self) -> str:
        """A short, stable name of the configuration, for example ``m5.xlarge-async-c4``."""
        at_once = self.max_concurrent_invocations_per_instance
        concurrency = f"-c{at_once}" if at_once is not None else ""
        return f"{super().label}-async{concurrency}"

    @property
    def payload_limit_bytes(self) -> int:
        """The largest input of a request in S3, in bytes."""
        return api_limits.ASYNCHRONOUS_PAYLOAD_BYTES


class BatchConfig(_Config):
    """The instances of a Batch Transform job, which are billed by the second until the job ends.

    Attributes:
        instance_type: An instance type for transform jobs, for example ``ml.m5.xlarge``.
        instance_count: The number of instances, 1 to 100.
        max_concurrent_transforms: How many photographs an instance receives at once, 1 to 100; None
            lets the container choose.
    """

    kind: Literal["batch"] = "batch"
    instance_type: str
    instance_count: Annotated[int, Field(ge=1, le=100)] = 1
    max_concurrent_transforms: Annotated[int, Field(ge=1, le=100)] | None = None

    @field_validator("instance_type")
    @classmethod
    def _check_instance_type_is_offered(cls, value: str) -> str:
        if value not in api_limits.read_transform_instance_types():
            raise ValueError(f"{value!r} is not a SageMaker instance type for transform jobs")
        return value

    @property
    def label(self) -> str:
        """A short, stable name of the configuration, for example ``m5.xlarge-x2-c4``."""
        count = f"-x{self.instance_count}" if self.instance_count > 1 else ""
        at_once = self.max_concurrent_transforms
        concurrency = f"-c{at_once}" if at_once is not None else ""
        return f"{self.instance_type.removeprefix('ml.')}{count}{concurrency}"

    @property
    def payload_limit_bytes(self) -> int:
        """The largest photograph of a transform job, in bytes."""
        return api_limits.BATCH_PAYLOAD_BYTES


DeployableConfig = ServerlessConfig | RealTimeConfig | AsynchronousConfig
"""The configuration of any kind of endpoint that Terraform deploys."""

HostingConfig = DeployableConfig | BatchConfig
"""The configuration of any kind of hosting: an endpoint, or the instances of a transform job."""

AnyHostingConfig = Annotated[HostingConfig, Field(discriminator="kind")]
"""The type of a pydantic field that holds the configuration of any kind of hosting."""

hosting_config: TypeAdapter[HostingConfig] = TypeAdapter(AnyHostingConfig)
"""Parses the configuration of any kind of hosting::

    hosting_config.validate_python({"kind": "serverless", "memory_mb": 1024})
"""


VARIANT = "AllTraffic"
"""The name of the only production variant of each endpoint that drdeploy creates."""

LOCAL_ROLE_ARN = "arn:aws:iam::000000000000:role/drdeploy-local"
"""The role for ``CreateModel`` in the local service, where the role need not exist."""


@dataclass(frozen=True)
class EndpointDefinition:
    """All that is needed to create an endpoint: its model, its configuration, and one name for all.

    Attributes:
        name: The name of the model, the configuration and the endpoint: at most 63 letters, digits
            and hyphens.
        image: The URI of the container image.
        model_data_url: The ``s3://`` URI of the ``model.tar.gz``.
        config: The configuration of the endpoint.
        role_arn: The IAM role that SageMaker uses to read the container image and the model
            archive.
        environment: The environment variables of the container.
        asynchronous_uri: The ``s3://`` folder in which an asynchronous endpoint keeps the folders
            of inputs, results and failures. Empty for other endpoints.
    """

    name: str
    image: str
    model_data_url: str
    config: DeployableConfig
    role_arn: str = LOCAL_ROLE_ARN
    environment: Mapping[str, str] = field(default_factory=dict)
    asynchronous_uri: str = ""

    @property
    def asynchronous_settings(self) -> AsyncInferenceConfigTypeDef | None:
        """Return the ``AsyncInferenceConfig`` of an asynchronous endpoint; None for others."""
        if not isinstance(self.config, AsynchronousConfig):
            return None
        settings: AsyncInferenceConfigTypeDef = {
            # As the Terraform module asynchronous-endpoint names them.
            "OutputConfig": {
                "S3OutputPath": f"{self.asynchronous_uri}/results",
                "S3FailurePath": f"{self.asynchronous_uri}/failed",
            }
        }
        at_once = self.config.max_concurrent_invocations_per_instance
        if at_once is not None:
            settings["ClientConfig"] = {"MaxConcurrentInvocationsPerInstance": at_once}
        return settings

    @property
    def production_variant(self) -> ProductionVariantTypeDef:
        """Return the production variant for ``CreateEndpointConfig``."""
        variant: ProductionVariantTypeDef = {"VariantName": VARIANT, "ModelName": self.name}
        if isinstance(self.config, RealTimeConfig | AsynchronousConfig):
            variant["InstanceType"] = self.config.instance_type  # type: ignore[typeddict-item]  # a str that the config has checked
            variant["InitialInstanceCount"] = self.config.initial_instance_count
            if self.config.inference_ami_version:
                ami = self.config.inference_ami_version
                variant["InferenceAmiVersion"] = ami  # type: ignore[typeddict-item]  # checked too
            return variant
        variant["ServerlessConfig"] = {
            "MemorySizeInMB": self.config.memory_mb,
            "MaxConcurrency": self.config.max_concurrency,
        }
        if self.config.provisioned_concurrency:
            provisioned = self.config.provisioned_concurrency
            variant["ServerlessConfig"]["ProvisionedConcurrency"] = provisioned
        return variant
