"""Group rows by trial and kind of start, and give each group a short, distinct name."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.hosting.images import IMAGE_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd
    from numpy.typing import NDArray

    from drdeploy.study.measurements.load import Measurements

UNLIMITED_ISOLATION = "process"
"""The isolation of a process without a cgroup: nothing enforces memory and CPU limits."""


@dataclass(frozen=True, order=True)
class Configuration:
    """A model in a container image on an endpoint.

    Attributes:
        memory_mb: Memory of a serverless endpoint; 0 for instances.
        instance_type: Type of the instances; empty for a serverless endpoint.
        image: Short name of the container image, for example ``lean``; the profile if the rows
            name no image.
    """

    model: str
    profile: str
    precision: str
    endpoint_kind: str
    memory_mb: int
    instance_type: str
    image: str = ""

    @property
    def memory_or_instance_type(self) -> str:
        """The memory or the instance type, for example ``1024 MB`` or ``ml.m5.xlarge``."""
        return self.instance_type or f"{self.memory_mb} MB"


@dataclass(frozen=True, eq=False)
class Scenario:
    """The rows of one trial with one kind of start; the report shows each scenario as one line.

    Attributes:
        trial: The id of the trial.
        name: The kind of scenario: ``warm``, ``cold``, ``real-time``, ``open-loop``,
            ``asynchronous`` or ``batch``.
        start: ``warm`` or ``cold``; empty if the kind of start is not known.
        rows: The rows that count.
        left_out: The number of rows of the trial that do not count, for each reason.
    """

    trial: str
    configuration: Configuration
    name: str
    start: str
    platform: str
    isolation: str
    weights: str
    vcpu: float | None
    rows: pd.DataFrame = field(repr=False)
    left_out: Mapping[str, int]

    @property
    def counted_row_count(self) -> int:
        """The number of rows from which the results of the scenario are computed."""
        return len(self.rows)

    @property
    def has_rows_of_transform_jobs(self) -> bool:
        """Whether each row is a transform job, and not a request."""
        return self.name == "batch"

    @property
    def has_queue_in_s3(self) -> bool:
        """Whether each row is an asynchronous request, whose latency ends in S3."""
        return self.name == "asynchronous"

    @property
    def has_queue(self) -> bool:
        """Whether the latencies include time in which a request waited for other requests."""
        return self.name in {"open-loop", "asynchronous", "batch"}

    @property
    def has_enforced_limits(self) -> bool:
        """Whether the container had the memory and CPU limits of the configuration."""
        return self.isolation != UNLIMITED_ISOLATION

    def known_values_of_column(self, quantity: str) -> NDArray[np.float64]:
        """Return the values of a column in the rows that count, without empty values."""
        return self.rows[quantity].dropna().to_numpy(dtype=np.float64)


def group_rows_into_scenarios(measurements: Measurements) -> tuple[Scenario, ...]:
    """Group the rows by trial and kind of start, in a stable order.

    If all rows of a trial failed, the trial becomes a scenario without rows.
    """

    def sort_key_of_scenario(scenario: Scenario) -> tuple[object, ...]:
        warm_first = {"warm": 0, "cold": 1}.get(scenario.start, 2)
        one = scenario.configuration
        return one.model, warm_first, image_sort_key(one.image), one, scenario.name

    found = []
    for trial, rows in measurements.frame.groupby("trial", sort=True):
        starts = rows.loc[rows["left_out"] == "", "start"].unique()
        expected = "cold" if rows["scenario"].iloc[0] == "cold" else "warm"
        kinds = sorted(map(str, starts)) or [expected]
        found += [_make_scenario_from_rows(str(trial), rows, start) for start in kinds]
    return tuple(sorted(found, key=sort_key_of_scenario))


def _make_scenario_from_rows(trial: str, rows: pd.DataFrame, start: str) -> Scenario:
    counted = rows[(rows["left_out"] == "") & (rows["start"] == start)]
    dropped = rows.loc[rows["left_out"] != "", "left_out"]
    vcpu = rows["vcpu"].dropna()
    return Scenario(
        trial=trial,
        configuration=_make_configuration_from_rows(rows),
        name=_find_only_known_value(rows, "scenario"),
        start=start,
        platform=", ".join(sorted(rows["platform"].unique())),
        isolation=", ".join(sorted(rows["isolation"].unique())),
        weights=_find_only_known_value(rows, "weights"),
        vcpu=float(vcpu.iloc[0]) if len(vcpu) else None,
        rows=counted,
        left_out=dict(Counter(dropped).most_common()),
    )


def _make_configuration_from_rows(rows: pd.DataFrame) -> Configuration:
    memory_mb = rows["memory_mb"].dropna()
    profile = _find_only_known_value(rows, "profile")
    # ``lean`` for ``drdeploy:lean`` in any registry; other names stay as they are.
    name = _find_only_known_value(rows, "image").rpartition("/")[2].removeprefix("drdeploy:")
    return Configuration(
        model=_find_only_known_value(rows, "model"),
        profile=profile,
        precision=_find_only_known_value(rows, "precision"),
        endpoint_kind=_find_only_known_value(rows, "endpoint_kind"),
        memory_mb=int(memory_mb.iloc[0]) if len(memory_mb) else 0,
        instance_type=_find_only_known_value(rows, "instance_type"),
        image=name or profile,
    )


def _find_only_known_value(rows: pd.DataFrame, name: str) -> str:
    """Return the only value that a column has in the rows of a trial; failed rows may lack it."""
    values = rows.loc[rows[name] != "", name]
    return str(values.iloc[0]) if len(values) else ""


def image_sort_key(image: str) -> tuple[int, str]:
    """Return a key that sorts the project's own container images first, and others by name."""
    ladder = [str(name) for name in IMAGE_NAMES]
    return ladder.index(image) if image in ladder else len(ladder), image


def label_configuration(configuration: Configuration, *, among: Iterable[Configuration]) -> str:
    """Return a short label of a configuration, which starts with its memory or instance type.

    The container image and the precision are part of the label only if the configurations in
    ``among`` differ in them. An example is ``2048 MB, lean``.
    """
    others = list(among)
    differing = [
        name
        for name in ("image", "precision")
        if len({getattr(other, name) for other in others}) > 1
    ]
    return ", ".join(
        [
            configuration.memory_or_instance_type,
            *(getattr(configuration, name) for name in differing),
        ]
    )


def label_scenarios(scenarios: Sequence[Scenario], *, among: Iterable[Configuration]) -> list[str]:
    """Return a label for each scenario: its configuration, and its kind if needed.

    The kind, for example ``warm``, is part of the label if several of the scenarios have the same
    configuration.
    """
    others = list(among)
    measured = [scenario.configuration for scenario in scenarios]
    return [
        label_configuration(scenario.configuration, among=others)
        + (f", {scenario.name}" if measured.count(scenario.configuration) > 1 else "")
        for scenario in scenarios
    ]
