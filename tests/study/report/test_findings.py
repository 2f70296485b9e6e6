"""The sentences follow the rows."""

from dataclasses import replace

import pytest

from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.measurements.load import load
from drdeploy.study.measurements.scenarios import scenarios_of
from drdeploy.study.report.findings import findings_of
from drdeploy.study.report.summaries import summarise

TRIAL = "vgg19-fp32-lean-{}mb-warm"


@pytest.fixture
def verdict_of(results_of):
    """The one verdict on rows."""

    def verdict(rows):
        scenarios = scenarios_of(load(results_of(rows)))
        (found,) = findings_of([summarise(scenario, PriceSheet.load()) for scenario in scenarios])
        return found

    return verdict


def warm(rows, *sizes):
    return [row for row in rows if row.trial in {TRIAL.format(size) for size in sizes}]


def scaled(rows, factor):
    return [replace(row, total_latency_s=row.total_latency_s * factor) for row in rows]


def finding(verdict, question):
    return next(found for found in verdict.findings if found.question == question)


def test_the_winner_is_the_configuration_with_the_lowest_mean(quick_rows, verdict_of):
    verdict = verdict_of(warm(quick_rows, 1024, 2048))
    assert finding(verdict, "Fastest when warm").answer == "2048 MB"


def test_another_winner_follows_from_other_rows(quick_rows, verdict_of):
    slowed = scaled(warm(quick_rows, 2048), 5)
    verdict = verdict_of([*warm(quick_rows, 1024), *slowed])
    assert finding(verdict, "Fastest when warm").answer == "1024 MB"
    assert "No other configuration is faster." in verdict.sentences


def test_the_cheapest_need_not_be_the_fastest(quick_rows, verdict_of):
    verdict = verdict_of(warm(quick_rows, 1024, 3072))
    assert finding(verdict, "Cheapest when warm").answer == "1024 MB"
    assert finding(verdict, "Fastest when warm").answer == "3072 MB"
    assert "3072 MB answers in" in " ".join(verdict.sentences)


def test_a_tie_is_called_one(quick_rows, verdict_of):
    twin = [
        replace(row, memory_mb=1024, trial="twin", total_latency_s=row.total_latency_s * 1.001)
        for row in warm(quick_rows, 2048)
    ]
    verdict = verdict_of([*warm(quick_rows, 2048), *twin])
    assert finding(verdict, "Fastest when warm").runner_up.startswith("Not shown to differ from")


def test_a_runner_up_that_is_clearly_slower_is_given_with_interval_and_n(quick_rows, verdict_of):
    told = finding(verdict_of(warm(quick_rows, 1024, 2048)), "Fastest when warm").runner_up
    assert told.startswith("Next, 1024 MB: 1.8")
    assert " to " in told
    assert "n = 12 each" in told


def test_one_configuration_alone_is_compared_with_nothing(quick_rows, verdict_of):
    told = finding(verdict_of(warm(quick_rows, 1024)), "Fastest when warm").runner_up
    assert told == "Nothing else was measured to compare it with."


def test_a_model_whose_invocations_all_failed_has_no_winner(quick_rows, verdict_of):
    failed = [replace(row, outcome="unavailable") for row in warm(quick_rows, 1024)]
    verdict = verdict_of(failed)
    assert verdict.findings == ()
    assert "No invocation of vgg19 succeeded" in verdict.sentences[0]


def test_without_a_price_there_is_no_cheapest_but_still_a_fastest(quick_rows, verdict_of):
    unpriced = [replace(row, memory_mb=7168) for row in warm(quick_rows, 1024)]
    verdict = verdict_of(unpriced)
    assert [found.question for found in verdict.findings] == ["Fastest when warm"]


def test_serverless_and_instances_are_judged_apart(quick_rows, results_of):
    instance = [
        replace(
            row, endpoint_kind="realtime", memory_mb=None, instance_type="ml.m5.xlarge",
            scenario="real-time", trial="vgg19-m5",
        )
        for row in warm(quick_rows, 1024)
    ]  # fmt: skip
    scenarios = scenarios_of(load(results_of([*warm(quick_rows, 1024), *instance])))
    found = findings_of([summarise(scenario, PriceSheet.load()) for scenario in scenarios])
    assert [verdict.endpoint_kind for verdict in found] == ["realtime", "serverless"]
    assert "if it is never idle" in found[0].sentences[0]
