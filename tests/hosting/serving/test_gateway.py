"""Deadlines and admission, with handlers that the tests provide."""

import asyncio
import threading
from types import SimpleNamespace

import pytest

from drdeploy.errors import PredictionFailed
from drdeploy.hosting.serving.exchange import ClientGone, Request, json_response
from drdeploy.hosting.serving.gateway import Gateway
from drdeploy.hosting.serving.log import Log
from drdeploy.hosting.serving.settings import Settings


class Counts:
    """Shared counters, in memory."""

    def __init__(self):
        self.invocations = 0
        self.statuses = []

    def next_invocation(self):
        self.invocations += 1
        return self.invocations

    def count_response(self, status, duration_s):
        self.statuses.append(status)


@pytest.fixture
def counts():
    return Counts()


@pytest.fixture
def make(counts, tmp_path):
    """Make a gateway whose invocations a function handles; it logs to a file."""
    log_file = (tmp_path / "log").open("wb")

    def gateway(invocations, *, stopped=None, **settings):
        handlers = SimpleNamespace(
            settings=Settings(**settings), counters=counts, concurrency=1,
            invocations=invocations, ping=lambda request: json_response("ready"),
            execution_parameters=None, metadata=None, metrics=None,
        )  # fmt: skip
        stop = (stopped or threading.Event()).set
        return Gateway(handlers, Log(fd=log_file.fileno()), stop_worker=stop)

    yield gateway
    log_file.close()


async def chunks(*parts):
    for part in parts:
        await asyncio.sleep(0)
        yield part


async def stalling():
    yield b"x"
    await asyncio.sleep(60)


def post(gateway, body=None, **headers):
    return gateway.answer(Request("POST", "/invocations", headers), body or chunks(b"x"))


def test_a_thread_that_never_ends_has_its_worker_replaced(make):
    release, stopped = threading.Event(), threading.Event()

    def hang(request):
        release.wait(10)
        return json_response("late")

    async def scenario():
        gateway = make(hang, stopped=stopped, timeout_s=0.05, queue_length=0)
        assert (await post(gateway)).status == 504
        assert (await post(gateway)).status == 503  # its place is still taken
        await asyncio.sleep(0.15)
        release.set()

    asyncio.run(scenario())
    assert stopped.is_set()


def test_a_place_is_free_again_when_a_late_thread_ends(make):
    release, stopped = threading.Event(), threading.Event()

    def wait_first(request):
        release.wait(10)
        return json_response("done")

    async def scenario():
        gateway = make(wait_first, stopped=stopped, timeout_s=0.5, queue_length=0)
        assert (await post(gateway)).status == 504
        release.set()
        for _ in range(500):
            answer = await post(gateway)
            if answer.status != 503:
                break
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.6)  # by when a thread that is stuck would have been noticed
        return answer.status

    assert asyncio.run(scenario()) == 200
    assert not stopped.is_set()


def test_a_place_is_given_back_however_the_request_ends(make, counts):
    def fail(request):
        raise {b"model": PredictionFailed("no"), b"bug": ZeroDivisionError()}[request.body]

    async def gone():
        raise ClientGone
        yield b""

    async def scenario():
        gateway = make(fail, queue_length=0, read_timeout_s=0.05)
        for _ in range(2):
            await post(gateway, chunks(b"model"))
            await post(gateway, chunks(b"bug"))
            await post(gateway, stalling())
            with pytest.raises(ClientGone):
                await post(gateway, gone())
            await asyncio.sleep(0.01)

    asyncio.run(scenario())
    assert counts.statuses == [500, 500, 408] * 2
    assert counts.invocations == 8


def test_a_body_is_not_read_if_no_place_is_free(make):
    release = threading.Event()
    read = []

    async def watched():
        read.append(True)
        yield b"x"

    def hold(request):
        release.wait(10)
        return json_response("done")

    async def scenario():
        gateway = make(hold, queue_length=0)
        first = asyncio.create_task(post(gateway))
        await asyncio.sleep(0.02)
        refused = await post(gateway, watched())
        release.set()
        assert (await first).status == 200
        return refused

    assert asyncio.run(scenario()).status == 503
    assert not read


def test_the_details_of_a_failure_are_in_the_log_and_not_in_the_answer(make, tmp_path):
    def fail(request):
        raise RuntimeError("/opt/ml/model/secret")

    async def scenario():
        return await post(make(fail))

    answer = asyncio.run(scenario())
    assert answer.status == 500
    assert b"secret" not in answer.body
    assert "secret" in (tmp_path / "log").read_text()
