"""The ICDR scale."""

from drdeploy.grader.grading import ICDR_CLASSES, Grade


def test_moderate_and_worse_is_referable():
    assert [grade.is_referable for grade in Grade] == [False, False, True, True, True]


def test_severe_and_worse_threatens_vision():
    assert [grade.is_vision_threatening for grade in Grade] == [False, False, False, True, True]


def test_the_classes_are_in_the_order_of_the_grades():
    assert ICDR_CLASSES.index("Severe NPDR") == Grade.SEVERE
    assert len(ICDR_CLASSES) == len(Grade)
