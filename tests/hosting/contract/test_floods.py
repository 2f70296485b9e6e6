"""A flood of requests leaves its number in the log, and not a line for each of them."""

import json
import re
import time
from concurrent.futures import ThreadPoolExecutor

from raw_http import connect, exchange, length, post
from waiting import until

from drdeploy.hosting.serving.budgets import LOG_LINES, LOG_WINDOW_S

FLOOD = 400
# NGINX would keep the connection: each exchange would last until the time for silence is over.
BAD_FIELD = b"GET /ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\nA: b\x01\r\n\r\n"


def count_log_windows(began: float) -> int:
    """The most windows in which lines are counted since the first flood began.

    There is one, and another for each window that a busy machine takes longer for its floods.
    """
    return 1 + int((time.monotonic() - began) // LOG_WINDOW_S)


def flood(server, raw: bytes, count: int = FLOOD) -> list[int]:
    def some(number: int) -> list[int]:
        return [status for _ in range(number) for status in exchange(server.url, raw).statuses]

    with ThreadPoolExecutor(8) as threads:
        return [status for each in threads.map(some, [count // 8] * 8) for status in each]


def test_requests_that_are_shed_are_counted_in_one_line(serve_profile, photo):
    server = serve_profile(
        rounds=400, DRDEPLOY_CONCURRENCY=1, DRDEPLOY_THREADS=1, DRDEPLOY_QUEUE_LENGTH=0
    )
    with ThreadPoolExecutor(1) as threads:
        busy = threads.submit(server.invoke, photo)
        while "drdeploy_invocations_total 1.0" not in server.client.get("/metrics").text:
            time.sleep(0.005)
        shed = flood(server, post(photo, length(photo))).count(503)
        assert busy.result().status_code == 200
    assert shed > FLOOD / 2

    def counted():
        pattern = r"(\d+) requests? (?:was|were) turned away in the last \d+ s"
        return [int(count) for count in re.findall(pattern, server.log())]

    until(lambda: sum(counted()) >= shed)
    assert sum(counted()) == shed
    assert len(server.log().splitlines()) < 40 * len(counted())  # a line for each window
    assert "Traceback" not in server.log()


def test_bad_requests_and_bad_images_fill_no_log(serve_profile):
    server = serve_profile()
    size, began = len(server.log()), time.monotonic()
    assert set(flood(server, b"nonsense\r\n\r\n")) == {400}
    assert set(flood(server, BAD_FIELD)) == {400}
    assert set(flood(server, post(b"no image", b"Content-Length: 8"))) == {415}
    windows = count_log_windows(began)

    def lines():
        return [json.loads(line) for line in server.log()[size:].splitlines()]

    def written():
        return sum(line["event"] == "invocation" for line in lines())

    def withheld():
        kind = "refused invocation"
        messages = [line["message"] for line in lines() if line.get("kind") == kind]
        return sum(int(message.split()[0]) for message in messages if "withheld" in message)

    until(lambda: written() + withheld() >= FLOOD)
    assert written() + withheld() == FLOOD
    assert LOG_LINES <= written() <= LOG_LINES * windows
    assert len(lines()) < 80 * windows


def test_clients_that_go_away_fill_no_log(serve_profile, photo):
    server = serve_profile()
    size = len(server.log())
    half = post(photo, length(photo))[:-10]
    began = time.monotonic()
    for _ in range(FLOOD):
        with connect(server.url) as connection:
            connection.sendall(half)
    # NGINX itself drops most of those that leave at once: then there is nothing to withhold.
    windows = count_log_windows(began)
    deadline = time.monotonic() + LOG_WINDOW_S + 2
    while "lines were withheld" not in server.log() and time.monotonic() < deadline:
        time.sleep(0.05)
    assert server.client.get("/ping").status_code == 200
    assert len(server.log()[size:].splitlines()) < 80 * windows
