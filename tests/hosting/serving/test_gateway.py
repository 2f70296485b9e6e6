"""Deadlines, lanes and admission, with handlers that the tests provide."""

import asyncio
import os
import threading
from types import SimpleNamespace

import msgspec
import pytest

from drdeploy.errors import Overloaded, PredictionFailed, ProcessingTimeout
from drdeploy.hosting.serving.budgets import STUCK_S, make_worker_budgets
from drdeploy.hosting.serving.capacity import Capacity
from drdeploy.hosting.serving.exchange import ClientGone, Request, make_json_response
from drdeploy.hosting.serving.gateway import Gateway
from drdeploy.hosting.serving.large_images import LargeImages
from drdeploy.hosting.serving.log import ServerLog
from drdeploy.hosting.serving.settings import Settings
from drdeploy.hosting.serving.thread_pools import PoolJob
from drdeploy.hosting.serving.uploads import BodyUploads


class Counts:
    """Shared counters, in memory."""

    def __init__(self):
        self.invocations = 0
        self.statuses = []

    def count_invocation(self):
        self.invocations += 1
        return self.invocations

    def count_response(self, status, duration_s):
        self.statuses.append(status)


@pytest.fixture
def counts():
    return Counts()


@pytest.fixture
def lock(tmp_path):
    return LargeImages(tmp_path / "lock")


@pytest.fixture
def make(counts, lock, tmp_path):
    """Make a gateway whose invocations a function handles; it logs to a file."""
    log_file = (tmp_path / "log").open("wb")

    def prepare(request):
        """A body of large images begins with their number of places."""
        places = int(request.body) if request.body.isdigit() else 1
        return SimpleNamespace(request=request, places=places, is_large=places > 1)

    def gateway(invocations, *, stopped=None, stuck_s=STUCK_S, log_fd=None, **settings):
        capacity = Capacity(workers=1, concurrency=1, threads=1)
        budgets = make_worker_budgets(Settings(**settings), capacity)
        handlers = SimpleNamespace(
            settings=Settings(**settings), counters=counts, concurrency=1, large_images=lock,
            budgets=msgspec.structs.replace(budgets, stuck_s=stuck_s), prepare_invocation=prepare,
            grade_prepared_images=lambda prepared: invocations(prepared.request),
            answer_ping=lambda request: make_json_response("ready"),
            answer_execution_parameters=None, answer_metadata=None, answer_metrics=None,
        )  # fmt: skip
        stop = (stopped or threading.Event()).set
        log = ServerLog(fd=log_file.fileno() if log_fd is None else log_fd)
        return Gateway(handlers, log, stop_worker=stop)

    yield gateway
    log_file.close()


async def chunks(*parts):
    for part in parts:
        await asyncio.sleep(0)
        yield part


async def until(condition):
    for _ in range(6000):
        if condition():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not happen in time")


async def let_others_run():
    """Many turns of the event loop: one sleep is a single turn if the machine is busy."""
    for _ in range(50):
        await asyncio.sleep(0.001)


async def stalling():
    yield b"x"
    await asyncio.sleep(60)


def post(gateway, body=None, **headers):
    return gateway.answer_request(Request("POST", "/invocations", headers), body or chunks(b"x"))


def test_a_thread_that_never_ends_has_its_worker_replaced(make):
    release, stopped = threading.Event(), threading.Event()

    def hang(request):
        release.wait(60)
        return make_json_response("late")

    async def scenario():
        gateway = make(hang, stopped=stopped, timeout_s=0.05, stuck_s=0.2, queue_length=0)
        assert (await post(gateway)).status == 504
        assert (await post(gateway)).status == 503  # its place is still taken
        await until(stopped.is_set)
        release.set()

    asyncio.run(scenario())


def test_a_place_is_free_again_when_a_late_thread_ends(make):
    release, stopped = threading.Event(), threading.Event()

    def wait_first(request):
        release.wait(60)
        return make_json_response("done")

    async def scenario():
        gateway = make(wait_first, stopped=stopped, timeout_s=0.5, stuck_s=1.0, queue_length=0)
        assert (await post(gateway)).status == 504
        release.set()
        for _ in range(500):
            answer = await post(gateway)
            if answer.status == 200:  # on a busy machine even this handler may be too late
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
        gateway = make(fail, queue_length=0, read_timeout_s=2.0)
        for _ in range(2):
            await post(gateway, chunks(b"model"))
            await post(gateway, chunks(b"bug"))
            await post(gateway, stalling())
            with pytest.raises(ClientGone):
                await post(gateway, gone())
            await asyncio.sleep(0.01)

    asyncio.run(scenario())
    assert counts.statuses == [500, 500, 408] * 2
    assert counts.invocations == 4  # those whose body arrived


def test_a_body_is_not_read_if_no_place_is_free(make):
    release, is_held = threading.Event(), threading.Event()
    read = []

    async def watched():
        read.append(True)
        yield b"x"

    def hold(request):
        is_held.set()
        release.wait(60)
        return make_json_response("done")

    async def scenario():
        gateway = make(hold, queue_length=0)
        first = asyncio.create_task(post(gateway))
        await until(is_held.is_set)
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


def test_a_log_on_a_full_disk_keeps_no_answer_from_its_client(make):
    full = os.open("/dev/full", os.O_WRONLY)

    async def scenario():
        return await post(make(lambda request: make_json_response("done"), log_fd=full))

    assert asyncio.run(scenario()).body == b'"done"'
    os.close(full)


def test_an_upload_takes_no_place(make):
    async def scenario():
        gateway = make(lambda request: make_json_response("done"), queue_length=0)
        slow = [asyncio.create_task(post(gateway, stalling())) for _ in range(20)]
        await let_others_run()
        answer = await post(gateway)
        for one in slow:
            one.cancel()
        return answer.status

    assert asyncio.run(scenario()) == 200


def test_work_that_begins_at_the_very_deadline_is_watched():
    job = PoolJob()
    job.is_abandoned = True
    with pytest.raises(ProcessingTimeout):
        job.mark_as_running()
    assert job.began_at is not None  # the event loop reads it after it has set the other


def test_work_that_began_late_has_its_whole_time_before_it_counts_as_stuck(make, lock):
    """What a request had left after it waited was all the time that its thread got."""
    release, stopped = threading.Event(), threading.Event()

    def hang(request):
        release.wait(60)
        return make_json_response("late")

    async def scenario():
        gateway = make(hang, stopped=stopped, timeout_s=0.4, stuck_s=20.0)
        turn = lock.wait_for_turn_and_hold_it(is_large=True)
        turn.__enter__()
        asyncio.get_running_loop().call_later(0.2, turn.__exit__, None, None, None)
        assert (await post(gateway, chunks(b"10"))).status == 504
        await asyncio.sleep(0.8)
        release.set()

    asyncio.run(scenario())
    assert not stopped.is_set()


@pytest.mark.parametrize(("timeout_s", "stuck_s"), [(0.5, 30.0), (15.0, 30.0), (60.0, 120.0)])
def test_no_setting_makes_the_costliest_request_look_stuck(timeout_s, stuck_s):
    capacity = Capacity(workers=1, concurrency=1, threads=1)
    assert make_worker_budgets(Settings(timeout_s=timeout_s), capacity).stuck_s == stuck_s


def test_waiting_for_the_turn_of_a_large_image_is_not_being_stuck(make, lock):
    """Another worker may have the turn for long; this one need not be replaced for it."""
    stopped = threading.Event()

    async def scenario():
        gateway = make(
            lambda request: make_json_response("done"), stopped=stopped, timeout_s=0.05, stuck_s=1.0
        )
        with lock.wait_for_turn_and_hold_it(is_large=True):
            assert (await post(gateway, chunks(b"10"))).status == 504
            await asyncio.sleep(1.5)  # by when a thread that is stuck would have been noticed
        for _ in range(100):  # on a busy machine 0.05 s may be too little for any answer
            answer = await post(gateway, chunks(b"10"))
            if answer.status == 200:
                break
        return answer.status

    assert asyncio.run(scenario()) == 200
    assert not stopped.is_set()


def test_a_large_image_whose_client_has_its_504_is_not_decoded(make, lock):
    handled = []

    async def scenario():
        gateway = make(lambda request: handled.append(request.body), timeout_s=0.05)
        with lock.wait_for_turn_and_hold_it(is_large=True):
            refused = await post(gateway, chunks(b"10"))
        await asyncio.sleep(0.05)
        return refused

    refused = asyncio.run(scenario())
    assert refused.status == 504
    # The limit, and not what the first of two steps had left of it.
    assert b"did not answer within 0.05 seconds" in refused.body
    assert handled == []


def test_ordinary_requests_are_answered_while_large_ones_wait(make, lock):
    async def scenario():
        gateway = make(lambda request: make_json_response("done"), timeout_s=30)
        with lock.wait_for_turn_and_hold_it(is_large=True):
            large = [asyncio.create_task(post(gateway, chunks(b"10"))) for _ in range(5)]
            await let_others_run()
            ordinary = [(await post(gateway)).status for _ in range(10)]
            waiting = sum(not one.done() for one in large)
        return ordinary, waiting, [answer.status for answer in await asyncio.gather(*large)]

    assert asyncio.run(scenario()) == ([200] * 10, 5, [200] * 5)


def test_large_images_have_as_many_places_as_the_largest_eight_take(make, lock):
    async def scenario():
        gateway = make(lambda request: make_json_response("done"), timeout_s=30)
        with lock.wait_for_turn_and_hold_it(is_large=True):
            large = [asyncio.create_task(post(gateway, chunks(b"10"))) for _ in range(8)]
            await let_others_run()
            refused = (await post(gateway, chunks(b"2"))).status
        return refused, [answer.status for answer in await asyncio.gather(*large)]

    assert asyncio.run(scenario()) == (503, [200] * 8)


def test_an_idle_lane_takes_on_whatever_one_request_may_cost(make):
    async def scenario():
        gateway = make(lambda request: make_json_response("done"), queue_length=0)
        return (await post(gateway, chunks(b"40"))).status

    assert asyncio.run(scenario()) == 200


def test_a_displaced_upload_is_refused_even_if_its_next_part_is_there_already():
    """The other uploads are complete, so that none is left that could be displaced for it."""
    budgets = make_worker_budgets(Settings(), Capacity(workers=1, concurrency=1, threads=1))
    uploads = BodyUploads(msgspec.structs.replace(budgets, bodies_bytes=100))

    async def scenario():
        go_on = asyncio.Event()

        async def slow():
            yield bytes(10)
            await go_on.wait()
            yield bytes(50)

        async def fast():
            go_on.set()
            yield bytes(40)

        await uploads.receive_body(chunks(bytes(60)))
        displaced = asyncio.create_task(uploads.receive_body(slow()))
        await let_others_run()
        await uploads.receive_body(fast())
        with pytest.raises(Overloaded):
            await displaced

    asyncio.run(scenario())


def test_when_the_memory_for_bodies_is_full_the_slowest_upload_is_refused(make):
    """One that came early and stopped, not the one that came last and is quick."""
    mib = bytes(2**20)

    async def stopped_after(size):
        for _ in range(size):
            yield mib
        await asyncio.sleep(60)

    async def scenario():
        gateway = make(lambda request: make_json_response("done"))
        slow = [asyncio.create_task(post(gateway, stopped_after(6))) for _ in range(10)]
        await let_others_run()
        quick = await post(gateway, chunks(*[mib] * 6))
        refused = [one.result().status for one in slow if one.done()]
        for one in slow:
            one.cancel()
        return quick.status, refused

    assert asyncio.run(scenario()) == (200, [503])


def test_a_body_must_keep_up_with_the_rate_once_its_grace_is_over(make):
    loop_time = [0.0]

    async def drip():
        while True:
            loop_time[0] += 1.0
            await asyncio.sleep(0)
            yield bytes(1024)

    async def scenario():
        loop = asyncio.get_running_loop()
        loop.time = lambda: loop_time[0]
        return (await post(make(lambda request: make_json_response("done")), drip())).status

    assert asyncio.run(scenario()) == 408
    assert 5 <= loop_time[0] <= 8
