"""SageMaker hosting: endpoint configurations, limits, prices, and a client.

A study of hosting costs and latencies uses the modules in this order:

1. ``api_limits``: SageMaker's limits on endpoints, for example the permitted sizes of memory.
2. ``configs``: :class:`ServerlessConfig`, :class:`RealTimeConfig`, :class:`AsynchronousConfig`,
   :class:`BatchConfig` and :class:`EndpointDefinition`.  A configuration that SageMaker would
   refuse cannot be constructed.
3. ``instance_types``: the vCPUs and the memory of each instance type.
4. ``price_sheet``: the dated prices of a region; ``price_offer_files`` and ``price_list_api``
   download today's prices from AWS. An unknown price is an error; there are no default prices.
5. ``client``: :class:`Hosting` creates an endpoint, waits for it, invokes it, reads its metrics and
   deletes it.  The class works with AWS and with the local service (:mod:`drdeploy.hosting.local`);
   only ``endpoint_url`` differs.
6. ``asynchronous``: :class:`AsynchronousClient` sends a request to an asynchronous endpoint, and
   waits for its result in S3.
7. ``batch``: :class:`BatchTransform` runs a Batch Transform job, on AWS or locally.

The modules of this package are imported only when one of their names is first used. They import
pydantic and boto3, which takes about half a second, and most commands need neither.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drdeploy.hosting.sagemaker.api_limits import DEFAULT_REGION
    from drdeploy.hosting.sagemaker.asynchronous import (
        AsynchronousClient,
        QueuedInvocation,
        RefusedRequest,
    )
    from drdeploy.hosting.sagemaker.aws_errors import NoSuchResource, translate_aws_errors
    from drdeploy.hosting.sagemaker.batch import (
        BatchJob,
        BatchTransform,
        EndedTransformJob,
        make_job_name,
    )
    from drdeploy.hosting.sagemaker.client import Datapoint, Hosting, MetricName
    from drdeploy.hosting.sagemaker.clock import Clock
    from drdeploy.hosting.sagemaker.cloudwatch import DATAPOINTS_MAX
    from drdeploy.hosting.sagemaker.configs import (
        LOCAL_ROLE_ARN,
        AnyHostingConfig,
        AsynchronousConfig,
        BatchConfig,
        DeployableConfig,
        EndpointDefinition,
        HostingConfig,
        RealTimeConfig,
        ServerlessConfig,
        hosting_config,
    )
    from drdeploy.hosting.sagemaker.connection import (
        LOCAL_KEY_PREFIX,
        Clients,
        choose_local_credentials,
        find_endpoint_url,
        find_hosting_url,
        is_loopback_url,
        make_boto3_client,
        make_hosting_clients,
    )
    from drdeploy.hosting.sagemaker.instance_types import CpuArchitecture, find_instance_resources
    from drdeploy.hosting.sagemaker.invocation import Invocation, InvocationOutcome
    from drdeploy.hosting.sagemaker.price_sheet import Price, PriceSheet

__all__ = [
    "DATAPOINTS_MAX",
    "DEFAULT_REGION",
    "LOCAL_KEY_PREFIX",
    "LOCAL_ROLE_ARN",
    "AnyHostingConfig",
    "AsynchronousClient",
    "AsynchronousConfig",
    "BatchConfig",
    "BatchJob",
    "BatchTransform",
    "Clients",
    "Clock",
    "CpuArchitecture",
    "Datapoint",
    "DeployableConfig",
    "EndedTransformJob",
    "EndpointDefinition",
    "Hosting",
    "HostingConfig",
    "Invocation",
    "InvocationOutcome",
    "MetricName",
    "NoSuchResource",
    "Price",
    "PriceSheet",
    "QueuedInvocation",
    "RealTimeConfig",
    "RefusedRequest",
    "ServerlessConfig",
    "choose_local_credentials",
    "find_endpoint_url",
    "find_hosting_url",
    "find_instance_resources",
    "hosting_config",
    "is_loopback_url",
    "make_boto3_client",
    "make_hosting_clients",
    "make_job_name",
    "translate_aws_errors",
]

_MODULES = {
    "asynchronous": ("AsynchronousClient", "QueuedInvocation", "RefusedRequest"),
    "batch": ("BatchJob", "BatchTransform", "EndedTransformJob", "make_job_name"),
    "aws_errors": ("NoSuchResource", "translate_aws_errors"),
    "client": ("Datapoint", "Hosting", "MetricName"),
    "clock": ("Clock",),
    "cloudwatch": ("DATAPOINTS_MAX",),
    "configs": (
        *("LOCAL_ROLE_ARN", "EndpointDefinition"),
        *("AnyHostingConfig", "AsynchronousConfig", "BatchConfig"),
        *("DeployableConfig", "HostingConfig", "hosting_config"),
        *("RealTimeConfig", "ServerlessConfig"),
    ),
    "connection": (
        *("LOCAL_KEY_PREFIX", "Clients", "make_boto3_client", "make_hosting_clients"),
        *("find_endpoint_url", "find_hosting_url", "is_loopback_url", "choose_local_credentials"),
    ),
    "instance_types": ("CpuArchitecture", "find_instance_resources"),
    "invocation": ("Invocation", "InvocationOutcome"),
    "price_sheet": ("Price", "PriceSheet"),
    "api_limits": ("DEFAULT_REGION",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
