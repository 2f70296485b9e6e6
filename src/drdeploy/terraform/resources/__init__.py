"""What each kind of resource is made of, read back as, changed by and deleted with.

Every handler speaks the API through :class:`drdeploy.terraform.aws.Aws` and takes and returns
values by Terraform's names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.terraform.resources.autoscaling import AUTOSCALING
from drdeploy.terraform.resources.ecr import ECR
from drdeploy.terraform.resources.iam import IAM
from drdeploy.terraform.resources.identity import DATA_SOURCES
from drdeploy.terraform.resources.observability import OBSERVABILITY
from drdeploy.terraform.resources.s3 import S3
from drdeploy.terraform.resources.sagemaker import SAGEMAKER

if TYPE_CHECKING:
    from drdeploy.terraform.resources.base import Resource

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
