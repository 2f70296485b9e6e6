"""What is said of an instance that does not start, and of one that ends with the service."""

import contextlib
import errno
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from drdeploy.hosting.local.endpoints import worker
from drdeploy.hosting.local.endpoints.fleet import InstanceFleet, InstanceSize
from drdeploy.hosting.local.endpoints.instance_logs import InstanceOrigin
from drdeploy.hosting.local.endpoints.worker import find_line_that_explains_failure
from drdeploy.hosting.local.instances.instance import PinnedImage
from drdeploy.hosting.local.options import ServiceOptions
from drdeploy.hosting.sagemaker import Clock


@pytest.mark.parametrize(
    ("log", "line"),
    [
        ("", ""),
        ("one\ntwo", "two"),
        ("nginx: [emerg] bind() failed\n", "nginx: [emerg] bind() failed"),
        # Gunicorn quotes a traceback in brackets.
        ("Traceback:\nModuleNotFoundError: no x\n]\n\n", "ModuleNotFoundError: no x"),
        # A server that shuts down in order says so last.
        ("PermissionError: 'f'\nINFO: Shutting down\nINFO: Finished", "PermissionError: 'f'"),
        # The access log says of each ping that its route is not found: the model is not loaded yet.
        (
            'WorkerStop: stopped unexpectedly\nINFO: "GET /ping HTTP/1.1" 404 Not Found\nFinished',
            "WorkerStop: stopped unexpectedly",
        ),
        # The program that starts others says last that one of them failed.
        (
            (
                "Starting\nln: failed to create link 'a.log': Permission denied\n"
                "Traceback (most recent call last):\n    raise CalledProcessError(retcode, cmd)\n"
                "subprocess.CalledProcessError: 'ln' returned non-zero exit status 1."
            ),
            "ln: failed to create link 'a.log': Permission denied",
        ),
        (
            (
                "ModuleNotFoundError: no x\n[INFO] Worker exiting\n"
                "gunicorn.errors.HaltServer: <HaltServer 'Worker failed to boot.' 3>"
            ),
            "ModuleNotFoundError: no x",
        ),
        ("CalledProcessError: 'ln' failed", "CalledProcessError: 'ln' failed"),
    ],
)
def test_the_reason_is_the_last_line_that_tells_one(log, line):
    assert find_line_that_explains_failure(log) == line


def test_an_instance_that_a_job_gives_back_after_the_service_has_ended_is_stopped_already():
    """The job's thread may come to its end while the service ends; that is no internal error."""
    ended = ThreadPoolExecutor(1)
    ended.shutdown()
    fleet = SimpleNamespace(_stopping_threads=ended, _stop_instance=None)
    client = SimpleNamespace(close_idle_connections=lambda: None)
    worker = SimpleNamespace(client=client, instance=None)
    assert InstanceFleet.retire_instance(fleet, worker).done()


class UnreachableInstance:
    """An instance that runs, in a process that may open no more files."""

    name = "i-1"

    def __init__(self):
        self.stops = []

    def connect(self, timeout_s):
        raise OSError(errno.EMFILE, "Too many open files")

    def is_alive(self):
        return not self.stops

    def ran_out_of_memory(self):
        return False

    def read_log_tail(self):
        return ""

    def read_new_lines(self):
        return []

    def stop(self, grace_s):
        self.stops.append(grace_s)


def test_an_instance_that_cannot_be_reached_is_stopped_whatever_the_error():
    """Only a failed start was; after any other error, one more instance ran at each attempt."""
    instance = UnreachableInstance()
    backend = SimpleNamespace(start_instance=lambda spec: instance)
    fleet = InstanceFleet("name", backend, None, ServiceOptions())
    size = InstanceSize(1024, 1.0, 60.0, is_serverless=True)
    origin = InstanceOrigin("us-east-1", "e", "v")
    with pytest.raises(OSError, match="Too many open files"):
        fleet.launch_instance(PinnedImage("drdeploy:lean"), None, {}, size, origin=origin)
    assert instance.stops == [0.0]
    assert fleet.count_live_instances() == 0


class NoisyInstance(UnreachableInstance):
    """An instance whose server answers a ping with bytes that have no end."""

    def connect(self, timeout_s):
        ours, theirs = socket.socketpair()

        def send_forever():
            with theirs, contextlib.suppress(OSError):
                while True:
                    theirs.sendall(b"x" * 4096)

        threading.Thread(target=send_forever, daemon=True).start()
        return ours


def test_a_server_that_answers_a_ping_without_end_is_not_ready_and_fills_no_memory():
    clock = Clock()
    begin = clock.monotonic()
    assert worker._ping_and_read_status_bytes(NoisyInstance(), begin + 60, clock) == b""
    assert clock.monotonic() - begin < 30
