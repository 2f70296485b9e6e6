"""Collect the measured configurations, each with the times that a simulation needs."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import msgspec
import numpy as np
import pandas as pd

from drdeploy.errors import AnalysisError
from drdeploy.grader.artifacts import OperatingPoint
from drdeploy.study.measurements.results import ENVIRONMENT_FILE
from drdeploy.study.measurements.scenarios import group_rows_into_scenarios
from drdeploy.study.recommendation.simulation.service import ServiceTimes, read_times_from_rows

if TYPE_CHECKING:
    from collections.abc import Mapping

    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.measurements.scenarios import Configuration, Scenario

TIME_COLUMNS = ["start", "total_latency_s", "container_latency_s", "model_setup_s"]


@dataclass(frozen=True, eq=False)
class MeasuredConfiguration:
    """A model on one endpoint configuration, with its measured times.

    Attributes:
        name: A name that no other configuration has, such as ``mobilenet fp32 lean, 1024 MB``. If
            several configurations differ only in the container image, the name contains the image.
        service: The measured times, or None if the configuration cannot be simulated.
        request_bytes: The mean size of the photographs that were sent, or None if it is not known.
        operating_points: The operating points of the artifact; empty if it has none.
        trials: The ids of the trials that the rows belong to.
        unusable: Why the configuration cannot be simulated; empty if it can.
        platform: Where the rows were measured: ``local``, ``aws``, or ``aws, local``.
    """

    name: str
    configuration: Configuration
    service: ServiceTimes | None
    request_bytes: float | None
    operating_points: tuple[OperatingPoint, ...]
    trials: tuple[str, ...]
    unusable: str = ""
    platform: str = ""

    @property
    def service_times(self) -> ServiceTimes:
        """The measured times of warm requests and of cold starts.

        Raises:
            AnalysisError: The configuration has no measured times.
        """
        if self.service is None:
            raise AnalysisError(
                f"The configuration {self.name} cannot be simulated: {self.unusable}"
            )
        return self.service

    @property
    def is_serverless(self) -> bool:
        """Whether the configuration is serverless and scales to zero."""
        return self.configuration.endpoint_kind == "serverless"


def collect_measured_configurations(
    measurements: Measurements,
) -> tuple[MeasuredConfiguration, ...]:
    """Group the rows by configuration.

    A configuration that cannot be simulated, for example because it has no warm rows, is included
    too, with the reason.

    Raises:
        AnalysisError: The operating points that were recorded for a trial are not valid.
    """
    groups: dict[Configuration, list[Scenario]] = defaultdict(list)
    for scenario in group_rows_into_scenarios(measurements):
        # The latencies of scenarios with a queue include waiting, which the simulation adds itself.
        if not scenario.has_queue:
            groups[scenario.configuration].append(scenario)
    points = _read_operating_points_by_trial(measurements)
    found = [
        _make_measured_configuration(configuration, scenarios, points)
        for configuration, scenarios in sorted(groups.items())
    ]
    # Several container images may have the same server profile, for example those of the 2023
    # study.
    counts = Counter(one.name for one in found)
    return tuple(
        replace(one, name=_name_configuration(one.configuration, with_image=True))
        if counts[one.name] > 1
        else one
        for one in found
    )


def _name_configuration(configuration: Configuration, *, with_image: bool = False) -> str:
    parts = [configuration.model, configuration.precision, configuration.profile]
    if with_image and configuration.image != configuration.profile:
        parts.append(configuration.image)
    return f"{' '.join(part for part in parts if part)}, {configuration.memory_or_instance_type}"


def _make_measured_configuration(
    configuration: Configuration,
    scenarios: list[Scenario],
    points: Mapping[str, tuple[OperatingPoint, ...]],
) -> MeasuredConfiguration:
    rows = pd.concat([scenario.rows for scenario in scenarios])
    warm, cold = (rows.loc[rows["start"] == start, TIME_COLUMNS] for start in ("warm", "cold"))
    payload = rows["payload_bytes"].dropna()
    trials = tuple(sorted({scenario.trial for scenario in scenarios}))
    unusable = _explain_why_unusable_for_decision(configuration, scenarios, len(warm), len(cold))
    service = None
    if not unusable:
        service = ServiceTimes(
            read_times_from_rows(warm), read_times_from_rows(cold) if len(cold) else None
        )
    return MeasuredConfiguration(
        name=_name_configuration(configuration),
        configuration=configuration,
        service=service,
        request_bytes=float(np.mean(payload)) if len(payload) else None,
        # All trials of a configuration host the same artifact.
        operating_points=next((points[trial] for trial in trials if points.get(trial)), ()),
        trials=trials,
        unusable=unusable,
        platform=", ".join(sorted(set(rows["platform"]))),
    )


def _explain_why_unusable_for_decision(
    configuration: Configuration, scenarios: list[Scenario], warm: int, cold: int
) -> str:
    left_out = sum(sum(scenario.left_out.values()) for scenario in scenarios)
    if not warm and not cold:
        return (
            f"none of its {left_out} rows counts: every request failed, was a warm-up, had no "
            "prediction, or was cold instead of warm (or the reverse)"
        )
    if not warm:
        return "no warm request was measured"
    if configuration.endpoint_kind == "serverless" and not cold:
        return "no cold start was measured, so the latency of a cold start is not known"
    return ""


def _read_operating_points_by_trial(
    measurements: Measurements,
) -> dict[str, tuple[OperatingPoint, ...]]:
    """Return the operating points of each trial's artifact, from the recorded facts of the runs.

    Raises:
        AnalysisError: An operating point lacks a field, or a field has a wrong type.
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
                    f"The operating points of the trial '{trial}' are not valid: {err}",
                    where=str(measurements.source.with_name(ENVIRONMENT_FILE)),
                    remedy="Run the study again, or remove the operating points from the file",
                ) from err
    return found
