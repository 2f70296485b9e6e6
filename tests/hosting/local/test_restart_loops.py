"""Servers whose workers are restarted for ever are told from servers that are refused one file."""

import pytest

from drdeploy.hosting.local.endpoints.restart_loops import refuse_restart_loop
from drdeploy.hosting.local.instances.instance import StartFailed
from drdeploy.hosting.sagemaker import Clock

DENIED = "PermissionError: [Errno 13] Permission denied"


class Server:
    """An instance that writes a line at each of some seconds after its ping."""

    name = "server"

    def __init__(self, lines):
        self.lines = lines
        self.now_s = 0.0
        self.clock = Clock(monotonic=lambda: self.now_s, sleep=self.pass_time)

    def pass_time(self, seconds):
        self.now_s += seconds

    def read_log(self):
        return "\n".join(text for at_s, text in self.lines if at_s <= self.now_s)


def test_a_line_that_returns_without_a_request_is_the_reason_and_the_last_one_is_quoted():
    # The seconds are those of multi-model-server, whose lines begin with the time.
    server = Server([(at, f"02:07:{at:02} W-90{at} {DENIED}") for at in (0, 1, 2, 4, 7)])
    with pytest.raises(StartFailed, match=f"a request: 02:07:04 W-904 {DENIED[:10]}") as failed:
        refuse_restart_loop(server, server.clock)
    assert "chmod -R o+rwX" in failed.value.remedy


@pytest.mark.parametrize(
    "lines",
    [
        pytest.param([], id="no refusal"),
        pytest.param([(0, DENIED)] * 9, id="each worker once, at the start"),
        pytest.param([(0, DENIED), (5, DENIED)], id="one late worker"),
        pytest.param([(at, f"{DENIED}: '/{'xyz'[at % 3] * at}'") for at in range(9)], id="files"),
        pytest.param([(at, "INFO GET /ping 200") for at in range(9)], id="other lines"),
    ],
)
def test_a_server_that_goes_on_is_left_alone(lines):
    server = Server(lines)
    refuse_restart_loop(server, server.clock)


def test_a_server_that_logs_no_refusal_costs_one_second():
    server = Server([(0, "ready")])
    refuse_restart_loop(server, server.clock)
    assert server.now_s == 1.0


def test_a_server_whose_log_takes_long_to_read_is_looked_at_often_enough():
    """A busy engine took so long for a log that there was time for a single look."""
    server = Server([(at, DENIED) for at in range(100)])
    read_log = server.read_log

    def read_log_slowly():
        server.pass_time(8.0)
        return read_log()

    server.read_log = read_log_slowly
    with pytest.raises(StartFailed, match="fails again and again"):
        refuse_restart_loop(server, server.clock)


def test_a_long_line_is_cut():
    server = Server([(at, f"{DENIED} {'f' * 100_000}") for at in range(9)])
    with pytest.raises(StartFailed) as failed:
        refuse_restart_loop(server, server.clock)
    assert len(failed.value.what) < 500
