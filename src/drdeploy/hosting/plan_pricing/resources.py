"""Price resources of all types except endpoints.

This module lists the types that it can price. The cost of a resource of any other type is reported
as unknown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.errors import UnknownPrice
from drdeploy.hosting.plan_pricing.cost import MonthlyCost, ResourceCost, UsageCost
from drdeploy.hosting.plan_pricing.document import list_blocks_in
from drdeploy.hosting.plan_pricing.endpoints import (
    list_endpoints_using_configuration,
)
from drdeploy.hosting.plan_pricing.scaling import (
    SCHEDULED_ACTION,
    describe_unattached_scaling,
)
from drdeploy.hosting.sagemaker.scalable_dimensions import DIMENSIONS
from drdeploy.hosting.sagemaker.terraform_types import ENDPOINT_CONFIGURATION, MODEL, SCALING_TARGET
from drdeploy.units import HOURS_PER_MONTH

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from drdeploy.hosting.plan_pricing.document import PlanDocument, PlannedResource
    from drdeploy.hosting.sagemaker import Price, PriceSheet

HIGH_RESOLUTION_S = 60
"""An alarm whose period is shorter than this many seconds is a high-resolution alarm, which has its
own price.
"""

SETTINGS_ARE_FREE = "AWS charges nothing for it"
_FREE_OF_TERRAFORM = "it exists only in Terraform"

FREE: dict[str, str] = {
    MODEL: "AWS charges only for storing the model's archive and image",
    "aws_sagemaker_model_package_group": SETTINGS_ARE_FREE,
    "aws_kms_alias": SETTINGS_ARE_FREE,
    "aws_kms_grant": SETTINGS_ARE_FREE,
    "aws_kms_key_policy": SETTINGS_ARE_FREE,
    "aws_ecr_lifecycle_policy": SETTINGS_ARE_FREE,
    "aws_ecr_repository_policy": SETTINGS_ARE_FREE,
    "aws_ecr_registry_policy": SETTINGS_ARE_FREE,
    "aws_scheduler_schedule_group": SETTINGS_ARE_FREE,
    "aws_sns_topic_policy": SETTINGS_ARE_FREE,
    "aws_cloudwatch_log_resource_policy": SETTINGS_ARE_FREE,
    "aws_cloudwatch_log_stream": SETTINGS_ARE_FREE,
    "aws_budgets_budget": "a budget without actions is free",
    "aws_vpc": SETTINGS_ARE_FREE,
    "aws_subnet": SETTINGS_ARE_FREE,
    "aws_security_group": SETTINGS_ARE_FREE,
    "aws_security_group_rule": SETTINGS_ARE_FREE,
    "aws_vpc_security_group_ingress_rule": SETTINGS_ARE_FREE,
    "aws_vpc_security_group_egress_rule": SETTINGS_ARE_FREE,
    "aws_default_security_group": SETTINGS_ARE_FREE,
    "aws_route_table": SETTINGS_ARE_FREE,
    "aws_route_table_association": SETTINGS_ARE_FREE,
    "aws_route": SETTINGS_ARE_FREE,
    "aws_internet_gateway": SETTINGS_ARE_FREE,
    "aws_network_acl": SETTINGS_ARE_FREE,
    "null_resource": _FREE_OF_TERRAFORM,
    "terraform_data": _FREE_OF_TERRAFORM,
    "local_file": _FREE_OF_TERRAFORM,
    "local_sensitive_file": _FREE_OF_TERRAFORM,
}
FREE_PREFIXES: dict[str, str] = {
    "aws_iam_": "IAM is free",
    "random_": _FREE_OF_TERRAFORM,
    "time_": _FREE_OF_TERRAFORM,
    "tls_": _FREE_OF_TERRAFORM,
}
PAID_SETTINGS_OF_BUCKETS = frozenset(
    {
        "aws_s3_bucket_replication_configuration",
        "aws_s3_bucket_inventory",
        "aws_s3_bucket_analytics_configuration",
        "aws_s3_bucket_metadata_configuration",
        "aws_s3_bucket_metric",
    }
)
"""Settings of a bucket for which AWS charges in addition to the storage."""


@dataclass(frozen=True)
class PlanPricer:
    """Prices the resources of one region.

    Attributes:
        plan: The whole plan, in which related resources are looked up.
        sheet: The prices.
        region: The region of the resources.
    """

    plan: PlanDocument
    sheet: PriceSheet
    region: str

    def price_resource(self, resource: PlannedResource) -> ResourceCost:
        """Return the cost of a resource that is not an endpoint."""
        rule = _RULES.get(resource.type)
        if rule is not None:
            return rule(self, resource)
        reason = _find_free_reason(resource)
        if reason:
            return self.make_free_cost(resource, reason)
        return self.make_unknown_cost(resource, f"no price is known for the type {resource.type}")

    @staticmethod
    def make_free_cost(resource: PlannedResource, reason: str) -> ResourceCost:
        """Return a result which says that a resource is free, and why."""
        return ResourceCost(resource.address, resource.type, reason=reason)

    def make_unknown_cost(self, resource: PlannedResource, *sentences: str) -> ResourceCost:
        """Return a result which says that the cost of a resource is not known, and why."""
        return ResourceCost(resource.address, resource.type, self.region, not_known=sentences)

    def make_resource_cost(
        self,
        resource: PlannedResource,
        *,
        monthly: Iterable[tuple[str, Callable[[], Price], float]] = (),
        usage: Iterable[tuple[str, Callable[[], Price]]] = (),
        not_known: Iterable[str] = (),
    ) -> ResourceCost:
        """Return the cost of a resource from the items that are paid for.

        Args:
            resource: The resource.
            monthly: The items that cost the same every month. Each has a name, a function that
                looks up the price, and the quantity in a month.
            usage: The items whose cost depends on how much they are used. Each has a name, and a
                function that looks up the price.
            not_known: Sentences about the parts of the cost that are not known.
        """
        fixed, used, missing = [], [], list(not_known)
        for what, look_up, quantity in monthly:
            try:
                fixed.append(MonthlyCost(what, look_up(), quantity, quantity))
            except UnknownPrice as err:
                missing.append(f"{what}: {err.what}")
        for what, look_up in usage:
            try:
                used.append(UsageCost(what, look_up()))
            except UnknownPrice as err:
                missing.append(f"{what}: {err.what}")
        return ResourceCost(
            resource.address,
            resource.type,
            self.region,
            tuple(fixed),
            tuple(used),
            not_known=tuple(missing),
        )

    def make_price_lookup(self, item: str) -> Callable[[], Price]:
        """Return a function that looks up one price of an AWS service other than SageMaker."""
        return lambda: self.sheet.other_service(item, self.region)


def _find_free_reason(resource: PlannedResource) -> str:
    if resource.type in PAID_SETTINGS_OF_BUCKETS:
        return ""
    if resource.type.startswith("aws_s3_bucket_"):
        return "AWS charges for the objects in the bucket"
    for prefix, reason in FREE_PREFIXES.items():
        if resource.type.startswith(prefix):
            return reason
    return FREE.get(resource.type, "")


def _price_endpoint_configuration(pricer: PlanPricer, resource: PlannedResource) -> ResourceCost:
    if list_endpoints_using_configuration(pricer.plan, resource):
        return pricer.make_free_cost(resource, "AWS charges for the endpoint that uses it")
    return pricer.make_free_cost(resource, "no endpoint of the plan uses it")


def _price_scaling(pricer: PlanPricer, resource: PlannedResource) -> ResourceCost:
    dimension = resource.values.get("scalable_dimension")
    if dimension not in DIMENSIONS:
        return pricer.make_unknown_cost(
            resource, f"it scales {dimension}, which does not belong to SageMaker hosting"
        )
    problem = describe_unattached_scaling(pricer.plan, resource)
    if problem:
        return pricer.make_unknown_cost(resource, problem)
    return pricer.make_free_cost(resource, "its bounds determine the range of the endpoint's cost")


def _price_alarm(pricer: PlanPricer, resource: PlannedResource) -> ResourceCost:
    queries = resource.list_blocks("metric_query")
    named = [metric for one in queries for metric in list_blocks_in(one, "metric")]
    metrics = named or [resource.values]
    periods = [one.get("period") for one in metrics]
    is_fast = any(isinstance(one, int | float) and one < HIGH_RESOLUTION_S for one in periods)
    # AWS charges for the metric, and for the two limits of the band that anomaly detection expects.
    count = 3 if resource.values.get("threshold_metric_id") else len(metrics)
    item = "high-resolution alarm metric" if is_fast else "alarm metric"
    return pricer.make_resource_cost(
        resource, monthly=[(f"{count} x {item}", pricer.make_price_lookup(item), count)]
    )


def _price_scaling_policy(pricer: PlanPricer, resource: PlannedResource) -> ResourceCost:
    if resource.values.get("policy_type") != "TargetTrackingScaling":
        return pricer.make_free_cost(resource, "AWS charges for the resource that it scales")
    count, item = 1, "alarm metric"
    for settings in resource.list_blocks("target_tracking_scaling_policy_configuration"):
        for metric in list_blocks_in(settings, "predefined_metric_specification"):
            if str(metric.get("predefined_metric_type")).endswith("HighResolution"):
                item = "high-resolution alarm metric"
        for metric in list_blocks_in(settings, "customized_metric_specification"):
            queries = list_blocks_in(metric, "metrics")
            count = max(sum(bool(one.get("metric_stat")) for one in queries), 1)
    # Target tracking makes one alarm to scale out and one to scale in.
    return pricer.make_resource_cost(
        resource, monthly=[(f"{2 * count} x {item}", pricer.make_price_lookup(item), 2 * count)]
    )


def _price_schedule(pricer: PlanPricer, resource: PlannedResource) -> ResourceCost:
    return pricer.make_resource_cost(
        resource,
        usage=[("calls of the schedule", pricer.make_price_lookup("scheduled call"))],
        not_known=["the service that it calls charges for the calls"],
    )


def _price_interface_endpoint(pricer: PlanPricer, resource: PlannedResource) -> ResourceCost:
    kind = resource.values.get("vpc_endpoint_type") or "Gateway"
    if kind == "Gateway":
        return pricer.make_free_cost(resource, "a gateway endpoint is free")
    if kind != "Interface":
        return pricer.make_unknown_cost(resource, f"no price is known for a {kind} endpoint")
    subnets = resource.values.get("subnet_ids")
    if not isinstance(subnets, list):
        return pricer.make_unknown_cost(
            resource, "the number of its subnets is known only after the plan is applied"
        )
    hours = len(subnets) * HOURS_PER_MONTH
    return pricer.make_resource_cost(
        resource,
        monthly=[
            (f"{len(subnets)} x interface", pricer.make_price_lookup("interface endpoint"), hours)
        ],
        usage=[("data through the endpoint", pricer.make_price_lookup("interface endpoint data"))],
    )


def _price_subscription(pricer: PlanPricer, resource: PlannedResource) -> ResourceCost:
    protocol = str(resource.values.get("protocol"))
    items = {
        "email": "SNS e-mail",
        "email-json": "SNS e-mail",
        "http": "SNS delivery over HTTP",
        "https": "SNS delivery over HTTP",
    }
    if protocol in {"sqs", "lambda"}:
        return pricer.make_free_cost(resource, f"SNS delivers to {protocol} without charge")
    if protocol not in items:
        return pricer.make_unknown_cost(
            resource, f"no price is known for notifications by {protocol}"
        )
    return pricer.make_resource_cost(
        resource, usage=[("notifications", pricer.make_price_lookup(items[protocol]))]
    )


_RULES: dict[str, Callable[[PlanPricer, PlannedResource], ResourceCost]] = {
    ENDPOINT_CONFIGURATION: _price_endpoint_configuration,
    SCALING_TARGET: _price_scaling,
    SCHEDULED_ACTION: _price_scaling,
    "aws_appautoscaling_policy": _price_scaling_policy,
    "aws_cloudwatch_metric_alarm": _price_alarm,
    "aws_scheduler_schedule": _price_schedule,
    "aws_vpc_endpoint": _price_interface_endpoint,
    "aws_sns_topic_subscription": _price_subscription,
    "aws_ecr_repository": lambda pricer, one: pricer.make_resource_cost(
        one, usage=[("stored images", lambda: pricer.sheet.registry_gb_month(pricer.region))]
    ),
    "aws_s3_bucket": lambda pricer, one: pricer.make_resource_cost(
        one,
        usage=[
            ("stored objects", lambda: pricer.sheet.bucket_gb_month(pricer.region)),
            ("writes", pricer.make_price_lookup("S3 write request")),
            ("reads", pricer.make_price_lookup("S3 read request")),
        ],
    ),
    "aws_cloudwatch_dashboard": lambda pricer, one: pricer.make_resource_cost(
        one, monthly=[("dashboard", pricer.make_price_lookup("dashboard"), 1)]
    ),
    "aws_cloudwatch_composite_alarm": lambda pricer, one: pricer.make_resource_cost(
        one, monthly=[("composite alarm", pricer.make_price_lookup("composite alarm"), 1)]
    ),
    "aws_cloudwatch_log_group": lambda pricer, one: pricer.make_resource_cost(
        one,
        usage=[
            ("log lines taken in", pricer.make_price_lookup("log ingestion")),
            ("stored log lines", pricer.make_price_lookup("log storage")),
        ],
    ),
    "aws_kms_key": lambda pricer, one: pricer.make_resource_cost(
        one,
        monthly=[("key", pricer.make_price_lookup("KMS key"), 1)],
        usage=[("requests to the key", pricer.make_price_lookup("KMS request"))],
    ),
    "aws_sns_topic": lambda pricer, one: pricer.make_resource_cost(
        one, usage=[("publications", pricer.make_price_lookup("SNS publication"))]
    ),
    "aws_nat_gateway": lambda pricer, one: pricer.make_resource_cost(
        one,
        monthly=[("NAT gateway", pricer.make_price_lookup("NAT gateway"), HOURS_PER_MONTH)],
        usage=[("data through the gateway", pricer.make_price_lookup("NAT gateway data"))],
    ),
}
