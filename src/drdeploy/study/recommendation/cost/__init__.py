"""What hosting costs: a pure function of measurements, traffic and a dated price sheet.

``inference``    the cost of one inference, by the 2023 study's definition
``usage``        what simulated traffic uses of an endpoint in a month
``bill``         the month's bill: every entry is a quantity times a dated price
``sensitivity``  how far each price may move before another option is the cheapest
"""

from drdeploy.study.recommendation.cost.inference import (
    MILLION,
    CostBasis,
    SecondPrice,
    cost_usd,
    second_price,
)

__all__ = [
    "MILLION",
    "CostBasis",
    "SecondPrice",
    "cost_usd",
    "second_price",
]
