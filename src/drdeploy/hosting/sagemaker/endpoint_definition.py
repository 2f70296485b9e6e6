"""A model, an endpoint configuration and an endpoint of one name: what ``Hosting`` creates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from drdeploy.hosting.sagemaker.configs import RealTimeConfig, ServerlessConfig

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mypy_boto3_sagemaker.type_defs import ProductionVariantTypeDef

VARIANT = "AllTraffic"
"""Name of the one production variant that each of our endpoints has."""

LOCAL_ROLE_ARN = "arn:aws:iam::000000000000:role/drdeploy-local"
"""``CreateModel`` demands a role; the local service does not check one that its IAM lacks."""


@dataclass(frozen=True)
class EndpointDefinition:
    """A model, an endpoint configuration and an endpoint, all of one name.

    Attributes:
        name: Name of all three: at most 63 letters, digits and hyphens.
        image: URI of the container image.
        model_data_url: ``s3://`` URI of ``model.tar.gz``.
        config: Serverless or real-time.
        role_arn: Role with which SageMaker reads the image and the artifact.
        environment: The container's environment variables.
    """

    name: str
    image: str
    model_data_url: str
    config: ServerlessConfig | RealTimeConfig
    role_arn: str = LOCAL_ROLE_ARN
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def production_variant(self) -> ProductionVariantTypeDef:
        """The production variant as ``CreateEndpointConfig`` takes it."""
        variant: ProductionVariantTypeDef = {"VariantName": VARIANT, "ModelName": self.name}
        if isinstance(self.config, RealTimeConfig):
            variant["InstanceType"] = self.config.instance_type  # type: ignore[typeddict-item]  # a str that the config has checked
            variant["InitialInstanceCount"] = self.config.initial_instance_count
            return variant
        variant["ServerlessConfig"] = {
            "MemorySizeInMB": self.config.memory_mb,
            "MaxConcurrency": self.config.max_concurrency,
        }
        if self.config.provisioned_concurrency:
            provisioned = self.config.provisioned_concurrency
            variant["ServerlessConfig"]["ProvisionedConcurrency"] = provisioned
        return variant
