"""The interface through which the scaler reads and scales the variants of endpoints."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drdeploy.hosting.local.endpoints.deployment import Variant
    from drdeploy.hosting.local.endpoints.lifecycle import LocalEndpoint


@dataclass(frozen=True)
class EndpointVariant:
    """A variant of an endpoint whose capacity can be set.

    Attributes:
        endpoint: The endpoint.
        variant: The variant in service.
    """

    endpoint: LocalEndpoint
    variant: Variant

    @property
    def is_in_service(self) -> bool:
        """Whether the endpoint is in service, so that it accepts a change of its capacity."""
        return self.endpoint.status == "InService"

    @property
    def _is_serverless(self) -> bool:
        return "ServerlessConfig" in self.variant.request

    @property
    def capacity(self) -> int:
        """The desired number of instances, or the desired provisioned concurrency."""
        if self._is_serverless:
            return int(self.variant.request["ServerlessConfig"].get("ProvisionedConcurrency", 0))
        return int(self.variant.request["InitialInstanceCount"])

    @property
    def name_of_capacity_unit(self) -> str:
        """What the capacity counts, in AWS's words, for example ``desired instance count``."""
        return "provisioned concurrency" if self._is_serverless else "desired instance count"

    def set_capacity(self, capacity: int) -> None:
        """Set the capacity.

        Raises:
            ApiError: The endpoint refuses the capacity.
        """
        change = (
            {"ServerlessUpdateConfig": {"ProvisionedConcurrency": capacity}}
            if self._is_serverless
            else {"DesiredInstanceCount": capacity}
        )
        self.endpoint.change_capacity([{"VariantName": self.variant.name, **change}])

    def has_capacity(self) -> bool:
        """Return whether as many instances are running as :meth:`set_capacity` last asked for."""
        return self.variant.pool.has_enough_workers()
