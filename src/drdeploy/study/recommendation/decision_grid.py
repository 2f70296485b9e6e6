"""Simulate every option at several volumes of requests, for the web page of a decision.

On this page, a reader can change the monthly number of requests (the volume), the required latency
and the budget. A script on the page then chooses the best option again. The script checks the
latency and the budget, because this needs no new simulation. All other requirements are checked
here, before the page is written. Each volume needs its own simulation, so the grid holds only a few
volumes. The volume of the decision is always one of them.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isfinite
from typing import TYPE_CHECKING, Any

from drdeploy.study.recommendation.aws_latency_estimates import expect_configurations_on_aws
from drdeploy.study.recommendation.choice import SAME_SPEED_SHARE
from drdeploy.study.recommendation.configurations import collect_measured_configurations
from drdeploy.study.recommendation.decide import make_simulation_context
from drdeploy.study.recommendation.evaluated import describe_missed_requirements
from drdeploy.study.recommendation.options import Option, simulate_all_options
from drdeploy.study.recommendation.traffic import Arrivals, Traffic

if TYPE_CHECKING:
    from drdeploy.hosting.sagemaker import PriceSheet
    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.recommendation.requirements import DecisionInputs, Requirements

FACTORS = (0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)
"""The volumes of the grid as multiples of the decision's volume."""
MOST_REQUESTS = 3_000_000.0
"""The largest volume that is simulated for the grid, unless the decision's own volume is larger."""


@dataclass(frozen=True)
class GridOption:
    """The result of one option at one volume, not yet checked against latency and budget.

    Attributes:
        name: The name of the option, as in the decision.
        kind: The kind of hosting.
        usd: The cost of a month in USD, or None if a price is not known.
        p95_s: The 95th percentile of the latency; None if more than 5 % of the requests are
            refused.
        parts: How many things someone must operate for this option besides the endpoint, for
            example a schedule.
        why_not: Why the option cannot be chosen at all, even if it is fast and cheap enough. Empty
            if there is no such reason.
    """

    name: str
    kind: str
    usd: float | None
    p95_s: float | None
    parts: int
    why_not: str


@dataclass(frozen=True)
class DecisionGrid:
    """The results of all options at several volumes.

    Attributes:
        volumes: The volumes in requests a month, ascending.
        options: The options at each volume, the cheapest first.
        chosen_volume: The volume of the decision.
        required: The requirements of the decision.
    """

    volumes: tuple[float, ...]
    options: tuple[tuple[GridOption, ...], ...]
    chosen_volume: float
    required: Requirements

    def convert_to_json(self) -> dict[str, Any]:
        """Return the grid as plain values, which the page holds as JSON."""
        return {
            "volumes": list(self.volumes),
            "options": [[vars(one) for one in column] for column in self.options],
            "volume": self.chosen_volume,
            "p95_s": self.required.p95_s,
            "budget_usd": self.required.budget_usd,
            "same_cost_share": self.required.same_cost_share,
            "same_cost_usd": self.required.same_cost_usd,
            "same_speed_share": SAME_SPEED_SHARE,
        }


def simulate_decision_grid(
    measurements: Measurements, sheet: PriceSheet, inputs: DecisionInputs
) -> DecisionGrid:
    """Simulate every option at each volume of the grid.

    If the traffic is a trace, the grid holds only the volume of the trace.
    """
    # The requirements of the decision, except the two that the page checks itself.
    required = replace(inputs.required, p95_s=None, budget_usd=None)
    columns = {}
    configurations = expect_configurations_on_aws(
        collect_measured_configurations(measurements),
        inputs.transfer,
        inputs.assumptions.image_gb,
    )
    for traffic in list_grid_traffic(inputs.traffic):
        context = make_simulation_context(sheet, replace(inputs, traffic=traffic))
        options = [
            one
            for one in simulate_all_options(configurations, context)
            if one.differs_from_doing_nothing
        ]
        columns[traffic.requests_per_month] = tuple(
            _make_grid_option(one, required) for one in sorted(options, key=lambda one: one.usd)
        )
    volumes = tuple(sorted(columns))
    return DecisionGrid(
        volumes,
        tuple(columns[volume] for volume in volumes),
        inputs.traffic.requests_per_month,
        inputs.required,
    )


def list_grid_traffic(traffic: Traffic | Arrivals) -> list[Traffic | Arrivals]:
    """Return the traffic at each volume of the grid. A trace gives only one volume."""
    if isinstance(traffic, Arrivals):
        return [traffic]
    own = traffic.requests_per_month
    volumes = (own * factor for factor in FACTORS)
    return [
        replace(traffic, requests_per_month=volume)
        for volume in volumes
        if volume == own or 1 <= volume <= max(own, MOST_REQUESTS)
    ]


def _make_grid_option(option: Option, required: Requirements) -> GridOption:
    missed = list(describe_missed_requirements(option, required))
    if not option.is_deployable:
        missed.append(
            "it exists only in the simulation and cannot be deployed"
            if option.policy
            else "this project has no Terraform for it"
        )
    return GridOption(
        name=option.name,
        kind=option.kind,
        usd=option.usd if isfinite(option.usd) else None,
        p95_s=option.p95_s if isfinite(option.p95_s) else None,
        parts=len(option.operated_parts),
        why_not="; ".join(missed),
    )
