"""How a classifier's answer is read."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from drdeploy.errors import PredictionFailed
from drdeploy.grader.grading import Grade, Prediction


def of(*values, **kwargs):
    return Prediction(np.array(values, dtype=np.float32), **kwargs)


def test_the_most_probable_class_is_the_grade():
    prediction = of(0.1, 0.1, 0.5, 0.2, 0.1)
    assert (prediction.grade, prediction.label) == (Grade.MODERATE, "Moderate NPDR")


def test_of_equal_classes_the_first_is_taken():
    assert of(0.1, 0.4, 0.4, 0.1, 0.0).index == 1


def test_another_classifier_has_a_label_but_no_grade():
    prediction = of(0.2, 0.7, 0.1, classes=("cat", "dog", "eye"))
    assert (prediction.label, prediction.grade) == ("dog", None)


def test_the_probability_of_being_referable_sums_the_worse_grades():
    prediction = of(0.1, 0.2, 0.3, 0.25, 0.15)
    assert prediction.probability_at_or_above(Grade.MODERATE) == pytest.approx(0.7)


def test_only_an_icdr_grader_can_refer():
    with pytest.raises(PredictionFailed, match="ICDR"):
        of(0.2, 0.8, classes=("cat", "dog")).probability_at_or_above(Grade.MILD)


def test_a_wrong_number_of_outputs_is_refused():
    with pytest.raises(PredictionFailed, match="5 classes"):
        of(0.5, 0.5)


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_what_is_no_number_is_refused(value):
    with pytest.raises(PredictionFailed, match="not a number"):
        of(value, 0.0, 0.0, 0.0, 0.0)


def test_logits_are_refused_with_the_remedy():
    with pytest.raises(PredictionFailed, match="logits"):
        of(3.0, -1.0, 0.5, 0.0, 2.0)


def test_an_8_bit_softmax_may_sum_to_a_little_more_than_one():
    assert of(0.5, 0.25, 0.25, 0.004, 0.0).index == 0


@given(st.lists(st.floats(0.01, 1.0), min_size=5, max_size=5))
def test_referable_and_not_referable_make_one(weights):
    values = np.array(weights) / np.sum(weights)
    prediction = Prediction(values.astype(np.float32))
    below = float(prediction.probabilities[: Grade.MODERATE].sum())
    above = prediction.probability_at_or_above(Grade.MODERATE)
    assert below + above == pytest.approx(1.0, abs=1e-5)


THRESHOLDS = (0.5, 0.4, 0.3, 0.2)


@pytest.mark.parametrize(
    ("probabilities", "grade"),
    [
        ((0.6, 0.2, 0.1, 0.1, 0.0), Grade.NO_DR),  # nothing reaches its threshold
        ((0.5, 0.2, 0.1, 0.1, 0.1), Grade.MILD),  # P(1 or worse) is exactly 0.5
        ((0.4, 0.19, 0.31, 0.1, 0.0), Grade.MODERATE),
        ((0.4, 0.3, 0.0, 0.3, 0.0), Grade.SEVERE),  # the highest that reaches its own
        ((0.7, 0.0, 0.0, 0.0, 0.3), Grade.PDR),
    ],
)
def test_thresholds_make_the_grade_the_highest_that_is_reached(probabilities, grade):
    values = np.array(probabilities, dtype=np.float64)
    prediction = Prediction(values, grade_thresholds=THRESHOLDS)
    assert prediction.grade == grade
    assert prediction.label == grade.label
