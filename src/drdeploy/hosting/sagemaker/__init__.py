"""SageMaker hosting as this project uses it: endpoint configurations, limits, prices, one client.

In the order that a study meets them:

1. ``quotas``: SageMaker's limits, read from botocore's own service model where it states them.
2. ``configs``: :class:`ServerlessConfig` and :class:`RealTimeConfig`.  A configuration that
   SageMaker would refuse cannot be constructed.
3. ``instance_types``: vCPU and memory of each instance type.
4. ``price_sheet``: dated prices of a region; ``price_list_api`` downloads today's from AWS.
   An unknown price is an error, never a default.
5. ``endpoint_definition`` and ``client``: :class:`Hosting` creates an endpoint, waits for it,
   invokes it, reads its metrics and deletes it.  It talks to AWS and to
   :mod:`drdeploy.hosting.local` alike; only ``endpoint_url`` differs.

The names below are imported when they are first used: importing pydantic and boto3 takes about
half a second, which a command that needs neither should not pay.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from drdeploy.hosting.sagemaker.aws_errors import NoSuchResource, translated_errors
    from drdeploy.hosting.sagemaker.client import Datapoint, Hosting, MetricName
    from drdeploy.hosting.sagemaker.clock import Clock
    from drdeploy.hosting.sagemaker.configs import (
        EndpointConfig,
        RealTimeConfig,
        ServerlessConfig,
        endpoint_config,
    )
    from drdeploy.hosting.sagemaker.connection import Clients, connect, connect_to, is_loopback
    from drdeploy.hosting.sagemaker.endpoint_definition import LOCAL_ROLE_ARN, EndpointDefinition
    from drdeploy.hosting.sagemaker.instance_types import Architecture, instance_resources
    from drdeploy.hosting.sagemaker.invocation import Invocation, InvocationOutcome
    from drdeploy.hosting.sagemaker.price_sheet import Price, PriceSheet
    from drdeploy.hosting.sagemaker.quotas import DEFAULT_REGION

__all__ = [
    "DEFAULT_REGION",
    "LOCAL_ROLE_ARN",
    "Architecture",
    "Clients",
    "Clock",
    "Datapoint",
    "EndpointConfig",
    "EndpointDefinition",
    "Hosting",
    "Invocation",
    "InvocationOutcome",
    "MetricName",
    "NoSuchResource",
    "Price",
    "PriceSheet",
    "RealTimeConfig",
    "ServerlessConfig",
    "connect",
    "connect_to",
    "endpoint_config",
    "instance_resources",
    "is_loopback",
    "translated_errors",
]

_MODULES = {
    "aws_errors": ("NoSuchResource", "translated_errors"),
    "client": ("Datapoint", "Hosting", "MetricName"),
    "clock": ("Clock",),
    "configs": ("EndpointConfig", "RealTimeConfig", "ServerlessConfig", "endpoint_config"),
    "connection": ("Clients", "connect", "connect_to", "is_loopback"),
    "endpoint_definition": ("LOCAL_ROLE_ARN", "EndpointDefinition"),
    "instance_types": ("Architecture", "instance_resources"),
    "invocation": ("Invocation", "InvocationOutcome"),
    "price_sheet": ("Price", "PriceSheet"),
    "quotas": ("DEFAULT_REGION",),
}


def __getattr__(name: str) -> Any:
    for module, names in _MODULES.items():
        if name in names:
            return getattr(import_module(f"{__name__}.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
