"""Connections to an instance are kept, but not used once the instance has closed them."""

import contextlib
import socket
import threading
import time
from functools import partial

import pytest

from drdeploy.hosting.local.endpoints.instance_client import InstanceClient, InstanceTimeout

ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"


def answer_once_per_connection(listener, ended):
    for _ in range(2):
        connection, _ = listener.accept()
        with connection:
            connection.recv(4096)
            connection.sendall(ANSWER)
        ended.set()


def test_a_connection_that_the_instance_has_closed_is_not_used_again():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ended = threading.Event()
        thread = threading.Thread(target=answer_once_per_connection, args=(listener, ended))
        thread.start()
        channel = InstanceClient(partial(socket.create_connection, listener.getsockname()))
        first = channel.send_request("GET", "/ping", timeout_s=60, max_bytes=10)
        assert ended.wait(60)
        second = channel.send_request("GET", "/ping", timeout_s=60, max_bytes=10)
        thread.join(60)
        channel.close_idle_connections()
    assert first.body == second.body == b"hi"


def drip(listener):
    connection, _ = listener.accept()
    with connection:
        connection.recv(4096)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 200\r\n\r\n")
        with contextlib.suppress(OSError):  # the client gives up
            for _ in range(200):
                time.sleep(0.02)
                connection.sendall(b"x")


def test_an_answer_that_comes_byte_by_byte_must_end_in_time():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=drip, args=(listener,))
        thread.start()
        slow = InstanceClient(partial(socket.create_connection, listener.getsockname()))
        with pytest.raises(InstanceTimeout, match=r"no answer within 0\.3 s"):
            slow.send_request("POST", "/invocations", timeout_s=0.3, max_bytes=10_000)
        thread.join(60)
