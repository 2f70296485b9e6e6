"""A container may answer as it likes; reading it never fails."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drdeploy.study.running.sending import ContainerAnswer

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
NAMES = ("requestLatency", "timing", "model", "container", "grade", "label")


@given(st.binary())
def test_any_bytes_are_read(body):
    ContainerAnswer.read_fields_of_body(body)


@given(st.dictionaries(st.sampled_from(NAMES), json_values))
def test_any_json_is_read(document):
    ContainerAnswer.read_fields_of_body(json.dumps(document).encode())


@pytest.mark.parametrize(
    "body", [b"", b"1,2,3", b"[1]", b"{}", b'{"container": 3}', b"[" * 100_000]
)
def test_of_another_container_nothing_is_known(body):
    assert ContainerAnswer.read_fields_of_body(body) == ContainerAnswer()


@pytest.mark.parametrize(
    ("body", "is_ungradable"), [(b'{"gradable": false}', True), (b'{"gradable": true}', False)]
)
def test_a_photograph_that_cannot_be_graded_is_known(body, is_ungradable):
    assert ContainerAnswer.read_fields_of_body(body).is_ungradable is is_ungradable


@pytest.mark.parametrize(
    "body",
    [
        b'{"requestLatency": 1e999, "timing": {"decode_s": NaN}}',
        b'{"requestLatency": ' + b"9" * 400 + b', "grade": ' + b"9" * 400 + b"}",
    ],
)
def test_a_number_that_no_row_can_hold_is_left_out(body):
    assert ContainerAnswer.read_fields_of_body(body) == ContainerAnswer()


def test_a_text_is_cut_and_can_be_written():
    body = json.dumps({"label": "\ud800" + "x" * 500_000}).encode()
    label = ContainerAnswer.read_fields_of_body(body).label
    assert len(label.encode()) < 2_000


def test_the_original_studys_answer_is_understood():
    body = b'{"predictions": [[1, 0]], "requestLatency": 0.06, "predictionLatency": 0.05}'
    answer = ContainerAnswer.read_fields_of_body(body)
    assert (answer.container_latency_s, answer.prediction_s) == (0.06, 0.05)
    assert answer.container_invocation is None
