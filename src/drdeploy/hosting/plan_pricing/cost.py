"""The cost of each resource of a plan, which may be monthly, by use, or unknown."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from drdeploy.hosting.sagemaker.terraform_types import ENDPOINT

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.hosting.plan_pricing.document import RemovedResource
    from drdeploy.hosting.sagemaker import Price

CostVerdict = Literal["priced", "partly priced", "free", "not known"]


@dataclass(frozen=True)
class MonthlyCost:
    """A cost that arises every month, whether or not anybody sends requests.

    Attributes:
        what: The item that is paid for, for example ``2 to 4 x ml.m5.xlarge (variant a)``.
        price: The price of a unit.
        lowest_quantity: The number of units in a month if scaling stays at its lower bound.
        highest_quantity: The number of units in a month if scaling stays at its upper bound.
    """

    what: str
    price: Price
    lowest_quantity: float
    highest_quantity: float

    @property
    def lowest_usd(self) -> float:
        """The cost of a month in USD if scaling stays at its lower bound."""
        return self.lowest_quantity * self.price.usd

    @property
    def highest_usd(self) -> float:
        """The cost of a month in USD if scaling stays at its upper bound."""
        return self.highest_quantity * self.price.usd


@dataclass(frozen=True)
class UsageCost:
    """A cost that depends on use.

    Attributes:
        what: The item that is paid for, for example ``work of a container with 2048 MB``.
        price: The price of a unit.
        quantity_per_request: The number of units that one request to the endpoint uses. None if
            this number depends on something other than the requests.
    """

    what: str
    price: Price
    quantity_per_request: float | None = None


@dataclass(frozen=True)
class ResourceCost:
    """The cost of one resource of a plan.

    Attributes:
        address: The resource's name in Terraform, with modules and keys.
        type: The resource's type.
        region: The region whose prices are used; empty for a free resource.
        monthly: The costs that arise every month.
        usage: The costs that depend on use.
        reason: Why the resource costs nothing; empty for a resource that is paid for.
        not_known: A sentence for each part of the cost that is not known.
    """

    address: str
    type: str
    region: str = ""
    monthly: tuple[MonthlyCost, ...] = ()
    usage: tuple[UsageCost, ...] = ()
    reason: str = ""
    not_known: tuple[str, ...] = ()

    @property
    def priced_or_free_or_unknown(self) -> CostVerdict:
        """Whether the cost is ``priced``, ``partly priced``, ``free`` or ``not known``."""
        if self.monthly or self.usage:
            return "partly priced" if self.not_known else "priced"
        return "not known" if self.not_known else "free"

    @property
    def request_usd(self) -> float | None:
        """The cost of one request in USD.

        None if the resource takes no requests.
        """
        parts = [
            one.quantity_per_request * one.price.usd
            for one in self.usage
            if one.quantity_per_request is not None
        ]
        return sum(parts) if parts else None


@dataclass(frozen=True)
class PlanCost:
    """The cost of a plan.

    Attributes:
        made_by: The version of Terraform or OpenTofu that made the plan.
        resources: The cost of every resource that exists after the plan is applied.
        removed: The resources that the plan deletes, or removes from Terraform's state without
            deleting them.
        warnings: Sentences about parts that the plan lacks, and about assumptions of the
            calculation.
    """

    made_by: str
    resources: tuple[ResourceCost, ...]
    removed: tuple[RemovedResource, ...]
    warnings: tuple[str, ...]

    @property
    def lowest_usd(self) -> float:
        """The cost in USD of a month without requests, if scaling stays at its lower bounds."""
        return sum(cost.lowest_usd for one in self.resources for cost in one.monthly)

    @property
    def highest_usd(self) -> float:
        """The cost in USD of a month without requests, if scaling stays at its upper bounds."""
        return sum(cost.highest_usd for one in self.resources for cost in one.monthly)

    @property
    def has_endpoint(self) -> bool:
        """Whether the plan has a SageMaker endpoint."""
        return any(one.type == ENDPOINT for one in self.resources)

    def list_prices(self) -> Iterator[Price]:
        """Yield the price of each item that is paid for."""
        for one in self.resources:
            yield from (cost.price for cost in one.monthly)
            yield from (cost.price for cost in one.usage)
