"""What is to be hosted: one model, one configuration, one endpoint, all of one name."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, assert_never

from drdeploy.hosting.sagemaker.configs import RealTimeConfig, ServerlessConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_sagemaker.type_defs import (
        ProductionVariantServerlessConfigTypeDef,
        ProductionVariantTypeDef,
    )

VARIANT = "AllTraffic"
"""Every endpoint has this one variant."""

LOCAL_ROLE_ARN = "arn:aws:iam::000000000000:role/drdeploy-local"
"""The local service asks for a role as SageMaker does, and assumes none."""


@dataclass(frozen=True)
class EndpointDefinition:
    """A model, an endpoint configuration and an endpoint, all of one name.

    Attributes:
        name: At most 63 letters, digits and hyphens.
        image: URI of the container image.
        model_data_url: ``s3://`` URI of ``model.tar.gz``.
        config: Serverless or real-time.
        role_arn: What SageMaker assumes to read image and artifact.
        environment: Of the container.
    """

    name: str
    image: str
    model_data_url: str
    config: ServerlessConfig | RealTimeConfig
    role_arn: str = LOCAL_ROLE_ARN
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def production_variant(self) -> ProductionVariantTypeDef:
        """As ``CreateEndpointConfig`` takes it."""
        match self.config:
            case ServerlessConfig():
                return {
                    "VariantName": VARIANT,
                    "ModelName": self.name,
                    "ServerlessConfig": _serverless(self.config),
                }
            case RealTimeConfig():
                return {
                    "VariantName": VARIANT,
                    "ModelName": self.name,
                    "InstanceType": self.config.instance_type,  # type: ignore[typeddict-item]  # a str that the config has checked
                    "InitialInstanceCount": self.config.initial_instance_count,
                }
            case _:
                assert_never(self.config)


def _serverless(config: ServerlessConfig) -> ProductionVariantServerlessConfigTypeDef:
    described: ProductionVariantServerlessConfigTypeDef = {
        "MemorySizeInMB": config.memory_mb,
        "MaxConcurrency": config.max_concurrency,
    }
    if config.provisioned_concurrency:
        described["ProvisionedConcurrency"] = config.provisioned_concurrency
    return described
