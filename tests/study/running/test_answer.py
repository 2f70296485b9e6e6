"""A container may answer as it likes; reading it never fails."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drdeploy.study.running.answer import ContainerAnswer

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=5,
)
NAMES = ("requestLatency", "timing", "model", "container", "grade", "label")


@given(st.binary())
def test_any_bytes_are_read(body):
    ContainerAnswer.read(body)


@given(st.dictionaries(st.sampled_from(NAMES), json_values))
def test_any_json_is_read(document):
    ContainerAnswer.read(json.dumps(document).encode())


@pytest.mark.parametrize(
    "body", [b"", b"1,2,3", b"[1]", b"{}", b'{"container": 3}', b"[" * 100_000]
)
def test_of_another_container_nothing_is_known(body):
    assert ContainerAnswer.read(body) == ContainerAnswer()


@pytest.mark.parametrize(
    ("body", "is_ungradable"), [(b'{"gradable": false}', True), (b'{"gradable": true}', False)]
)
def test_a_photograph_that_cannot_be_graded_is_known(body, is_ungradable):
    assert ContainerAnswer.read(body).is_ungradable is is_ungradable


def test_the_original_studys_answer_is_understood():
    body = b'{"predictions": [[1, 0]], "requestLatency": 0.06, "predictionLatency": 0.05}'
    answer = ContainerAnswer.read(body)
    assert (answer.container_latency_s, answer.prediction_s) == (0.06, 0.05)
    assert answer.container_invocation is None
