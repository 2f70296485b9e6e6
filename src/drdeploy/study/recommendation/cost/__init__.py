"""What hosting costs: a pure function of measurements, traffic and a dated price sheet.

``inference``    what one inference costs, by the study's definition
``bill``         what a month costs: every line is a quantity times a dated price
``sensitivity``  how far each price may move before another option is cheaper
"""

from drdeploy.study.recommendation.cost.inference import (
    MILLION,
    CostBasis,
    EndpointKind,
    SecondPrice,
    cost_usd,
    second_price,
)

__all__ = [
    "MILLION",
    "CostBasis",
    "EndpointKind",
    "SecondPrice",
    "cost_usd",
    "second_price",
]
