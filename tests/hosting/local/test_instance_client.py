"""Connections to an instance are kept, but not used once the instance has closed them."""

import socket
import threading

from drdeploy.hosting.local.endpoints.instance_client import InstanceClient

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
        channel = InstanceClient(listener.getsockname()[1])
        first = channel.send("GET", "/ping", timeout_s=5, max_bytes=10)
        assert ended.wait(5)
        second = channel.send("GET", "/ping", timeout_s=5, max_bytes=10)
        thread.join(5)
        channel.close()
    assert first.body == second.body == b"hi"
