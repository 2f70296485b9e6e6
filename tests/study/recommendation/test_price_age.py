"""A decision says how old its prices are, and warns of those that are older than a year."""

from datetime import date

import pytest

from drdeploy.hosting.sagemaker import Price
from drdeploy.study.recommendation.price_age import (
    compute_age_in_days,
    write_price_age_sentence,
    write_warning_about_old_prices,
)

TODAY = date(2026, 11, 28)


def price(day, item="an hour"):
    return Price(item, 1.0, "hour", "us-east-1", day, "test")


@pytest.mark.parametrize(
    ("day", "age"),
    [
        ("2026-11", "less than a month old"),
        ("2026-10-20", "1 month old"),
        ("2026-05", "7 months old"),
        ("2023-03", "3.7 years old"),
    ],
)
def test_the_age_of_the_oldest_price_is_named(day, age):
    assert write_price_age_sentence([price(day)], TODAY) == f"The prices are from {day}, {age}."


def test_of_several_prices_the_first_and_the_last_day_are_named():
    sentence = write_price_age_sentence([price("2026-09"), price("2026-05")], TODAY)
    assert sentence == "The prices are from 2026-05 to 2026-09; the oldest are 7 months old."


def test_a_price_that_is_older_than_a_year_is_warned_of_by_name():
    warning = write_warning_about_old_prices(
        [price("2025-10", "ml.m4.xlarge"), price("2026-09")], TODAY
    )
    assert warning.startswith("1 price is older than a year")
    assert "ml.m4.xlarge (2025-10)" in warning
    assert "drdeploy prices update" in warning


def test_prices_of_the_last_year_get_no_warning():
    assert not write_warning_about_old_prices([price("2025-11-28"), price("2026-09")], TODAY)


def test_a_month_counts_from_its_first_day():
    assert compute_age_in_days("2026-11", TODAY) == 27
    assert compute_age_in_days("2026-11-28", TODAY) == 0
