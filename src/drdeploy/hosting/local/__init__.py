"""A SageMaker-compatible service on one loopback port, for unmodified boto3 clients.

>>> with LocalService(port=0) as service:
...     client = boto3.client("sagemaker", endpoint_url=service.url)

``http_server`` reads each request, and ``api.router`` finds out which AWS service the request is
for. SageMaker's operations on models, endpoints, inference components and transform jobs go to
``api.control_plane``. ``api.request_validation`` checks requests against botocore's service model,
and ``request_constraints`` checks rules that the service model cannot express. ``InvokeEndpoint``
goes to ``api.invocations``, and ``InvokeEndpointAsync`` to ``api.asynchronous_invocations`` and
from there to ``asynchronous_inference``. ``registry`` is the registry of container images.
``api.simulated_aws`` simulates other AWS services, such as S3, ECR, IAM, KMS, STS and CloudWatch.
It uses the library moto in the same process.

``endpoints.lifecycle`` moves an endpoint through its life cycle: Creating, InService, Updating,
Failed and Deleting. ``endpoints.deployment`` holds what an endpoint serves: a pinned image, a
pinned model archive, and a pool of workers for each variant. ``serverless_pool`` starts workers on
demand, and ``real_time_pool`` keeps a fixed number of workers. A worker is an instance that has
answered ``GET /ping``. An instance is the real model server, in a container
(``instances.containers``) or in a process (``instances.processes``). If the kernel allows it, a
control group limits the memory and CPU of the process.

Unless the service is shared, every program on this machine may use the service. If the service is
shared, only clients that sign their requests with the service's key may use it
(``api.signatures``). ``served_members`` refuses a request if one of its members would have no
effect here. If data capture is on, ``endpoints.data_capture`` stores requests and answers in S3.

The service does not simulate network distance, AWS's placement of instances, or the time that AWS
takes to pull an image.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drdeploy.hosting.local.options import ServiceOptions
    from drdeploy.hosting.local.service import LocalService, remove_stale_services

__all__ = ["LocalService", "ServiceOptions", "remove_stale_services"]


def __getattr__(name: str) -> Any:
    # The names are imported on first use, because the service imports half of this package.
    modules = {
        "LocalService": "service",
        "ServiceOptions": "options",
        "remove_stale_services": "service",
    }
    if name in modules:
        return getattr(import_module(f"{__name__}.{modules[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
