"""A SageMaker-compatible service on one loopback port, for unmodified boto3 clients.

>>> with LocalService(port=0) as service:
...     client = boto3.client("sagemaker", endpoint_url=service.url)

How a request travels: ``http_server`` reads it and ``api.router`` finds out which AWS service it
is meant for.  SageMaker's own operations go to ``api.control_plane`` (models, endpoint
configurations, endpoints), after ``api.request_validation`` has checked them against botocore's
service model and ``constraints`` against the rules that the model cannot express.
``InvokeEndpoint`` goes to ``api.invocations``.  Images are pushed to and pulled from ``registry``.
S3, ECR, IAM, STS and CloudWatch are moto, in this same process, behind ``api.simulated_aws``.

How an endpoint lives: ``endpoints.lifecycle`` leads it through Creating, InService, Updating,
Failed and Deleting.  What it serves is an ``endpoints.deployment``: a pinned image, a pinned model
archive, and a pool of workers for each variant (``serverless_pool`` starts them on demand,
``real_time_pool`` keeps a fixed number).  A worker is a started instance that has answered
``GET /ping``.  The instance is the real model server, in a container (``instances.containers``) or
in a process (``instances.processes``) that a control group limits where the kernel allows it.

Network distance, AWS's placement of instances and the time AWS takes to pull an image are not
simulated.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drdeploy.hosting.local.options import ServiceOptions
    from drdeploy.hosting.local.service import LocalService

__all__ = ["LocalService", "ServiceOptions"]


def __getattr__(name: str) -> Any:
    # On first use: the service brings half of this package with it.
    modules = {"LocalService": "service", "ServiceOptions": "options"}
    if name in modules:
        return getattr(import_module(f"{__name__}.{modules[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
