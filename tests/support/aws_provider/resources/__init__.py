"""The handlers of the resources: how each type is created, read, changed and deleted.

A handler calls the API through :class:`aws_provider.aws.Aws`, and takes and returns values by
Terraform's names.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aws_provider.resources.autoscaling import AUTOSCALING
from aws_provider.resources.ecr import ECR
from aws_provider.resources.iam import IAM
from aws_provider.resources.identity import DATA_SOURCES
from aws_provider.resources.kms import KMS
from aws_provider.resources.observability import OBSERVABILITY
from aws_provider.resources.s3 import S3
from aws_provider.resources.sagemaker import SAGEMAKER
from aws_provider.resources.scheduler import SCHEDULER

if TYPE_CHECKING:
    from aws_provider.resources.base import Resource

RESOURCES: dict[str, Resource] = {
    **AUTOSCALING,
    **ECR,
    **IAM,
    **KMS,
    **OBSERVABILITY,
    **S3,
    **SAGEMAKER,
    **SCHEDULER,
}
"""Handlers by the type of the resource."""

__all__ = ["DATA_SOURCES", "RESOURCES"]
