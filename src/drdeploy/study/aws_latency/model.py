"""Fit the model of AWS latency, with intervals, and validate it on series left out of the fit."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import numpy as np

from drdeploy.statistics.estimate import TAIL
from drdeploy.study.aws_latency.fit import (
    ENOUGH_OWN_SERIES,
    choose_series_to_fit,
    fit_coefficients,
    fit_image_pull_s_per_gb,
    list_cold_starts_with_larger_images,
    predict_aws_median_latency_s,
    resample_series,
)
from drdeploy.study.aws_latency.series import (
    COLD,
    INSTANCE,
    STACK_ROWS,
    STACK_STUDY,
    STUDY_DATE,
    WARM,
    pair_series_of_account,
    pair_series_of_study,
)
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.recommendation.aws_latency_estimates import (
    COLD_RATIO,
    INSTANCE_OVERHEAD,
    INSTANCE_RATIO,
    PLACEMENT,
    PULL,
    SERVERLESS_OVERHEAD,
    SERVERLESS_RATIO,
    Coefficient,
    LeftOutSeries,
    TransferModel,
    name_ratio_of_instance,
)
from drdeploy.study.recommendation.confidence import RESAMPLES
from drdeploy.study.recommendation.requirements import SEED

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from drdeploy.study.aws_latency.series import PairedSeries
    from drdeploy.study.measurements.load import Measurements


def fit_transfer_model(
    measurements: Measurements,
    *,
    image_gb: float,
    account: Measurements | None = None,
    stack: Measurements | None = None,
    seed: int = SEED,
) -> TransferModel | None:
    """Fit the model that estimates latency on AWS from rows of this machine.

    The result is None if all rows were measured on AWS, because there is then nothing to estimate.

    Args:
        measurements: The rows whose latency on AWS is to be estimated.
        image_gb: The compressed size of the container image of ``measurements`` in GB.
        account: Rows of the same software in the user's account, which ``study run --target aws``
            measured.
        stack: Rows of the study ``study-stack`` on the machine of the measurements. If None, the
            packaged rows are used, which may come from another machine.
        seed: The seed of the bootstrap.

    Raises:
        AnalysisError: The rows in ``account`` or ``stack`` cannot be paired.
    """
    if "local" not in set(measurements.frame["platform"]):
        return None
    packaged = stack is None
    stack = load_results_folder(STACK_ROWS) if stack is None else stack
    series = [*pair_series_of_study(stack)]
    if account is not None:
        series += pair_series_of_account(measurements, account, image_gb)
    notes = _write_limits_of_model(
        measurements, stack, packaged=packaged, has_account=account is not None
    )
    return fit_model_to_series(series, seed=seed, notes=tuple(notes))


def fit_model_to_series(
    series: Sequence[PairedSeries], *, seed: int = SEED, notes: tuple[str, ...] = ()
) -> TransferModel:
    """Fit the model to all series, and validate it.

    For the validation, each series is left out in turn: the model is fitted to the other series,
    and predicts the series that was left out.
    """
    rng = np.random.default_rng(seed)
    resampled = [one.summarise_resamples(rng, RESAMPLES) for one in series]
    pulls = [
        one.summarise_resamples(rng, RESAMPLES)
        for one in list_cold_starts_with_larger_images(series)
    ]
    values = _fit_all_coefficients(series)
    fits = [
        fit_coefficients(
            resample_series(resampled, at, rng),
            fit_image_pull_s_per_gb(resample_series(pulls, at, rng)),
        )
        for at in range(RESAMPLES)
    ]
    draws = {name: np.array([fit[name] for fit in fits]) for name in values}
    left_out = tuple(_predict_each_left_out_series(series))
    return TransferModel(
        values=values,
        draws=draws,
        errors={
            start: _draw_random_model_errors([one for one in left_out if one.start == start], rng)
            for start in ("warm", "cold")
        },
        coefficients=tuple(
            _describe_coefficient(name, values[name], draws[name], series) for name in values
        ),
        left_out=left_out,
        notes=notes,
    )


def _fit_all_coefficients(series: Sequence[PairedSeries]) -> dict[str, float]:
    pull = fit_image_pull_s_per_gb(
        [one.summarise() for one in list_cold_starts_with_larger_images(series)]
    )
    return fit_coefficients([one.summarise() for one in series], pull)


def _predict_each_left_out_series(series: Sequence[PairedSeries]) -> Iterator[LeftOutSeries]:
    for at, one in enumerate(series):
        summary = one.summarise()
        values = _fit_all_coefficients([*series[:at], *series[at + 1 :]])
        yield LeftOutSeries(
            name=one.name,
            start=one.start,
            here_s=summary.here_s,
            expected_s=predict_aws_median_latency_s(summary, values),
            aws_s=summary.aws_s,
        )


def _draw_random_model_errors(
    left_out: Sequence[LeftOutSeries], rng: np.random.Generator
) -> NDArray[np.float64]:
    """Draw random factors, each as large as the model's error for one left-out series.

    A factor of 1 stands for no error. About half of the factors are above 1, and the others below
    1.
    """
    sizes = np.array([abs(np.log(one.expected_s / one.aws_s)) for one in left_out])
    factors: NDArray[np.float64] = np.exp(
        rng.choice([-1.0, 1.0], RESAMPLES) * rng.choice(sizes, RESAMPLES)
    )
    return factors


def _find_unit_of_coefficient(name: str) -> str:
    if name == PULL:
        return "s/GB"
    return "1" if name.startswith("CPU ratio") else "s"


def _describe_coefficient(
    name: str, value: float, draws: NDArray[np.float64], series: Sequence[PairedSeries]
) -> Coefficient:
    low, high = np.quantile(draws, [TAIL, 1 - TAIL])
    date, source = _describe_source_of_rows(name, series)
    return Coefficient(
        name, value, float(low), float(high), _find_unit_of_coefficient(name), date, source
    )


def _describe_source_of_rows(name: str, series: Sequence[PairedSeries]) -> tuple[str, str]:
    """Return the dates and the sources of the rows on AWS to which a coefficient was fitted."""
    if name == PULL:
        return STUDY_DATE, "the 2023 study's rows and its tables 5.2 and 6.5"
    fitted = [one.summarise() for one in series if _is_coefficient_fitted_to_series(name, one)]
    used = [one.series for one in choose_series_to_fit(fitted)]
    counts = Counter(one.source for one in used)
    return (
        ", ".join(sorted({one.date for one in used})),
        " and ".join(f"{count} series of {source}" for source, count in counts.items()),
    )


def _is_coefficient_fitted_to_series(name: str, one: PairedSeries) -> bool:
    kinds = {
        **dict.fromkeys((PLACEMENT, COLD_RATIO), COLD),
        **dict.fromkeys((SERVERLESS_OVERHEAD, SERVERLESS_RATIO), WARM),
        **dict.fromkeys((INSTANCE_OVERHEAD, INSTANCE_RATIO), INSTANCE),
    }
    return one.cold_warm_or_instance == kinds.get(name) or name == name_ratio_of_instance(
        one.instance_type
    )


def _write_limits_of_model(
    measurements: Measurements, stack: Measurements, *, packaged: bool, has_account: bool
) -> Iterator[str]:
    ours, theirs = (_name_machine(one) for one in (measurements, stack))
    if packaged and ours != theirs:
        yield (
            f"The CPU ratios compare AWS with {theirs or 'a machine that is not known'}. Your "
            f"rows were measured on {ours or 'a machine that is not known'}. Run `drdeploy study "
            f"run {STACK_STUDY}` on your machine, and pass its results with --stack."
        )
    change = "Another runtime may have other CPU ratios, and AWS has changed since 2023."
    if has_account:
        yield (
            f"If your rows from AWS hold fewer than {ENOUGH_OWN_SERIES} series for a coefficient, "
            "it is fitted also to two TensorFlow networks, which the 2023 study measured in one "
            f"region. {change} The time to pull an image always comes from the 2023 study."
        )
    else:
        yield (
            "The model of AWS latency is fitted to two TensorFlow networks, which the 2023 study "
            f"measured in one region. {change} Measure on AWS before you promise a latency, and "
            "pass the rows with --account."
        )
    yield (
        "The 2023 study's instances have four vCPUs, but the local rows were measured with two. "
        "The CPU ratios include this difference. An instance type that was not measured on AWS "
        "gets the mean CPU ratio of the measured types."
    )


def _name_machine(measurements: Measurements) -> str:
    """Return the name of the machine's CPU and its number of cores; empty if they are not known."""
    machines = {
        f"{facts['cpu_model']} with {facts['cpu_count']} cores"
        for facts in measurements.environment.values()
        if facts.get("cpu_model") and facts.get("cpu_count")
    }
    return ", ".join(sorted(machines))
