"""A few runs in which something goes wrong, one of each kind; ``make faults`` does hundreds.

What goes wrong, and when, is drawn by the seed and by a run's place in the list below.
"""

import random
import threading
from collections import Counter

import httpx
import pytest
from injection import Card
from proxy import ANSWERS, CLIENTS, NETWORK, Proxy
from required import require
from run_faults import DECK, card_of, possible, strike

RUNS = {
    "a study whose disk is full": Card("study", "disk full", "work"),
    "a study that is killed within a row": Card("study-at-service", "torn write"),
    "a study that is killed": Card("study", "kill"),
    "a study whose network fails": Card("study-at-service", "network"),
    "a study that gets answers of another": Card("study-at-service", "answer"),
    "a study whose container answers badly": Card("study", "container answer", "server"),
    "a study at another time": Card("study-at-service", "clock"),
    "a study whose disk breaks": Card("study-at-service", "storage error"),
    "a deployment that is interrupted": Card("deploy", "int"),
    "a service that is stopped for a while": Card("local", "stop", "service"),
    "a service whose folder is read-only": Card("local", "read-only", "home"),
    "a server that is told to stop": Card("serve", "term", "server"),
    "a server whose worker is killed": Card("serve", "kill", "worker"),
    "a server that gets half a request": Card("serve", "client", "client"),
}
SEED = 20


@pytest.mark.parametrize("name", RUNS)
def test_what_is_struck_loses_nothing_and_finishes(name):
    card = RUNS[name]
    require(possible(card), f"what is needed for {card.command} and {card.kind}")
    result = strike(card, SEED, list(RUNS).index(name))
    assert not result.broken, result.line(SEED, 0)
    print(result.line(SEED, 0))


def test_each_card_comes_once_in_a_deal_and_a_seed_deals_them_alike():
    deal = [card_of(7, number) for number in range(len(DECK))]
    assert Counter(deal) == Counter(DECK)
    assert deal == [card_of(7, number) for number in range(len(DECK))]
    assert deal != [card_of(8, number) for number in range(len(DECK))]
    assert {card.kind for card in DECK} >= {card.kind for card in RUNS.values()}


# ---- the network that fails ----------------------------------------------------------------


@pytest.fixture
def upstream():
    """A server that answers each request with how many it has had."""
    import http.server

    class Counting(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            self.rfile.read(int(self.headers["Content-Length"]))
            self.server.count += 1
            body = f"answer {self.server.count} {'x' * 200}".encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Counting)
    server.count = 0
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def post(url):
    return httpx.post(url, content=random.Random(1).randbytes(3000), timeout=10, verify=False)


@pytest.mark.parametrize("how", [*NETWORK, *ANSWERS, *CLIENTS])
def test_the_proxy_spoils_the_requests_that_it_is_told_to_and_no_other(upstream, how):
    with Proxy(upstream.server_port) as proxy:
        assert post(proxy.url).text.startswith("answer 1")
        proxy.spoil(how, first=2, times=1)
        assert post(proxy.url).is_success
        before = upstream.count
        try:
            spoiled = post(proxy.url)
        except httpx.HTTPError:
            spoiled = None
        is_whole = spoiled is not None and spoiled.text.startswith("answer")
        assert is_whole == (how in {"slow", "request-slow"})
        assert proxy.struck == 1
        reaches_the_server = {"cut-after", "truncated", "half-closed", "stalled"}
        assert (upstream.count > before) or how not in reaches_the_server
        assert post(proxy.url).is_success
