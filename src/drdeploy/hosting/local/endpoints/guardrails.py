"""Read from ``DeploymentConfig`` how an endpoint is updated, and what undoes the update.

An update moves the traffic of an endpoint to new instances in steps (developer guide, "Blue/Green
Deployments" and "Rolling Deployments"). ``ALL_AT_ONCE`` has one step, ``CANARY`` has two, and
``LINEAR`` has as many as its step size requires. With these three, all new instances start before
the first step. In a rolling update, each step starts some new instances, and stops the same number
of old ones.

After each step, the CloudWatch alarms are watched for ``WaitIntervalInSeconds``. If one of them is
in the state ``ALARM``, the old instances are brought back ("Auto-Rollback Configuration and
Monitoring"). At the end of an update, the old instances are kept for ``TerminationWaitInSeconds``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from drdeploy.hosting.local.api_errors import make_validation_error
from drdeploy.hosting.local.request_constraints import is_serverless

if TYPE_CHECKING:
    from drdeploy.files import Json

DEFAULT_MAXIMUM_S = 14_400.0
"""The longest time in seconds that an update may take if ``MaximumExecutionTimeoutInSeconds`` is
not set (API reference, ``BlueGreenUpdatePolicy``).
"""
ROUTING = "DeploymentConfig.BlueGreenUpdatePolicy.TrafficRoutingConfiguration"
ROLLING = "DeploymentConfig.RollingUpdatePolicy"
SIZE_OF_TYPE = {"CANARY": ("CanarySize", 0.0), "LINEAR": ("LinearStepSize", 0.1)}
"""For each type of traffic routing, the member that sets the size of a step, and the smallest size
allowed, as a share of the instances (API reference, ``TrafficRoutingConfig``).
"""
LARGEST_STEP = 0.5
INSTANCES_MIN = 2
SMALLEST_BATCH = 0.05


@dataclass(frozen=True)
class Guardrails:
    """The steps of an update, and the alarms that undo it; by default, one step and no alarms.

    Attributes:
        steps: The share of the traffic that the new instances get after each step; the last share
            is 1.
        is_rolling: Whether the instances are replaced in the same steps in which the traffic moves.
        rollback_steps: The share of the old instances that is in service again after each step of a
            rollback; the last share is 1.
        bake_s: Seconds for which the alarms are watched after each step.
        termination_s: Seconds for which the old instances are kept after the update is done.
        maximum_s: The longest time in seconds that the whole update may take.
        alarms: The names of the alarms that bring the old instances back.
    """

    steps: tuple[float, ...] = (1.0,)
    is_rolling: bool = False
    rollback_steps: tuple[float, ...] = (1.0,)
    bake_s: float = 0.0
    termination_s: float = 0.0
    maximum_s: float = DEFAULT_MAXIMUM_S
    alarms: tuple[str, ...] = ()

    @property
    def bake_and_termination_s(self) -> float:
        """The sum of all waits of the update, in seconds: after each step, and at the end."""
        return len(self.steps) * self.bake_s + self.termination_s

    @classmethod
    def from_deployment_config(cls, config: Json | None, variants: list[Json]) -> Self:
        """Return the guardrails of a ``DeploymentConfig``.

        Args:
            config: The ``DeploymentConfig``, or None if the request has none.
            variants: The production variants of the endpoint configuration that is deployed.

        Raises:
            ApiError: Members of the ``DeploymentConfig`` contradict each other, or do not fit the
                variants.
        """
        if not config:
            return cls()
        if is_serverless({"ProductionVariants": variants}):
            raise make_validation_error(
                "DeploymentConfig does not apply to a serverless endpoint: deployment guardrails "
                "shift traffic between instances."
            )
        blue_green, rolling = config.get("BlueGreenUpdatePolicy"), config.get("RollingUpdatePolicy")
        if blue_green and rolling:
            raise make_validation_error(
                "DeploymentConfig has one update policy: BlueGreenUpdatePolicy and "
                "RollingUpdatePolicy are mutually exclusive."
            )
        policy = blue_green or rolling or {}
        routing = (blue_green or {}).get("TrafficRoutingConfiguration", {})
        batch = _read_batch_size(rolling, "MaximumBatchSize", variants) if rolling else 1.0
        undo = 1.0
        if rolling and "RollbackMaximumBatchSize" in rolling:
            undo = _read_batch_size(rolling, "RollbackMaximumBatchSize", variants)
        guardrails = cls(
            steps=_list_shares_after_each_step(batch)
            if rolling
            else _list_steps_of_routing(routing, variants),
            is_rolling=bool(rolling),
            rollback_steps=_list_shares_after_each_step(undo),
            bake_s=(rolling or routing).get("WaitIntervalInSeconds", 0),
            termination_s=policy.get("TerminationWaitInSeconds", 0),
            maximum_s=policy.get("MaximumExecutionTimeoutInSeconds", DEFAULT_MAXIMUM_S),
            alarms=list_rollback_alarms(config),
        )
        if guardrails.bake_and_termination_s >= guardrails.maximum_s:
            raise make_validation_error(
                f"MaximumExecutionTimeoutInSeconds ({guardrails.maximum_s:g}) must be larger than "
                "all waits of WaitIntervalInSeconds and TerminationWaitInSeconds together "
                f"({guardrails.bake_and_termination_s:g})."
            )
        return guardrails


def list_rollback_alarms(config: Json | None) -> tuple[str, ...]:
    """Return the names of the alarms in a ``DeploymentConfig``; no names for None."""
    alarms = (config or {}).get("AutoRollbackConfiguration", {}).get("Alarms", ())
    return tuple(alarm["AlarmName"] for alarm in alarms)


def _list_steps_of_routing(routing: Json, variants: list[Json]) -> tuple[float, ...]:
    kind = routing.get("Type", "ALL_AT_ONCE")
    for other, (member, _) in SIZE_OF_TYPE.items():
        if (member in routing) != (other == kind):
            must = "must be set" if other == kind else "must not be set"
            raise make_validation_error(f"{ROUTING}.{member} {must} if Type is {kind}.")
    if kind not in SIZE_OF_TYPE:
        return (1.0,)
    _refuse_variant_without_instances(f"{ROUTING}.Type {kind}", variants)
    member, smallest = SIZE_OF_TYPE[kind]
    share = _compute_share_of_instances(routing[member], variants)
    if not smallest <= share <= LARGEST_STEP:
        least = f"{smallest:.0%} to " if smallest else "at most "
        raise make_validation_error(
            f"{ROUTING}.{member} must be {least}{LARGEST_STEP:.0%} of a variant's instances, "
            f"but it is {share:.0%}."
        )
    if min(variant["InitialInstanceCount"] for variant in variants) < INSTANCES_MIN:
        raise make_validation_error(
            f"{ROUTING}.Type {kind} needs at least {INSTANCES_MIN} instances of each variant, "
            f"because {member} is at most {LARGEST_STEP:.0%} of them."
        )
    return (share, 1.0) if kind == "CANARY" else _list_shares_after_each_step(share)


def _read_batch_size(policy: Json, member: str, variants: list[Json]) -> float:
    if len(variants) > 1:
        raise make_validation_error(
            f"{ROLLING} does not apply to an endpoint with several production variants."
        )
    _refuse_variant_without_instances(ROLLING, variants)
    count = variants[0]["InitialInstanceCount"]
    # A batch is a whole number of instances, and at least one.
    batch = max(1, math.floor(_compute_share_of_instances(policy[member], variants) * count + 1e-9))
    share = float(batch / count)
    largest = LARGEST_STEP if member == "MaximumBatchSize" else 1.0
    if not SMALLEST_BATCH <= share <= largest:
        raise make_validation_error(
            f"{ROLLING}.{member} must be {SMALLEST_BATCH:.0%} to {largest:.0%} of the variant's "
            f"instances, but it is {share:.0%} of {count}."
        )
    return share


def _refuse_variant_without_instances(what: str, variants: list[Json]) -> None:
    """Refuse steps for a variant that has been scaled to 0 instances, and whose count is kept."""
    for variant in variants:
        if not variant["InitialInstanceCount"]:
            raise make_validation_error(
                f"{what} needs instances, and variant {variant['VariantName']} has none."
            )


def _compute_share_of_instances(size: Json, variants: list[Json]) -> float:
    """Convert a ``CapacitySize`` into a share of all instances, for example 0.5."""
    if size["Type"] == "CAPACITY_PERCENT":
        return float(size["Value"]) / 100
    count: int = sum(variant["InitialInstanceCount"] for variant in variants)
    return float(size["Value"] * len(variants) / count)


def _list_shares_after_each_step(share: float) -> tuple[float, ...]:
    # Because of rounding, the quotient of two shares, such as 0.3 / 0.1, may differ a little from
    # the whole number.
    number = math.ceil(1 / share - 1e-9)
    return (*(step * share for step in range(1, number)), 1.0)
