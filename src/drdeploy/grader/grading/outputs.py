"""Explain to the user why a model's outputs contradict its manifest."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

SUM_TOLERANCE = 1e-2
"""How far the sum of an 8-bit softmax may be from one: its outputs are multiples of 1/256."""

ONE_VALUE = (
    "The model answers with one value per image, not with one for each class",
    "Export a model that ends in a softmax over the classes; one value cannot become a class",
)
"""The message and the remedy for a model with one output per image: a regression, or a single
sigmoid."""

_SCORES = (
    (
        "The model's outputs are separate scores between 0 and 1 that do not sum to 1. Separate "
        "scores come from several sigmoids, or from the cumulative outputs of an ordinal model"
    ),
    (
        "Export a model that ends in a softmax over the classes. Or turn the scores into one "
        "probability for each class inside the model"
    ),
)


_PERCENTAGES = (
    "The model's outputs are percentages, not probabilities",
    "Divide the outputs by 100 inside the model",
)


def explain_wrong_class_count(outputs: int, classes: int) -> tuple[str, str]:
    """Return the message and the remedy if a model has more or fewer outputs than classes."""
    if outputs == classes - 1:
        return (
            (
                f"The model has {outputs} outputs, but the manifest names {classes} classes. An "
                "ordinal model (CORAL, CORN) has one output for each boundary between classes"
            ),
            (
                f"Turn the outputs into one probability for each of the {classes} classes inside "
                "the model. If the outputs are already classes, name them with --classes"
            ),
        )
    return (
        f"The model has {outputs} outputs, but the manifest names {classes} classes",
        (
            f"Name all {outputs} outputs with --classes, or export a model with one "
            f"probability for each of the {classes} classes"
        ),
    )


def are_probability_distributions(rows: NDArray[np.floating]) -> bool:
    """Whether each row of ``(n, classes)`` is a probability distribution."""
    sums = rows.sum(axis=1)
    return bool(np.all(np.abs(sums - 1.0) <= SUM_TOLERANCE) and rows.min() >= -SUM_TOLERANCE)


def _are_percentages(rows: NDArray[np.floating]) -> bool:
    return not are_probability_distributions(rows) and are_probability_distributions(rows / 100)


def explain_why_no_probabilities(rows: NDArray[np.floating]) -> tuple[str, str]:
    """Say why outputs of shape ``(n, classes)`` are not probabilities, and what to do about it."""
    if rows.min() >= -SUM_TOLERANCE and rows.max() <= 1 + SUM_TOLERANCE:
        return _SCORES
    if _are_percentages(rows):
        return _PERCENTAGES
    if rows.max() <= SUM_TOLERANCE and are_probability_distributions(np.exp(rows)):
        return (
            "The model's outputs are logarithms of probabilities",
            "Pack the model with `--output logits`, which gives the probabilities",
        )
    return (
        "The model's outputs are not probabilities",
        "If the model ends before its softmax, pack it with `--output logits`",
    )


def explain_why_no_logits(rows: NDArray[np.floating]) -> tuple[str, str] | None:
    """Say why outputs ``(n, classes)`` cannot be logits, and what to do; None if they can be.

    Outputs that are already probabilities must not be treated as logits. A second softmax would
    make them too similar: with five classes, even a probability of 1 would become 0.40.
    """
    if _are_percentages(rows):
        return _PERCENTAGES
    if rows.min() < 0 or rows.max() > 1:
        return None
    if are_probability_distributions(rows):
        return (
            "The model's outputs are probabilities already, not logits",
            "Pack the model with `--output probabilities`",
        )
    return _SCORES
