"""The sentences follow the rows."""

from dataclasses import replace

import pytest

from drdeploy.hosting.sagemaker import PriceSheet
from drdeploy.study.measurements.load import load_results_folder
from drdeploy.study.measurements.scenarios import group_rows_into_scenarios
from drdeploy.study.report.findings import write_findings_per_model
from drdeploy.study.report.summaries import summarise_scenario

TRIAL = "vgg19-fp32-lean-{}mb-warm"


@pytest.fixture
def finding_of(results_of):
    """The one finding on rows."""

    def model_finding(rows):
        scenarios = group_rows_into_scenarios(load_results_folder(results_of(rows)))
        (found,) = write_findings_per_model(
            [summarise_scenario(scenario, PriceSheet.load()) for scenario in scenarios]
        )
        return found

    return model_finding


def warm(rows, *sizes):
    return [row for row in rows if row.trial in {TRIAL.format(size) for size in sizes}]


def scaled(rows, factor):
    return [replace(row, total_latency_s=row.total_latency_s * factor) for row in rows]


def finding(model_finding, question):
    return next(found for found in model_finding.findings if found.question == question)


def test_the_winner_is_the_configuration_with_the_lowest_mean(quick_rows, finding_of):
    model_finding = finding_of(warm(quick_rows, 1024, 2048))
    assert finding(model_finding, "Fastest when warm").answer == "2048 MB"


def test_another_winner_follows_from_other_rows(quick_rows, finding_of):
    slowed = scaled(warm(quick_rows, 2048), 5)
    model_finding = finding_of([*warm(quick_rows, 1024), *slowed])
    assert finding(model_finding, "Fastest when warm").answer == "1024 MB"
    assert "No other configuration is faster." in model_finding.sentences


def test_the_cheapest_need_not_be_the_fastest(quick_rows, finding_of):
    model_finding = finding_of(warm(quick_rows, 1024, 3072))
    assert finding(model_finding, "Cheapest when warm").answer == "1024 MB"
    assert finding(model_finding, "Fastest when warm").answer == "3072 MB"
    assert "3072 MB answers in" in " ".join(model_finding.sentences)


def test_a_tie_is_called_one(quick_rows, finding_of):
    twin = [
        replace(row, memory_mb=1024, trial="twin", total_latency_s=row.total_latency_s * 1.001)
        for row in warm(quick_rows, 2048)
    ]
    model_finding = finding_of([*warm(quick_rows, 2048), *twin])
    assert finding(model_finding, "Fastest when warm").runner_up.startswith(
        "The measurements show no difference from"
    )


def test_a_runner_up_that_is_clearly_slower_is_given_with_interval_and_n(quick_rows, finding_of):
    sentence = finding(finding_of(warm(quick_rows, 1024, 2048)), "Fastest when warm").runner_up
    assert sentence.startswith("Next, 1024 MB: 1.8")
    assert " to " in sentence
    assert "n = 12 each" in sentence


def test_one_configuration_alone_is_compared_with_nothing(quick_rows, finding_of):
    sentence = finding(finding_of(warm(quick_rows, 1024)), "Fastest when warm").runner_up
    assert sentence == "No other configuration was measured."


def test_a_model_whose_invocations_all_failed_has_no_winner(quick_rows, finding_of):
    failed = [replace(row, outcome="unavailable") for row in warm(quick_rows, 1024)]
    model_finding = finding_of(failed)
    assert model_finding.findings == ()
    assert "No row of vgg19 counts" in model_finding.sentences[0]


def test_a_model_measured_only_in_an_open_loop_is_not_said_to_have_failed(quick_rows, finding_of):
    model_finding = finding_of(
        [replace(row, scenario="open-loop") for row in warm(quick_rows, 1024)]
    )
    assert model_finding.findings == ()
    assert model_finding.sentences == (
        (
            "vgg19 has no warm or cold rows outside an open loop, so its configurations are not "
            "ranked."
        ),
    )


def test_without_a_price_there_is_no_cheapest_but_still_a_fastest(quick_rows, finding_of):
    unpriced = [replace(row, memory_mb=7168) for row in warm(quick_rows, 1024)]
    model_finding = finding_of(unpriced)
    assert [found.question for found in model_finding.findings] == ["Fastest when warm"]


def test_serverless_and_real_time_endpoints_are_ranked_apart(quick_rows, results_of):
    instance = [
        replace(
            row, endpoint_kind="realtime", memory_mb=None, instance_type="ml.m5.xlarge",
            scenario="real-time", trial="vgg19-m5",
        )
        for row in warm(quick_rows, 1024)
    ]  # fmt: skip
    scenarios = group_rows_into_scenarios(
        load_results_folder(results_of([*warm(quick_rows, 1024), *instance]))
    )
    found = write_findings_per_model(
        [summarise_scenario(scenario, PriceSheet.load()) for scenario in scenarios]
    )
    assert [model_finding.endpoint_kind for model_finding in found] == ["realtime", "serverless"]
    assert "if the endpoint is never idle" in found[0].sentences[0]
