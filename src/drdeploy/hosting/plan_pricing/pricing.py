"""Price a whole plan. The result has an entry for every resource of the plan."""

from __future__ import annotations

from typing import TYPE_CHECKING

from drdeploy.hosting.plan_pricing.cost import PlanCost, ResourceCost
from drdeploy.hosting.plan_pricing.endpoints import RequestAssumptions, price_endpoint
from drdeploy.hosting.plan_pricing.resources import PlanPricer
from drdeploy.hosting.sagemaker import DEFAULT_REGION
from drdeploy.hosting.sagemaker.terraform_types import ENDPOINT

if TYPE_CHECKING:
    from drdeploy.hosting.plan_pricing.document import PlanDocument, PlannedResource
    from drdeploy.hosting.sagemaker import PriceSheet

__all__ = ["RequestAssumptions", "price_plan"]


def price_plan(
    plan: PlanDocument,
    sheet: PriceSheet,
    *,
    region: str | None = None,
    request: RequestAssumptions | None = None,
) -> PlanCost:
    """Return the cost of every resource that exists after a plan is applied.

    Args:
        plan: The plan.
        sheet: The price sheet, in which prices are looked up.
        region: The region of the resources for which the plan names no region. If it is not given,
            us-east-1 is assumed, with a warning.
        request: The assumed duration and size of one request.
    """
    request = request or RequestAssumptions()
    costs = [
        _price_resource(plan, one, sheet, one.region or region or DEFAULT_REGION, request)
        for one in plan.resources
    ]
    costs += [
        ResourceCost(address, "", not_known=("Terraform will plan it only in a later run",))
        for address in plan.deferred
    ]
    warnings = list(plan.warnings)
    has_unnamed_region = any(
        cost.region and not one.region for cost, one in zip(costs, plan.resources, strict=False)
    )
    if has_unnamed_region and region is None:
        warnings.append(
            f"The plan does not name the region of every resource. {DEFAULT_REGION} is assumed; "
            "choose another region with --region"
        )
    return PlanCost(plan.made_by, tuple(costs), plan.removed, tuple(warnings))


def _price_resource(
    plan: PlanDocument,
    resource: PlannedResource,
    sheet: PriceSheet,
    region: str,
    request: RequestAssumptions,
) -> ResourceCost:
    if resource.is_data_source:
        return PlanPricer.make_free_cost(resource, "it is only read")
    if resource.type == ENDPOINT:
        return price_endpoint(plan, resource, sheet, region, request)
    return PlanPricer(plan, sheet, region).price_resource(resource)
