"""Fit and validate the model that estimates latency on AWS from latency on this machine.

- ``series`` pairs rows measured on AWS with rows of the same software on this machine.
- ``fit`` fits the coefficients, with intervals from a bootstrap.
- ``model`` fits the model that ``recommend`` uses. It validates the model on series that were left
  out of the fit.

:mod:`drdeploy.study.recommendation.aws_latency_estimates` applies the model.
"""
