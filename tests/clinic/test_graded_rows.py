"""A container may answer as it likes; its answer becomes a row."""

import json

import pytest

from drdeploy.clinic.graded_rows import make_row_of_answer

GRADE = {"predictions": [[0.1, 0.2, 0.7]], "grade": 2, "label": "Moderate NPDR", "gradable": True}


def test_an_answer_of_the_server_is_a_grade():
    row = make_row_of_answer("a.jpg", json.dumps(GRADE).encode())
    assert (row.grade, row.label, row.probabilities) == (2, "Moderate NPDR", (0.1, 0.2, 0.7))
    assert not row.error


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[1]", b"[" * 100_000, b'{"predictions": 3}', b'{"predictions": [3]}',
        *(
            json.dumps(GRADE | wrong).encode()
            for wrong in (
                {"predictions": {"a": 1}}, {"predictions": [["a"]]}, {"grade": "2"},
                {"timing": 3}, {"label": ["x"]}, {"screening": {"a": 1}}, {"grade": 1e999},
                {"predictions": [[0.5] * 2000]}, {"note": 7}, {"gradable": "yes"},
            )
        ),
    ],
)  # fmt: skip
def test_any_other_answer_is_a_row_with_an_error(body):
    row = make_row_of_answer("a.jpg", body)
    assert "not a grade from a drdeploy container" in row.error
    assert row.probabilities == ()
