"""The types of endpoints' resources in Terraform's provider for AWS."""

from __future__ import annotations

MODEL = "aws_sagemaker_model"
ENDPOINT = "aws_sagemaker_endpoint"
ENDPOINT_CONFIGURATION = "aws_sagemaker_endpoint_configuration"
SCALING_TARGET = "aws_appautoscaling_target"
