"""Price a Terraform plan: the cost without requests, the cost of a request, and what is unknown.

1. ``document`` reads a :class:`PlanDocument` from the output of ``terraform show -json`` or ``tofu
   show -json``. It refuses any other file, and says why.

2. ``cost`` defines the results: :class:`ResourceCost`, :class:`MonthlyCost` and :class:`UsageCost`.

3. ``endpoints`` prices an endpoint, from its configuration and its scaling.

4. ``resources`` prices every other resource, by its type.

5. ``pricing`` prices a whole plan with :func:`price_plan`. Each resource has a price, costs
   nothing, or has an unknown cost.
"""

from __future__ import annotations

from drdeploy.hosting.plan_pricing.cost import PlanCost, ResourceCost
from drdeploy.hosting.plan_pricing.document import PlanDocument, read_plan_document
from drdeploy.hosting.plan_pricing.pricing import RequestAssumptions, price_plan

__all__ = [
    "PlanCost",
    "PlanDocument",
    "RequestAssumptions",
    "ResourceCost",
    "price_plan",
    "read_plan_document",
]
