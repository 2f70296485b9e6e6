"""Price an endpoint of a plan, from its endpoint configuration and the scaling of its variants.

Source: the pricing page of SageMaker AI. An instance is billed by the hour. A serverless container
is billed for each second in which it works on a request. A provisioned container is billed for
every second, whether or not it works. A second of work in a provisioned container costs something
in addition, but less than in a container that is not provisioned. A shadow variant gets a copy of
the requests, and costs as much as a production variant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from drdeploy.errors import UnknownPrice
from drdeploy.files import parse_json
from drdeploy.hosting.plan_pricing.cost import MonthlyCost, ResourceCost, UsageCost
from drdeploy.hosting.plan_pricing.scaling import (
    ScalingBounds,
    find_scaling_bounds,
    read_count,
)
from drdeploy.hosting.sagemaker.scalable_dimensions import INSTANCES, PROVISIONED_CONCURRENCY
from drdeploy.hosting.sagemaker.terraform_types import ENDPOINT, ENDPOINT_CONFIGURATION
from drdeploy.units import GIB, HOURS_PER_MONTH, SECONDS_PER_MONTH

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from drdeploy.hosting.plan_pricing.document import PlanDocument, PlannedResource
    from drdeploy.hosting.sagemaker import Price, PriceSheet


@dataclass(frozen=True)
class RequestAssumptions:
    """The assumed duration and size of a request. A plan does not state them.

    Attributes:
        work_s: Seconds that a container works on a request.
        sent_bytes: The size of the photograph plus the size of the answer, in bytes.
    """

    work_s: float = 1.0
    sent_bytes: float = 310_000.0


def price_endpoint(
    plan: PlanDocument,
    endpoint: PlannedResource,
    sheet: PriceSheet,
    region: str,
    request: RequestAssumptions,
) -> ResourceCost:
    """Return the cost of an endpoint."""
    bill = _EndpointBill(plan, endpoint, sheet, region, request)
    configuration = find_endpoint_configuration(plan, endpoint)
    if configuration is None:
        bill.not_known.append(_describe_missing_configuration(endpoint))
    else:
        bill.add_configuration(configuration)
    return ResourceCost(
        endpoint.address,
        endpoint.type,
        region,
        tuple(bill.monthly),
        tuple(bill.usage),
        not_known=tuple(dict.fromkeys(bill.not_known)),
    )


def find_endpoint_configuration(
    plan: PlanDocument, endpoint: PlannedResource
) -> PlannedResource | None:
    """Return the endpoint configuration that an endpoint uses, or None if the plan does not say."""
    name = endpoint.values.get("endpoint_config_name")
    if isinstance(name, str) and name:
        named = [
            one
            for one in plan.list_resources_named(ENDPOINT_CONFIGURATION, name)
            if one.region == endpoint.region
        ]
        return named[0] if len(named) == 1 else None
    return plan.find_referenced_resource(endpoint, "endpoint_config_name", ENDPOINT_CONFIGURATION)


def list_endpoints_using_configuration(
    plan: PlanDocument, configuration: PlannedResource
) -> list[PlannedResource]:
    """Return the endpoints of the plan that use a configuration."""
    return _group_endpoints_by_configuration(plan).get(configuration.address, [])


@lru_cache(maxsize=1)
def _group_endpoints_by_configuration(plan: PlanDocument) -> dict[str, list[PlannedResource]]:
    found: dict[str, list[PlannedResource]] = {}
    for one in plan.resources:
        configuration = find_endpoint_configuration(plan, one) if one.type == ENDPOINT else None
        if configuration is not None:
            found.setdefault(configuration.address, []).append(one)
    return found


def _describe_missing_configuration(endpoint: PlannedResource) -> str:
    name = endpoint.values.get("endpoint_config_name")
    if name:
        return f"its configuration {name} is not in the plan"
    return "which configuration it uses is known only after the plan is applied"


@dataclass(frozen=True)
class _Variant:
    """A variant of an endpoint configuration, with the share of the requests that it gets."""

    configuration: PlannedResource
    path: tuple[str, int]
    values: Mapping[str, Any]
    is_shadow: bool
    share: float
    is_asynchronous: bool

    @property
    def name(self) -> str:
        return str(self.values.get("variant_name") or "")

    @property
    def label(self) -> str:
        name = self.name or str(self.path[1] + 1)
        return f"shadow variant {name}" if self.is_shadow else f"variant {name}"


@dataclass
class _EndpointBill:
    plan: PlanDocument
    endpoint: PlannedResource
    sheet: PriceSheet
    region: str
    request: RequestAssumptions
    monthly: list[MonthlyCost] = field(default_factory=list)
    usage: list[UsageCost] = field(default_factory=list)
    not_known: list[str] = field(default_factory=list)

    def add_configuration(self, configuration: PlannedResource) -> None:
        is_asynchronous = bool(configuration.list_blocks("async_inference_config"))
        production = configuration.list_blocks("production_variants")
        if not production:
            self.not_known.append(
                f"the variants of {configuration.address} are known only after the plan is applied"
            )
        total = sum(map(_read_weight_of_variant, production))
        for block in ("production_variants", "shadow_production_variants"):
            for at, values in enumerate(configuration.list_blocks(block)):
                # A shadow variant gets a copy of every request.
                is_shadow = block != "production_variants"
                share = (
                    1.0 if is_shadow else _read_weight_of_variant(values) / total if total else 0.0
                )
                variant = _Variant(
                    configuration, (block, at), values, is_shadow, share, is_asynchronous
                )
                self._price_variant(variant)
        if production:
            self._add_usage_cost(
                "data into and out of the endpoint",
                lambda: self.sheet.data_processed_gb(self.region),
                self.request.sent_bytes / GIB,
            )
        if any(
            one.get("enable_capture") for one in configuration.list_blocks("data_capture_config")
        ):
            self.not_known.append("the storage of the requests that it captures in S3")
        if is_asynchronous:
            self.not_known.append("the storage of its requests and answers in S3")

    def _price_variant(self, variant: _Variant) -> None:
        serverless = variant.values.get("serverless_config")
        if isinstance(serverless, list) and serverless and isinstance(serverless[0], dict):
            self._price_serverless_variant(variant, serverless[0])
        elif variant.configuration.is_unknown(*variant.path, "serverless_config"):
            self.not_known.append(
                f"{variant.label}: whether it is serverless is known only after the plan is applied"
            )
        else:
            self._price_instances_of_variant(variant)

    def _price_serverless_variant(self, variant: _Variant, serverless: Mapping[str, Any]) -> None:
        inside = ("serverless_config", 0)
        memory_mb = read_count(serverless.get("memory_size_in_mb"))
        if memory_mb is None:
            self._note_missing_value(variant, *inside, "memory_size_in_mb")
            return
        fixed = read_count(serverless.get("provisioned_concurrency"))
        if variant.configuration.is_unknown(*variant.path, *inside, "provisioned_concurrency"):
            self._note_missing_value(variant, *inside, "provisioned_concurrency")
        bounds = self._find_bounds_of_variant(variant, PROVISIONED_CONCURRENCY, fixed)
        work_s = self.request.work_s * variant.share
        container = f"container with {memory_mb} MB ({variant.label})"
        if bounds is None or not bounds.highest:
            self._add_usage_cost(
                f"work of a {container}",
                lambda: self.sheet.serverless_second(memory_mb, self.region),
                work_s,
            )
            return
        self._add_monthly_cost(
            f"{_format_instance_count(bounds)} x provisioned {container}",
            lambda: self.sheet.provisioned_held_second(memory_mb, self.region),
            bounds,
            SECONDS_PER_MONTH,
        )
        self._add_usage_cost(
            f"work of a provisioned {container}",
            lambda: self.sheet.provisioned_processing_second(memory_mb, self.region),
            work_s,
        )
        # If more requests arrive at once than are provisioned, the others run on demand. They have
        # a price, but are not part of the usual request.
        self._add_usage_cost(
            f"on-demand work of a {container}",
            lambda: self.sheet.serverless_second(memory_mb, self.region),
            None,
        )

    def _price_instances_of_variant(self, variant: _Variant) -> None:
        instance_type = variant.values.get("instance_type")
        if not isinstance(instance_type, str) or not instance_type:
            self._note_missing_value(variant, "instance_type")
            return
        bounds = self._find_instance_bounds(variant)
        if bounds is not None:
            if str(self.endpoint.values.get("name")) in _list_endpoints_that_close(self.plan):
                bounds = ScalingBounds(0, bounds.highest)
            is_asynchronous = variant.is_asynchronous
            hour = self.sheet.asynchronous_hour if is_asynchronous else self.sheet.instance_hour
            kind = "asynchronous " if is_asynchronous else ""
            self._add_monthly_cost(
                f"{_format_instance_count(bounds)} x {kind}{instance_type} ({variant.label})",
                lambda: hour(instance_type, self.region),
                bounds,
                HOURS_PER_MONTH,
            )
        accelerator = variant.values.get("accelerator_type")
        if accelerator:
            self.not_known.append(f"{variant.label}: the accelerator {accelerator}")
        volume_gb = variant.values.get("volume_size_in_gb")
        if volume_gb:
            self.not_known.append(f"{variant.label}: the volume of {volume_gb} GB of each instance")

    def _find_instance_bounds(self, variant: _Variant) -> ScalingBounds | None:
        count = read_count(variant.values.get("initial_instance_count"))
        if count is None and not variant.configuration.is_unknown(
            *variant.path, "initial_instance_count"
        ):
            count = 1  # SageMaker's default
        managed = variant.values.get("managed_instance_scaling")
        scaling = managed[0] if isinstance(managed, list) and managed else None
        block = "managed_instance_scaling"
        if isinstance(scaling, dict) and scaling.get("status") != "DISABLED":
            bounds = _read_managed_bounds(scaling, count)
            missing = block
            unknown = [
                name
                for name in ("min_instance_count", "max_instance_count")
                if variant.configuration.is_unknown(*variant.path, block, 0, name)
            ]
            for name in unknown:
                self._note_missing_value(variant, block, 0, name)
            if unknown:
                return None
        else:
            bounds = self._find_bounds_of_variant(variant, INSTANCES, count)
            missing = "initial_instance_count"
        if bounds is None:
            self._note_missing_value(variant, missing)
        return bounds

    def _find_bounds_of_variant(
        self, variant: _Variant, dimension: str, fixed: int | None
    ) -> ScalingBounds | None:
        found = find_scaling_bounds(self.plan, self.endpoint, variant.name, dimension)
        if isinstance(found, str):
            self.not_known.append(f"{variant.label}: {found}")
            return None
        if found is None and fixed is not None:
            return ScalingBounds(fixed, fixed)
        return found

    def _note_missing_value(self, variant: _Variant, *path: str | int) -> None:
        is_unknown = variant.configuration.is_unknown(*variant.path, *path)
        when = "is known only after the plan is applied" if is_unknown else "is missing"
        self.not_known.append(
            f"{variant.label}: {path[-1]} of {variant.configuration.address} {when}"
        )

    def _add_monthly_cost(
        self, what: str, look_up: Callable[[], Price], bounds: ScalingBounds, units: float
    ) -> None:
        try:
            price = look_up()
        except UnknownPrice as err:
            self.not_known.append(f"{what}: {err.what}")
            return
        self.monthly.append(MonthlyCost(what, price, bounds.lowest * units, bounds.highest * units))

    def _add_usage_cost(
        self, what: str, look_up: Callable[[], Price], per_request: float | None
    ) -> None:
        try:
            price = look_up()
        except UnknownPrice as err:
            self.not_known.append(f"{what}: {err.what}")
            return
        self.usage.append(UsageCost(what, price, per_request))


@lru_cache(maxsize=1)
def _list_endpoints_that_close(plan: PlanDocument) -> frozenset[str]:
    """Return the names of the endpoints that a schedule in the plan regularly deletes."""
    names = set()
    for one in plan.resources:
        targets = one.list_blocks("target") if one.type == "aws_scheduler_schedule" else []
        for target in targets:
            if str(target.get("arn")).endswith(":aws-sdk:sagemaker:deleteEndpoint"):
                names.add(_read_endpoint_name(target.get("input")))
    return frozenset(names - {""})


def _read_endpoint_name(request: object) -> str:
    try:
        document = parse_json(request) if isinstance(request, str) else None
    except ValueError:
        return ""
    return str(document.get("EndpointName") or "") if isinstance(document, dict) else ""


def _read_weight_of_variant(variant: Mapping[str, Any]) -> float:
    weight = variant.get("initial_variant_weight")
    if isinstance(weight, bool) or not isinstance(weight, int | float) or weight < 0:
        return 1.0  # the default of CreateEndpointConfig
    return float(weight)


def _read_managed_bounds(scaled: Mapping[str, Any], fixed: int | None) -> ScalingBounds | None:
    lowest = read_count(scaled.get("min_instance_count"))
    highest = read_count(scaled.get("max_instance_count"))
    if lowest is None:
        lowest = fixed
    if highest is None:
        highest = fixed
    return (
        None if lowest is None or highest is None else ScalingBounds(lowest, max(lowest, highest))
    )


def _format_instance_count(bounds: ScalingBounds) -> str:
    if bounds.lowest == bounds.highest:
        return str(bounds.lowest)
    return f"{bounds.lowest} to {bounds.highest}"
