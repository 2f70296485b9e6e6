"""What is said of an instance that does not start."""

import pytest

from drdeploy.hosting.local.endpoints.worker import find_telling_line


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
    ],
)
def test_the_reason_is_the_last_line_that_tells_one(log, line):
    assert find_telling_line(log) == line
