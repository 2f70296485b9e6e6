"""What Application Auto Scaling can scale at SageMaker (API reference, ``ScalableDimension``)."""

from __future__ import annotations

INSTANCES = "sagemaker:variant:DesiredInstanceCount"
PROVISIONED_CONCURRENCY = "sagemaker:variant:DesiredProvisionedConcurrency"
COPIES = "sagemaker:inference-component:DesiredCopyCount"
DIMENSIONS = (INSTANCES, PROVISIONED_CONCURRENCY, COPIES)
