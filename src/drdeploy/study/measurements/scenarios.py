"""Group rows by trial and kind of start: each group answers one question."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.hosting.images import IMAGE_NAMES

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from numpy.typing import NDArray

    from drdeploy.study.measurements.load import Measurements

UNLIMITED_ISOLATION = "process"
"""A process without a cgroup: memory and CPU of its configuration are not enforced."""


@dataclass(frozen=True, order=True)
class Configuration:
    """A model in an image on an endpoint.

    Attributes:
        memory_mb: Memory of a serverless endpoint; 0 for an instance.
        instance_type: Instance type of a real-time endpoint; empty for a serverless one.
        image: Short name of the container image, ``lean``; the profile where no row has one.
    """

    model: str
    profile: str
    precision: str
    endpoint_kind: str
    memory_mb: int
    instance_type: str
    image: str = ""

    @property
    def size(self) -> str:
        """``1024 MB`` or ``ml.m5.xlarge``."""
        return self.instance_type or f"{self.memory_mb} MB"


@dataclass(frozen=True, eq=False)
class Scenario:
    """The rows of one trial with one kind of start: a line of the report.

    Attributes:
        trial: The trial's name in the study.
        name: ``warm``, ``cold``, ``real-time`` or ``open-loop``.
        start: ``warm``, ``cold``, or empty where no row says.
        rows: The rows that count.
        left_out: Rows of the trial that do not count, per reason.
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
    def n(self) -> int:
        """The number of rows that count."""
        return len(self.rows)

    @property
    def is_limited(self) -> bool:
        """Whether the memory and CPU of the configuration were enforced."""
        return self.isolation != UNLIMITED_ISOLATION

    def seconds(self, quantity: str) -> NDArray[np.float64]:
        """Return the values of a column, without the rows that lack it."""
        return self.rows[quantity].dropna().to_numpy(dtype=np.float64)


def scenarios_of(measurements: Measurements) -> tuple[Scenario, ...]:
    """Group rows by trial and kind of start, in a stable order.

    A trial whose rows all failed gives a scenario without rows: it is reported, not dropped.
    """

    def position(scenario: Scenario) -> tuple[object, ...]:
        warm_first = {"warm": 0, "cold": 1}.get(scenario.start, 2)
        one = scenario.configuration
        return one.model, warm_first, image_position(one.image), one, scenario.name

    found = []
    for trial, rows in measurements.frame.groupby("trial", sort=True):
        starts = rows.loc[rows["left_out"] == "", "start"].unique()
        expected = "cold" if rows["scenario"].iloc[0] == "cold" else "warm"
        kinds = sorted(map(str, starts)) or [expected]
        found += [_scenario(str(trial), rows, start) for start in kinds]
    return tuple(sorted(found, key=position))


def _scenario(trial: str, rows: pd.DataFrame, start: str) -> Scenario:
    counted = rows[(rows["left_out"] == "") & (rows["start"] == start)]
    dropped = rows.loc[rows["left_out"] != "", "left_out"]
    vcpu = rows["vcpu"].dropna()
    return Scenario(
        trial=trial,
        configuration=_configuration(rows),
        name=_known_value(rows, "scenario"),
        start=start,
        platform=", ".join(sorted(rows["platform"].unique())),
        isolation=", ".join(sorted(rows["isolation"].unique())),
        weights=_known_value(rows, "weights"),
        vcpu=float(vcpu.iloc[0]) if len(vcpu) else None,
        rows=counted,
        left_out=dict(Counter(dropped).most_common()),
    )


def _configuration(rows: pd.DataFrame) -> Configuration:
    memory_mb = rows["memory_mb"].dropna()
    profile = _known_value(rows, "profile")
    # ``lean`` for ``drdeploy:lean`` in any registry; other names stay as they are.
    name = _known_value(rows, "image").rpartition("/")[2].removeprefix("drdeploy:")
    return Configuration(
        model=_known_value(rows, "model"),
        profile=profile,
        precision=_known_value(rows, "precision"),
        endpoint_kind=_known_value(rows, "endpoint_kind"),
        memory_mb=int(memory_mb.iloc[0]) if len(memory_mb) else 0,
        instance_type=_known_value(rows, "instance_type"),
        image=name or profile,
    )


def _known_value(rows: pd.DataFrame, name: str) -> str:
    """Return a column's one value in a trial; a failed row may have left it empty."""
    values = rows.loc[rows[name] != "", name]
    return str(values.iloc[0]) if len(values) else ""


def image_position(image: str) -> tuple[int, str]:
    """Return a sort key: the ladder's images in its order, others after them by name."""
    ladder = [str(name) for name in IMAGE_NAMES]
    return ladder.index(image) if image in ladder else len(ladder), image
