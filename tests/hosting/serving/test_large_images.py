"""Large images wait for each other, whatever thread or process they are in."""

import subprocess
import sys
import threading

import pytest

from drdeploy.hosting.serving.large_images import LargeImages

# A worker process that never gives its turn back.
HOLDER = """
import sys, time
from pathlib import Path
from drdeploy.hosting.serving.large_images import LargeImages
with LargeImages(Path(sys.argv[1])).wait_for_turn_and_hold_it(is_large=True):
    print("holds", flush=True)
    time.sleep(3600)
"""


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "lock"


def enter(lock, is_large, entered):
    with LargeImages(lock).wait_for_turn_and_hold_it(is_large=is_large):
        entered.set()


def enters_meanwhile(lock, *, is_large, within_s):
    """Whether a thread gets its turn while this one has its own."""
    entered = threading.Event()
    thread = threading.Thread(target=enter, args=(lock, is_large, entered))
    with LargeImages(lock).wait_for_turn_and_hold_it(is_large=True):
        thread.start()
        got_in = entered.wait(within_s)
    thread.join(60)
    assert entered.is_set()
    return got_in


def test_two_large_images_are_not_decoded_at_once(lock):
    assert not enters_meanwhile(lock, is_large=True, within_s=0.3)


def test_an_ordinary_photograph_does_not_wait(lock):
    assert enters_meanwhile(lock, is_large=False, within_s=60)


def test_the_turn_of_a_killed_worker_is_free_again(lock):
    worker = subprocess.Popen([sys.executable, "-c", HOLDER, lock], stdout=subprocess.PIPE)
    assert worker.stdout.readline() == b"holds\n"
    worker.kill()
    worker.communicate()
    with LargeImages(lock).wait_for_turn_and_hold_it(is_large=True):
        pass
