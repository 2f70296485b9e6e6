"""A figure is recomputed from the words beside it, and compared with its printed digits."""

import pytest

from drdeploy.study.published_study.printed_figures import PrintedFigure, ReproductionVerdict
from drdeploy.study.published_study.verdicts import reproduce_published_study

WARM = "w,Section 1,warm total latency speed-up,Net,1024 MB / 2048 MB"


def printed(text: str) -> PrintedFigure:
    return PrintedFigure("x", "Table 1", "q", "m", "c", text, "ratio")


@pytest.mark.parametrize(
    ("text", "value", "verdict"),
    [
        ("2.16", 2.1649, "reproduced"),  # truncated and rounded alike
        ("2.16", 2.1551, "reproduced"),  # rounded
        ("2.16", 2.1699, "reproduced"),  # truncated
        ("2.16", 2.1701, "close"),
        ("2.16", 2.1846, "differs"),
        ("2.3500", 2.35002, "reproduced"),
        ("2.3500", 2.3502, "close"),  # the trailing zeros were printed
        ("37", 37.9, "reproduced"),
        ("0.0000376", 3.7677e-05, "reproduced"),
        ("0.0000408", 4.0743e-05, "close"),
        ("1e-3", 0.0014, "reproduced"),
    ],
)
def test_rounding_and_truncation_to_the_printed_digits_are_both_reproduced(text, value, verdict):
    assert printed(text).classify_recomputed_value(value) == verdict


def test_a_figure_that_follows_from_the_rows_is_reproduced_with_its_interval(verdict_on):
    figure = verdict_on(f"{WARM},2.00,ratio")
    assert figure.verdict is ReproductionVerdict.REPRODUCED
    assert figure.estimate.low < 2.0 < figure.estimate.high
    assert (figure.estimate.n, figure.estimate.n_other) == (25, 25)
    assert figure.search is None


def test_swapped_sizes_are_found_as_the_reading_that_gives_the_number(verdict_on):
    figure = verdict_on(f"{WARM},2.5000,ratio")
    assert figure.verdict is ReproductionVerdict.DIFFERS
    assert figure.departure_percent == pytest.approx(-20)
    (reading, value), *_ = figure.search.matches
    assert reading.departures == ("3072 MB in place of 2048 MB (warm-up-Net-3gb)",)
    assert value == pytest.approx(2.5)
    assert figure.search.has_match_beyond_chance


def test_a_number_that_no_reading_gives_has_none(verdict_on):
    figure = verdict_on(f"{WARM},7.123456,ratio")
    assert figure.verdict is ReproductionVerdict.DIFFERS
    assert figure.search.matches == ()
    assert figure.search.tried > 100


def test_a_vague_number_has_readings_that_say_little(verdict_on):
    figure = verdict_on("s,Section 1,cost reduction 1024 MB to 2048 MB,Net,warm,2,percent",
                        "p,Table 1,serverless price per second,,1024 MB,0.00002,USD/s",
                        "q,Table 1,serverless price per second,,2048 MB,0.00004,USD/s")  # fmt: skip
    assert figure.verdict is ReproductionVerdict.DIFFERS
    assert not figure.search.has_match_beyond_chance


def test_a_cost_rests_on_the_printed_price(verdict_on):
    figure = verdict_on(
        "c,Table 1,mean cost per inference,Net,1024 MB,0.00008,USD",
        "p,Table 2,serverless price per second,,1024 MB,0.00002,USD/s",
    )
    assert figure.verdict is ReproductionVerdict.REPRODUCED
    assert figure.estimate.low < 8e-5 < figure.estimate.high


def test_without_its_price_a_cost_is_not_recomputable(verdict_on):
    figure = verdict_on("c,Table 1,mean cost per inference,Net,1024 MB,0.00008,USD")
    assert figure.verdict is ReproductionVerdict.NOT_RECOMPUTABLE
    assert "no price" in figure.definition.why_not


def test_arithmetic_on_prices_is_exact_and_has_no_interval(verdict_on):
    figure = verdict_on(
        "r,Section 1,price reduction,,m4 to m5,25.0,percent",
        "p,Table 1,price per hour,,ml.m4.xlarge,0.4,USD/h",
        "q,Table 1,price per hour,,ml.m5.xlarge,0.3,USD/h",
    )
    assert figure.verdict is ReproductionVerdict.REPRODUCED
    assert not figure.estimate.has_interval
    assert "exact" in figure.estimate.reason


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("x,T,warm total latency speed-up,Net,1024 MB / 4096 MB,2,ratio", "warm-up-Net-4gb"),
        ("x,T,warm total latency speed-up,Net,1024 MB,2,ratio", "names 1 memory sizes, not 2"),
        ("x,T,prediction time speed-up,Other,m4 / m5,2,ratio", "Other-m4, Other-m5 are missing"),
        ("x,T,mean ModelSetupTime,Net,1024 MB,2,s", "no rows of CloudWatch"),
        ("x,T,colour of the image,Net,,2,count", "has no definition of"),
        ("x,T,largest total latency speed-up between instances,Other,,2,ratio", "Other"),
        ("x,T,price reduction,,m4 to m5,2,percent", "not printed"),
    ],
)
def test_what_the_rows_do_not_allow_is_not_recomputable_and_says_why(verdict_on, line, reason):
    figure = verdict_on(line)
    assert figure.verdict is ReproductionVerdict.NOT_RECOMPUTABLE
    assert reason in figure.definition.why_not
    assert figure.value is None


def test_a_figure_whose_other_half_was_only_printed_is_checked_against_it(verdict_on):
    figure = verdict_on(
        "x,T,cold-start speed-up of all optimisations,Net,,2.5,ratio",
        "b,T,cold-start latency before optimisation,Net,,50.0,s",
    )
    assert figure.verdict is ReproductionVerdict.NOT_RECOMPUTABLE
    assert figure.check.value == pytest.approx(2.5)
    assert figure.check.verdict is ReproductionVerdict.REPRODUCED


def test_the_definition_does_not_look_at_the_number(made_up):
    figures = reproduce_published_study(made_up(f"{WARM},2.0,ratio", f"v{WARM},9.9,ratio")).figures
    assert figures[0].value == figures[1].value
