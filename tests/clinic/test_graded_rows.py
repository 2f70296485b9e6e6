"""A container may answer as it likes; its answer becomes a row."""

import json
import os

import pytest
from dicom_files import as_bytes, encapsulate, make_dataset, shrink_eye

from drdeploy.clinic.graded_rows import (
    GradedRow,
    RowColumns,
    grade_file_content,
    make_row_of_answer,
)
from drdeploy.grader.inference import Inference

GRADE = {"predictions": [[0.1, 0.2, 0.7]], "grade": 2, "label": "Moderate NPDR", "gradable": True}


def test_an_answer_of_the_server_is_a_grade():
    row = make_row_of_answer("a.jpg", json.dumps(GRADE).encode())
    assert (row.grade, row.label, row.probabilities) == (2, "Moderate NPDR", (0.1, 0.2, 0.7))
    assert not row.error


@pytest.mark.parametrize(
    "body",
    [
        b"", b"[1]", b"[" * 100_000, b'{"predictions": 3}', b'{"predictions": [3]}',
        b'{"predictions": []}', b'{"predictions": [null]}',
        *(
            json.dumps(GRADE | wrong).encode()
            for wrong in (
                {"predictions": {"a": 1}}, {"predictions": [["a"]]}, {"grade": "2"},
                {"timing": 3}, {"label": ["x"]}, {"screening": {"a": 1}}, {"grade": 1e999},
                {"predictions": [[0.5] * 2000]}, {"note": 7}, {"gradable": "yes"},
                {"predictions": []}, {"predictions": [[]]}, {"predictions": [None]},
                {"predictions": [[0.1, 0.9], [0.5, 0.5]]}, {"predictions": [[0.1, float("nan")]]},
                {"grade": 5}, {"grade": -1}, {"grade": 300},
            )
        ),
    ],
)  # fmt: skip
def test_any_other_answer_is_a_row_with_an_error(body):
    row = make_row_of_answer("a.jpg", body)
    assert "not a grade from a drdeploy container" in row.error
    assert row.probabilities == ()


def test_a_row_with_fewer_classes_stays_in_its_columns():
    columns = RowColumns((), ("0", "1", "2"))
    for probabilities in ((), (0.4, 0.6), (0.1, 0.2, 0.7)):
        row = GradedRow("a.jpg", probabilities=probabilities, predict_s=9.0)
        cells = dict(zip(columns.column_names, columns.list_cells(row), strict=True))
        assert cells["predict_s"] == 9.0
        assert cells["p_2"] == (0.7 if len(probabilities) == 3 else None)


class DarkPhotographs:
    """A grader for which every photograph is too dark."""

    manifest = None

    def infer(self, images):
        found = Inference(
            prediction=None, ungradable="too_dark", is_assessed=True,
            decode_s=0.0, transform_s=0.0, predict_s=0.0,
        )  # fmt: skip
        return [found for _ in images]


def test_a_frame_behind_a_damaged_one_has_a_row_that_says_so():
    if os.environ.get("CI") != "true":
        pytest.importorskip("pydicom", reason="needs the extra clinic")
    content, pixels = shrink_eye()
    damaged = bytes(3) + content[3:]
    dataset = make_dataset(pixels, photometric="YBR_FULL_422")
    frames = [content, damaged, content, content]
    data = as_bytes(encapsulate(dataset, frames, "1.2.840.10008.1.2.4.50"))
    rows = grade_file_content(DarkPhotographs(), "eye", data, suffix=".dcm")
    assert [row.image for row in rows] == [f"eye frame {number}" for number in (1, 2, 3, 4)]
    assert [row.gradable for row in rows] == [False, None, None, None]
    assert "scramble pixels" in rows[1].error
    unread = "The frame was not read, because frame 2 of its file cannot be decoded."
    assert [row.error for row in rows[2:]] == [unread, unread]
