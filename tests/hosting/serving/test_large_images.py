"""Large images wait for each other, whatever thread or process they are in."""

import os
import threading

import pytest
from image_files import encoded, gradient, png

from drdeploy.grader.fundus.decode import read_header
from drdeploy.hosting.serving.large_images import LargeImages

LARGE = read_header(png(3000, 2000, rows=b""))
SMALL = read_header(encoded(gradient(), "PNG"))


@pytest.fixture
def lock(tmp_path):
    return tmp_path / "lock"


def enter(lock, image, entered):
    with LargeImages(lock).turn(image):
        entered.set()


def enters_meanwhile(lock, image, *, within_s):
    """Whether a thread gets its turn while this one has its own."""
    entered = threading.Event()
    thread = threading.Thread(target=enter, args=(lock, image, entered))
    with LargeImages(lock).turn(LARGE):
        thread.start()
        got_in = entered.wait(within_s)
    thread.join(30)
    assert entered.is_set()
    return got_in


def test_two_large_images_are_not_decoded_at_once(lock):
    assert not enters_meanwhile(lock, LARGE, within_s=0.3)


def test_an_ordinary_photograph_does_not_wait(lock):
    assert enters_meanwhile(lock, SMALL, within_s=30)


def test_the_turn_of_a_killed_worker_is_free_again(lock):
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        with LargeImages(lock).turn(LARGE):
            os.write(writer, b"1")
            threading.Event().wait(30)
            os._exit(0)
    os.read(reader, 1)
    os.kill(pid, 9)
    os.waitpid(pid, 0)
    with LargeImages(lock).turn(LARGE):
        pass
    os.close(reader)
    os.close(writer)
