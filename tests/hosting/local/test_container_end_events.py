"""Instances hear of the ends of their containers, also when the engine's stream breaks."""

import logging
import queue
import threading
import time

import pytest
from local_aws import until

from drdeploy.errors import EngineError
from drdeploy.hosting.local.instances.container_end_events import ContainerEndListener

CLOSED = object()


class Stream:
    """A stream of ends that a test writes."""

    def __init__(self):
        self._ends = queue.Queue()

    def __iter__(self):
        while (end := self._ends.get()) is not CLOSED:
            if isinstance(end, Exception):
                raise end
            yield end

    def report(self, end):
        self._ends.put(end)

    def close(self):
        self._ends.put(CLOSED)


@pytest.fixture
def streams():
    return []


@pytest.fixture
def listener(streams):
    def open_stream(_since):
        streams.append(Stream())
        return streams[-1]

    listener = ContainerEndListener(open_stream, ask_again_s=0.05)
    yield listener
    listener.close()


def test_the_end_of_a_container_is_reported_to_it_alone(listener, streams):
    one, other = threading.Event(), threading.Event()
    listener.register_container("one", one.set)
    listener.register_container("other", other.set)
    until(lambda: streams)
    streams[0].report("one")
    assert one.wait(60)
    assert not other.is_set()
    assert not listener.must_ask_engine_for_state(0.0)


def test_an_end_that_comes_before_its_container_is_registered_is_not_lost(listener, streams):
    listener.register_container("first", lambda: None)
    until(lambda: streams)
    heard = threading.Event()
    listener.register_container("marker", heard.set)
    streams[0].report("early")
    streams[0].report("marker")
    assert heard.wait(60)
    early = threading.Event()
    listener.register_container("early", early.set)
    assert early.is_set()


def test_a_forgotten_container_is_told_nothing(listener, streams):
    told, heard = threading.Event(), threading.Event()
    listener.register_container("one", told.set)
    listener.register_container("marker", heard.set)
    listener.forget_container("one")
    until(lambda: streams)
    streams[0].report("one")
    streams[0].report("marker")
    assert heard.wait(60)
    assert not told.is_set()


@pytest.mark.parametrize("end", [CLOSED, EngineError("gone", where="here"), RuntimeError("odd")])
def test_containers_are_asked_while_the_stream_is_broken(end, caplog):
    may_open = threading.Event()
    opened = []

    def open_stream(_since):
        if opened and not may_open.is_set():
            raise EngineError("no engine", where="here")
        opened.append(Stream())
        return opened[-1]

    listener = ContainerEndListener(open_stream, ask_again_s=0.05)
    told = threading.Event()
    with caplog.at_level(logging.WARNING):
        listener.register_container("one", told.set)
        until(lambda: opened)
        assert not listener.must_ask_engine_for_state(0.0)
        opened[0].report(end)
        until(lambda: listener.must_ask_engine_for_state(0.0))
        assert not listener.must_ask_engine_for_state(time.monotonic() + 60)
        assert not told.is_set()
        may_open.set()
        # Whatever ended meanwhile is found when each container is asked once.
        assert told.wait(60)
        assert not listener.must_ask_engine_for_state(0.0)
    listener.close()
    assert [one for one in caplog.messages if "every 0.05 s" in one]
    assert caplog.messages[-1].endswith("is back")
