"""Lines of the log, and what becomes of a flood of them."""

import json
import os

import pytest

from drdeploy.hosting.serving.budgets import LOG_LINE_BYTES, LOG_LINES, LOG_WINDOW_S
from drdeploy.hosting.serving.log import ServerLog


class Clock:
    now = 100.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def log(tmp_path, clock):
    fd = os.open(tmp_path / "log", os.O_CREAT | os.O_WRONLY)
    yield ServerLog(fd=fd, clock=clock)
    os.close(fd)


@pytest.fixture
def lines(tmp_path):
    return lambda: [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]


def test_of_a_kind_so_many_lines_are_written_and_then_their_number(log, lines, clock):
    for _ in range(LOG_LINES + 7):
        log.write_event_within_limit("output", message="bad")
    log.write_event_within_limit("other")
    assert [line["event"] for line in lines()] == ["output"] * LOG_LINES + ["other"]
    clock.now += LOG_WINDOW_S
    log.write_event_within_limit("other")
    withheld, other = lines()[-2:]
    assert withheld["message"] == "7 log lines were withheld in the last 10 s"
    assert withheld["kind"] == "output"
    assert other["event"] == "other"


def test_requests_that_are_turned_away_have_one_line_with_their_number(log, lines, clock):
    for code in ["Overloaded"] * 130 + ["RequestTimeout"] * 7:
        log.count_turned_away_request(code)
    assert log.seconds_until_summary == LOG_WINDOW_S
    log.write_due_summary()
    assert lines() == []
    clock.now += LOG_WINDOW_S
    log.write_due_summary()
    (line,) = lines()
    assert line["message"] == "137 requests were turned away in the last 10 s"
    assert line["codes"] == {"Overloaded": 130, "RequestTimeout": 7}
    assert log.seconds_until_summary is None


def test_a_process_that_ends_says_what_it_withheld(log, lines):
    log.count_turned_away_request("Overloaded")
    log.write_due_summary(is_last=True)
    assert lines()[0]["message"] == "1 request was turned away in the last 0 s"


def test_tracebacks_are_limited_too(log, lines):
    for _ in range(LOG_LINES + 1):
        log.write_failure("failed", ValueError("why"))
    assert len(lines()) == LOG_LINES
    assert "ValueError: why" in lines()[0]["traceback"]


def test_a_text_that_is_longer_than_a_line_may_be_is_cut_off(log, lines):
    log.write_event("output", message="x" * (LOG_LINE_BYTES + 5))
    assert lines()[0]["message"] == "x" * LOG_LINE_BYTES + " [5 characters cut off]"


def test_a_line_that_cannot_be_written_is_counted_and_costs_nothing_else(log, lines, tmp_path):
    """A full disk under the log kept every graded photograph from its client."""
    fd = os.open("/dev/full", os.O_WRONLY)
    full = ServerLog(fd=fd)
    full.write_event("invocation", status=200)
    full.forward_line(b'{"event": "invocation"}')
    with (tmp_path / "log").open("wb") as file:
        os.dup2(file.fileno(), fd)
    full.write_event("stopped")
    full.write_event("later")
    os.close(fd)
    assert [line["event"] for line in lines()] == ["stopped", "lines lost", "later"]
    assert lines()[1]["message"] == "2 log lines were lost, because the log could not be written"
