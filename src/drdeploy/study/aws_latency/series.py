"""Pair rows that were measured on AWS with rows of the same software on this machine.

The rows of the 2023 study are paired with local rows of the same networks. For these local rows,
the networks ran in the 2023 study's smallest container image, which contains the server of that
study. The local rows come from the folder ``studies/study-stack-local``, or from the user's
machine. Rows of the user's account are paired with local rows of the same model, precision, server
profile and endpoint size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.errors import AnalysisError
from drdeploy.files import path_of_shipped_file
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.published_study.raw_rows import load_raw_rows_of_study
from drdeploy.study.recommendation.configurations import collect_measured_configurations

if TYPE_CHECKING:
    from collections.abc import Iterator

    from drdeploy.arrays import Floats
    from drdeploy.study.measurements.load import Measurements
    from drdeploy.study.recommendation.configurations import MeasuredConfiguration

STACK_STUDY = "study-stack"
"""The name of the study that measures the 2023 study's software on a local machine."""
STACK_ROWS = path_of_shipped_file("studies/study-stack-local")
STUDY_DATE = "2023"
STUDY_IMAGE_GB = 0.51723
"""The compressed size in GB of the container image with which the 2023 study measured its rows
(table 5.2, reduced dependencies)."""
STUDY_SOURCE, ACCOUNT_SOURCE = "rows of the 2023 study", "rows of your own account"


WARM, INSTANCE, COLD = KINDS = ("warm serverless", "instance", "cold")
"""The kinds of series of latencies; the model has separate coefficients for each kind."""


@dataclass(frozen=True, eq=False)
class PairedSeries:
    """A series of rows measured on AWS, with rows of the same software on this machine.

    Attributes:
        network: The name of the model.
        memory_mb: Memory of a serverless endpoint; 0 for an instance.
        instance_type: Instance type on AWS; empty for a serverless endpoint.
        start: ``warm`` or ``cold``.
        here_s: The times in the container on this machine. For a cold start, they include the start
            of the container.
        aws_container_s: The times in the container on AWS, which are not used for cold starts.
        aws_total_s: The latencies on AWS.
        image_gb: The compressed size of the container image.
        source: Where the rows on AWS come from.
        date: When the rows on AWS were measured.
    """

    network: str
    memory_mb: int
    instance_type: str
    start: str
    here_s: Floats
    aws_container_s: Floats
    aws_total_s: Floats
    image_gb: float
    source: str
    date: str

    @property
    def name(self) -> str:
        """The name of the series, for example ``MobileNet, 1024 MB, cold``."""
        size = self.instance_type or f"{self.memory_mb} MB"
        return ", ".join([self.network, size, *([] if self.instance_type else [self.start])])

    @property
    def cold_warm_or_instance(self) -> str:
        """The kind of the series: a cold start, a warm serverless request, or an instance."""
        if self.start == "cold":
            return COLD
        return INSTANCE if self.instance_type else WARM

    def summarise(self) -> SeriesSummary:
        """Return the medians and the mean of the series, to which the model is fitted."""
        return _summarise_rows(
            self, self.here_s[None], self.aws_container_s[None], self.aws_total_s[None]
        )[0]

    def summarise_resamples(self, rng: np.random.Generator, count: int) -> list[SeriesSummary]:
        """Return a summary for each bootstrap resample of the local rows and the AWS rows."""
        aws = rng.integers(0, self.aws_total_s.size, (count, self.aws_total_s.size))
        here = rng.integers(0, self.here_s.size, (count, self.here_s.size))
        return _summarise_rows(
            self, self.here_s[here], self.aws_container_s[aws], self.aws_total_s[aws]
        )


@dataclass(frozen=True)
class SeriesSummary:
    """The medians and the mean of a series, or of a resample of its rows.

    The model is fitted to these values.

    Attributes:
        here_s: The median time in the container on this machine.
        ratio: The median time in the container on AWS divided by ``here_s``.
        overhead_s: The median time that a request on AWS spends outside the container.
        aws_s: The median latency on AWS.
        mean_aws_s: The mean latency on AWS.
    """

    series: PairedSeries
    here_s: float
    ratio: float
    overhead_s: float
    aws_s: float
    mean_aws_s: float


def _summarise_rows(
    series: PairedSeries, here: Floats, container: Floats, total: Floats
) -> list[SeriesSummary]:
    """Summarise several samples of measurements; each row of the arrays is one sample."""
    here_s = np.median(here, axis=1)
    columns = (
        here_s,
        np.median(container, axis=1) / here_s,
        np.median(total - container, axis=1),
        np.median(total, axis=1),
        total.mean(axis=1),
    )
    return [SeriesSummary(series, *map(float, one)) for one in zip(*columns, strict=True)]


def pair_series_of_study(stack: Measurements | None = None) -> tuple[PairedSeries, ...]:
    """Return the 2023 study's twenty series, each paired with local rows of the same software.

    Args:
        stack: Local rows of the study ``study-stack``; None for the packaged rows.

    Raises:
        AnalysisError: The local rows lack a network of the study, or one of its memory sizes.
    """
    local = stack or load_results_folder(STACK_ROWS)
    here = {
        (_get_lowercase_model_name(one), one.configuration.memory_mb): one
        for one in collect_measured_configurations(local)
        if one.platform == "local" and one.service is not None
    }
    series: list[PairedSeries] = []
    for one in collect_measured_configurations(load_raw_rows_of_study()):
        # The local rows were not measured on the study's instance types. Rows of any local instance
        # are paired with the study's instances.
        found = here.get((_get_lowercase_model_name(one), one.configuration.memory_mb))
        if found is None:
            raise AnalysisError(
                f"There are no local measurements of {one.configuration.model} on "
                f"{one.configuration.memory_or_instance_type}",
                where=str(local.source),
                remedy=f"Measure the 2023 study's stack with `drdeploy study run {STACK_STUDY}`",
            )
        series += _pair_aws_rows_with_local_rows(
            one, found, STUDY_IMAGE_GB, STUDY_SOURCE, STUDY_DATE
        )
    return tuple(series)


def pair_series_of_account(
    local: Measurements, account: Measurements, image_gb: float
) -> tuple[PairedSeries, ...]:
    """Return the series of the user's account, each paired with local rows of the same software.

    Args:
        local: Rows of this machine.
        account: Rows that ``study run --target aws`` measured.
        image_gb: The compressed size of the container image.

    Raises:
        AnalysisError: The rows of the account were not measured on AWS, or no configuration was
            measured in both places.
    """
    if set(account.frame["platform"]) != {"aws"}:
        raise AnalysisError(
            "Some of the rows of --account were not measured on AWS",
            where=str(account.source),
            remedy="Give the results of `drdeploy study run STUDY --target aws`",
        )
    here = {_name_software_stack(one): one for one in collect_measured_configurations(local)}
    date = min(account.frame["started_at"].astype(str))[: len("2026-11")]
    series: list[PairedSeries] = []
    for one in collect_measured_configurations(account):
        found = here.get(_name_software_stack(one))
        if one.service is not None and found is not None and found.service is not None:
            series += _pair_aws_rows_with_local_rows(one, found, image_gb, ACCOUNT_SOURCE, date)
    if not series:
        raise AnalysisError(
            "No configuration was measured both here and in your own account",
            where=str(account.source),
            remedy="Run the same study here and with --target aws: model, precision, profile and "
            "size must be the same",
        )
    return tuple(series)


def _get_lowercase_model_name(one: MeasuredConfiguration) -> str:
    return one.configuration.model.lower()


def _name_software_stack(one: MeasuredConfiguration) -> tuple[object, ...]:
    # The names of the container images are not compared: on AWS, they hold the registry and a
    # digest.
    here = one.configuration
    return here.model, here.precision, here.profile, here.memory_mb, here.instance_type


def _pair_aws_rows_with_local_rows(
    aws: MeasuredConfiguration,
    here: MeasuredConfiguration,
    image_gb: float,
    source: str,
    date: str,
) -> Iterator[PairedSeries]:
    for start in ("warm", "cold"):
        there, local = getattr(aws.service_times, start), getattr(here.service_times, start)
        if there is None or local is None:
            continue
        yield PairedSeries(
            network=aws.configuration.model,
            memory_mb=aws.configuration.memory_mb,
            instance_type=aws.configuration.instance_type,
            start=start,
            here_s=local.busy_s,
            aws_container_s=there.busy_s,
            aws_total_s=there.total_s,
            image_gb=image_gb,
            source=source,
            date=date,
        )
