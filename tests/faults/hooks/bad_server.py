"""A container that answers badly for a while: in the place of the model server, on its port."""

import json
import os
import socket
import sys
import threading
import time


def main(how, times, folder):
    """Answer so many invocations badly, those of earlier containers counted, and then well."""
    host = os.environ.get("DRDEPLOY_BIND_HOST", "127.0.0.1")
    port = int(os.environ["SAGEMAKER_BIND_TO_PORT"])
    listener = socket.create_server((host, port), backlog=64)
    state = {"invocation": 0}
    while True:
        connection, _ = listener.accept()
        threading.Thread(
            target=serve, args=(connection, how, times, folder, state), daemon=True
        ).start()


def serve(connection, how, times, folder, state):
    with connection, connection.makefile("rb") as stream:
        while line := stream.readline():
            length = 0
            while (header := stream.readline()) not in {b"\r\n", b""}:
                name, _, value = header.partition(b":")
                length = int(value) if name.lower() == b"content-length" else length
            stream.read(length)
            if line.startswith(b"GET"):
                connection.sendall(answer(200, b""))
                continue
            state["invocation"] += 1
            if is_bad(folder, times):
                if not misbehave(connection, how):
                    return
            else:
                connection.sendall(answer(200, grading(state["invocation"])))


def is_bad(folder, times):
    path = os.path.join(folder, "answered")
    file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(file, b".")
    os.close(file)
    return os.path.getsize(path) <= times


def misbehave(connection, how):
    """Answer badly; return whether the connection can go on."""
    whole = answer(200, grading(1))
    if how.isdigit():
        connection.sendall(answer(int(how), b'{"error": {"code": "Injected"}}'))
        return True
    if how == "empty":
        connection.sendall(answer(200, b""))
        return True
    if how == "not-json":
        connection.sendall(answer(200, bytes(range(256))))
        return True
    if how == "slow":
        time.sleep(1.5)
        connection.sendall(whole)
        return True
    if how == "garbage":
        connection.sendall(bytes(range(255, 0, -1)) * 8)
    elif how == "truncated":
        connection.sendall(whole[: len(whole) - 40])
    elif how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    elif how == "die":
        os.kill(os.getpid(), 9)
    return False


def answer(status, body):
    head = f"HTTP/1.1 {status} X\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body


def grading(invocation):
    return json.dumps(
        {
            "grade": 2,
            "label": "Moderate NPDR",
            "gradable": True,
            "notice": "For research use",
            "requestLatency": 0.002,
            "predictionLatency": 0.001,
            "timing": {"decode_s": 0.001, "transform_s": 0.001, "predict_s": 0.001},
            "model": {"digest": "", "name": "tiny"},
            "container": {
                "id": os.environ.get("DRDEPLOY_CONTAINER_ID", ""),
                "invocation": invocation,
            },
        }
    ).encode()


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), os.path.dirname(os.path.abspath(__file__)))
