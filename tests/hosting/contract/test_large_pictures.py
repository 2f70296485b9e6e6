"""Large pictures wait for each other; nobody else waits for them, and no worker ends for it.

The tests hold the turn that large pictures wait for, as a worker does that decodes one for long.
"""

import time
from concurrent.futures import ThreadPoolExecutor, wait

import pytest
from image_files import encoded, png
from PIL import Image

from drdeploy.hosting.serving.large_images import LargeImages
from drdeploy.hosting.serving.state_folder import LARGE_IMAGES_NAME

PICTURE = encoded(Image.new("RGBA", (2500, 2000), (1, 2, 3, 100)), "PNG")
"""Half as large again as an ordinary photograph, so that it takes two places."""
CLAIM = png(8000, 5000, rows=b"")
"""It claims the most that a picture may have, which takes ten places, and then has nothing."""


@pytest.fixture
def turn(tmp_path):
    """The turn of large pictures in a server whose state is in ``tmp_path / "state"``."""
    (tmp_path / "state").mkdir()
    return LargeImages(tmp_path / "state" / LARGE_IMAGES_NAME).wait_for_turn_and_hold_it(
        is_large=True
    )


def ask(server, body):
    with server.connect() as client:
        return client.post("/invocations", content=body, headers={"content-type": "image/png"})


def wait_for_invocations(server, count: int) -> None:
    while f"drdeploy_invocations_total {count}.0" not in server.client.get("/metrics").text:
        time.sleep(0.005)


def test_pictures_that_wait_for_their_turn_end_no_worker(serve_profile, turn, tmp_path):
    """Nine requests of 152 KiB with 40 million pixels were enough: waiting counted as stuck."""
    server = serve_profile(MODEL_SERVER_TIMEOUT=0.5, DRDEPLOY_STATE_DIR=tmp_path / "state")
    before = server.pids()
    with ThreadPoolExecutor(9) as threads:
        with turn:
            answers = list(threads.map(lambda _: ask(server, PICTURE), range(9)))
            time.sleep(1.0)  # by when a thread that was stuck would have been noticed
        assert {answer.status_code for answer in answers} == {504}
    assert server.pids() == before
    assert not [event for event in server.events() if event["event"] == "worker stuck"]


def test_small_photographs_are_answered_in_their_order_while_large_ones_wait(
    serve_profile, turn, photo, tmp_path
):
    """One thread for either kind: a folder of small ones is not behind a large one."""
    server = serve_profile(
        DRDEPLOY_CONCURRENCY=1, DRDEPLOY_THREADS=1, DRDEPLOY_STATE_DIR=tmp_path / "state"
    )
    with ThreadPoolExecutor(4) as threads:
        with turn:
            large = [threads.submit(ask, server, PICTURE) for _ in range(4)]
            wait_for_invocations(server, 4)
            answers = [server.invoke(photo).json() for _ in range(20)]
            assert not any(one.done() for one in large)
        wait(large)
    assert [answer["container"]["invocation"] for answer in answers] == list(range(5, 25))
    assert [one.result().status_code for one in large] == [200] * 4


def test_a_flood_of_large_pictures_is_refused_beyond_its_places(
    serve_profile, turn, photo, tmp_path
):
    server = serve_profile(
        DRDEPLOY_CONCURRENCY=1, DRDEPLOY_THREADS=1, DRDEPLOY_STATE_DIR=tmp_path / "state"
    )
    with ThreadPoolExecutor(8) as threads:
        with turn:
            large = [threads.submit(ask, server, CLAIM) for _ in range(8)]
            wait_for_invocations(server, 8)
            # The one thread for ordinary requests looks at each picture first, in their order: an
            # answer after them means that they have taken their places.
            assert server.invoke(photo).status_code == 200
            refused = ask(server, CLAIM)
            assert server.invoke(photo).status_code == 200
        statuses = [one.result().status_code for one in large]
    assert refused.status_code == 503
    message = refused.json()["error"]["message"]
    assert (
        message == "Too few of the worker's 80 places for requests are free; try again in a moment."
    )
    assert statuses == [422] * 8
