"""Rows that answer one question: one trial, one kind of start."""

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
    """What was hosted, and on what.

    Attributes:
        memory_mb: Of a serverless endpoint; 0 for an instance.
        instance_type: Of a real-time endpoint; empty for a serverless one.
        image: Short name of the container image, ``lean``; where no row tells it, the profile.
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
    """One line of the report.

    Attributes:
        trial: Its name in the study.
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
        """How many rows count."""
        return len(self.rows)

    @property
    def is_limited(self) -> bool:
        """Whether the memory and CPU of the configuration were enforced."""
        return self.isolation != UNLIMITED_ISOLATION

    def seconds(self, quantity: str) -> NDArray[np.float64]:
        """The measured values of a column, without the rows that lack it."""
        return self.rows[quantity].dropna().to_numpy(dtype=np.float64)


def scenarios_of(measurements: Measurements) -> tuple[Scenario, ...]:
    """Group rows by trial and kind of start, in a stable order.

    A trial whose rows all failed is a scenario with no rows: it is reported, not dropped.
    """
    found = [
        _scenario(str(trial), rows, start)
        for trial, rows in measurements.frame.groupby("trial", sort=True)
        for start in _starts(rows)
    ]
    return tuple(sorted(found, key=_order))


def _starts(rows: pd.DataFrame) -> list[str]:
    """The kinds of start that count; of a trial with failures only, the one it wanted."""
    counted = rows.loc[rows["left_out"] == "", "start"].unique()
    wanted = "cold" if rows["scenario"].iloc[0] == "cold" else "warm"
    return sorted(str(start) for start in counted) or [wanted]


def _scenario(trial: str, rows: pd.DataFrame, start: str) -> Scenario:
    counted = rows[(rows["left_out"] == "") & (rows["start"] == start)]
    dropped = rows.loc[rows["left_out"] != "", "left_out"]
    vcpu = rows["vcpu"].dropna()
    return Scenario(
        trial=trial,
        configuration=_configuration(rows),
        name=_told(rows, "scenario"),
        start=start,
        platform=", ".join(sorted(rows["platform"].unique())),
        isolation=", ".join(sorted(rows["isolation"].unique())),
        weights=_told(rows, "weights"),
        vcpu=float(vcpu.iloc[0]) if len(vcpu) else None,
        rows=counted,
        left_out=dict(Counter(dropped).most_common()),
    )


def _configuration(rows: pd.DataFrame) -> Configuration:
    memory_mb = rows["memory_mb"].dropna()
    profile = _told(rows, "profile")
    return Configuration(
        model=_told(rows, "model"),
        profile=profile,
        precision=_told(rows, "precision"),
        endpoint_kind=_told(rows, "endpoint_kind"),
        memory_mb=int(memory_mb.iloc[0]) if len(memory_mb) else 0,
        instance_type=_told(rows, "instance_type"),
        image=_short(_told(rows, "image")) or profile,
    )


def _short(image: str) -> str:
    """``lean`` for ``drdeploy:lean``, whatever registry it is in; another's name as it is."""
    name = image.rpartition("/")[2]
    return name.removeprefix("drdeploy:")


def _told(rows: pd.DataFrame, name: str) -> str:
    """The column's one value in the trial (a failure may have left it empty)."""
    values = rows.loc[rows[name] != "", name]
    return str(values.iloc[0]) if len(values) else ""


def image_position(image: str) -> tuple[int, str]:
    """The ladder's images in its order, others after them by name."""
    ladder = [str(name) for name in IMAGE_NAMES]
    return ladder.index(image) if image in ladder else len(ladder), image


def _order(scenario: Scenario) -> tuple[object, ...]:
    warm_first = {"warm": 0, "cold": 1}.get(scenario.start, 2)
    hosted = scenario.configuration
    return hosted.model, warm_first, image_position(hosted.image), hosted, scenario.name
