"""A log stream keeps its older lines compressed, and gives them back as they were."""

import pytest

from drdeploy.hosting.local.api.packed_events import LINES_PER_BLOCK, LogLineEvent, PackedEvents

MANY = 5 * LINES_PER_BLOCK + 7


def make_lines(count, *, first=0):
    return [
        LogLineEvent(number, 1_000 + number, 2_000 + number, f"line {number}: ä\x00")
        for number in range(first, first + count)
    ]


@pytest.fixture
def events():
    packed = PackedEvents()
    for first in range(0, MANY, 100):
        packed += make_lines(min(100, MANY - first), first=first)
    return packed


def test_all_lines_come_back_in_order(events):
    assert list(events) == make_lines(MANY)
    assert len(events) == MANY


def test_many_lines_at_once_are_the_same_as_many_additions(events):
    at_once = PackedEvents()
    at_once += make_lines(MANY)
    assert list(at_once) == list(events)


def test_a_stream_without_lines_is_false():
    assert not PackedEvents()
    assert list(PackedEvents()) == []


def test_the_newest_lines_are_kept_and_at_most_a_block_more(events):
    events.keep_newest(2_500)
    assert list(events) == make_lines(MANY)[-len(events) :]
    assert 2_500 <= len(events) < 2_500 + LINES_PER_BLOCK


@pytest.mark.parametrize(
    "dropped", [0, 1, LINES_PER_BLOCK, 2 * LINES_PER_BLOCK + 5, MANY - 1, MANY]
)
def test_lines_before_a_time_are_dropped(events, dropped):
    events.drop_older_than(1_000 + dropped)
    assert list(events) == make_lines(MANY)[dropped:]


def test_a_reader_sees_the_lines_that_were_there_when_it_began(events):
    reader = iter(events)
    seen = [next(reader)]
    events += make_lines(3 * LINES_PER_BLOCK, first=MANY)
    events.keep_newest(10)
    assert seen + list(reader) == make_lines(MANY)


def test_what_a_client_sends_is_kept_whatever_its_type():
    """moto does not check the types, and a reader of the stream must not fail."""
    packed = PackedEvents()
    packed += [LogLineEvent(1, 1.5, 2, ["no text"])] * 2 * LINES_PER_BLOCK
    assert {(one.timestamp, str(one.message)) for one in packed} == {(1.5, "['no text']")}
