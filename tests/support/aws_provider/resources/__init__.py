"""What each kind of resource is made of, read back as, changed by and deleted with.

Every handler speaks the API through :class:`aws_provider.aws.Aws` and takes and returns
values by Terraform's names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_provider.resources.autoscaling import AUTOSCALING
from aws_provider.resources.ecr import ECR
from aws_provider.resources.iam import IAM
from aws_provider.resources.identity import DATA_SOURCES
from aws_provider.resources.observability import OBSERVABILITY
from aws_provider.resources.s3 import S3
from aws_provider.resources.sagemaker import SAGEMAKER

if TYPE_CHECKING:
    from aws_provider.resources.base import Resource

RESOURCES: dict[str, Resource] = {
    **AUTOSCALING,
    **ECR,
    **IAM,
    **OBSERVABILITY,
    **S3,
    **SAGEMAKER,
}
"""Handlers by the type that stands in a resource block."""

__all__ = ["DATA_SOURCES", "RESOURCES"]
