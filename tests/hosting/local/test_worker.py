"""What is said of an instance that does not start, and of one that ends with the service."""

from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import pytest

from drdeploy.hosting.local.endpoints.fleet import InstanceFleet
from drdeploy.hosting.local.endpoints.worker import find_line_that_explains_failure


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
