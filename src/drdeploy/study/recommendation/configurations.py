"""The configurations that were measured, each with the times that a simulation needs."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pandas as pd

from drdeploy.errors import AnalysisError
from drdeploy.grader.artifacts import OperatingPoint
from drdeploy.study.measurements.results import ENVIRONMENT_FILE
from drdeploy.study.measurements.scenarios import scenarios_of
from drdeploy.study.recommendation.simulation.service import ServiceTimes, times_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.measurements.scenarios import Configuration, Scenario

OPEN_LOOP = "open-loop"
TIME_COLUMNS = ["start", "total_latency_s", "container_latency_s", "model_setup_s"]


@dataclass(frozen=True, eq=False)
class MeasuredConfiguration:
    """A model on one endpoint configuration, with the times that were measured of it.

    Attributes:
        name: Distinct, for example ``mobilenet fp32 lean, 1024 MB``.
        service: Measured times; None where ``unusable`` says why there are none.
        request_bytes: Mean size of the photographs that were sent; None where rows do not say.
        operating_points: The artifact's; empty where the results hold no clinical figures.
        trials: Names of the trials that the rows belong to.
    """

    name: str
    configuration: Configuration
    service: ServiceTimes | None
    request_bytes: float | None
    operating_points: tuple[OperatingPoint, ...]
    trials: tuple[str, ...]
    unusable: str = ""

    @property
    def times(self) -> ServiceTimes:
        """The measured times.

        Raises:
            AnalysisError: There are none.
        """
        if self.service is None:
            raise AnalysisError(f"{self.name} cannot be simulated: {self.unusable}")
        return self.service

    @property
    def is_serverless(self) -> bool:
        """Whether it scales to zero."""
        return self.configuration.endpoint_kind == "serverless"


def measured_configurations(measurements: Measurements) -> tuple[MeasuredConfiguration, ...]:
    """Group the rows by configuration.

    A configuration whose trials failed, or that lacks warm or cold rows, is among them and says
    why it is unusable.
    """
    groups: dict[Configuration, list[Scenario]] = defaultdict(list)
    for scenario in scenarios_of(measurements):
        # Rows of an open loop hold time that a request waited, which the simulation adds itself.
        if scenario.name != OPEN_LOOP:
            groups[scenario.configuration].append(scenario)
    points = _operating_points(measurements)
    return tuple(
        _measured(configuration, scenarios, points)
        for configuration, scenarios in sorted(groups.items())
    )


def _measured(
    configuration: Configuration,
    scenarios: list[Scenario],
    points: Mapping[str, tuple[OperatingPoint, ...]],
) -> MeasuredConfiguration:
    rows = pd.concat([scenario.rows for scenario in scenarios])
    warm, cold = (rows.loc[rows["start"] == start, TIME_COLUMNS] for start in ("warm", "cold"))
    payload = rows["payload_bytes"].dropna()
    trials = tuple(sorted({scenario.trial for scenario in scenarios}))
    unusable = _unusable(configuration, scenarios, len(warm), len(cold))
    service = None
    if not unusable:
        service = ServiceTimes(times_of(warm), times_of(cold) if len(cold) else None)
    parts = (configuration.model, configuration.precision, configuration.profile)
    return MeasuredConfiguration(
        name=f"{' '.join(part for part in parts if part)}, {configuration.size}",
        configuration=configuration,
        service=service,
        request_bytes=float(np.mean(payload)) if len(payload) else None,
        # All trials of a configuration host the same artifact.
        operating_points=next((points[trial] for trial in trials if points.get(trial)), ()),
        trials=trials,
        unusable=unusable,
    )


def _unusable(configuration: Configuration, scenarios: list[Scenario], warm: int, cold: int) -> str:
    left_out = sum(sum(scenario.left_out.values()) for scenario in scenarios)
    if not warm and not cold:
        return f"none of its {left_out} rows counts: every request failed or began the wrong way"
    if not warm:
        return "no warm request was measured"
    if configuration.endpoint_kind == "serverless" and not cold:
        return "no cold start was measured, so its latency with cold starts is not known"
    return ""


def _operating_points(measurements: Measurements) -> dict[str, tuple[OperatingPoint, ...]]:
    """The artifact's operating points of each trial, from the facts that a run wrote down.

    Raises:
        AnalysisError: A point lacks a field or has a wrong one.
    """
    found: dict[str, tuple[OperatingPoint, ...]] = {}
    for facts in measurements.environment.values():
        trials = facts.get("trials")
        for trial, artifact in (trials if isinstance(trials, dict) else {}).items():
            points = artifact.get("operating_points") if isinstance(artifact, dict) else None
            try:
                found[str(trial)] = msgspec.convert(points or (), tuple[OperatingPoint, ...])
            except msgspec.ValidationError as err:
                raise AnalysisError(
                    f"The operating points of trial {trial} make no sense: {err}",
                    where=str(measurements.source.with_name(ENVIRONMENT_FILE)),
                    remedy="Measure again, or remove them from the file",
                ) from err
    return found
