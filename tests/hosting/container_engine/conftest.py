"""Certificates, and ways to the container engine other than its socket."""

from __future__ import annotations

import shutil
import socket
import ssl
import subprocess
import threading
from contextlib import suppress

import pytest
from required import require


@pytest.fixture(scope="session")
def certificates(tmp_path_factory):
    """A folder with an authority, and certificates for a server on 127.0.0.2 and for a client."""
    require(shutil.which("openssl") is not None, "openssl")
    folder = tmp_path_factory.mktemp("certificates")
    (folder / "names").write_text("subjectAltName=IP:127.0.0.2\n")
    _run_openssl(
        folder, "req -x509 -newkey rsa:2048 -nodes -keyout ca-key.pem -out ca.pem -subj /CN=ca"
    )
    for cert, key in (("server.pem", "server-key.pem"), ("cert.pem", "key.pem")):
        request = f"req -newkey rsa:2048 -nodes -keyout {key} -out request.pem -subj /CN={cert}"
        _run_openssl(folder, request)
        signing = "x509 -req -in request.pem -CA ca.pem -CAkey ca-key.pem -CAcreateserial"
        _run_openssl(folder, f"{signing} -out {cert} -extfile names")
    return folder


@pytest.fixture
def forward(engine):
    """Forward a port of 127.0.0.2 to the engine, with TLS if a context is given; its address."""
    listeners = []

    def start(tls=None):
        listener = socket.create_server(("127.0.0.2", 0))
        listeners.append(listener)
        path = str(engine.location.unix_socket_path)
        threading.Thread(target=_accept, args=(listener, tls, path), daemon=True).start()
        return f"tcp://127.0.0.2:{listener.getsockname()[1]}"

    yield start
    for listener in listeners:
        listener.close()


@pytest.fixture
def server_tls(certificates):
    """A context of a TLS server that asks for a client's certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificates / "server.pem", certificates / "server-key.pem")
    context.load_verify_locations(certificates / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    return context


def _run_openssl(folder, command):
    subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)


def _accept(listener, tls, path):
    with suppress(OSError):  # the listener is closed
        while True:
            client, _ = listener.accept()
            threading.Thread(target=_serve, args=(client, tls, path), daemon=True).start()


def _serve(client, tls, path):
    with suppress(OSError):  # one side hung up, or it is no TLS
        if tls is not None:
            client = tls.wrap_socket(client, server_side=True)
        with client, socket.socket(socket.AF_UNIX) as upstream:
            upstream.connect(path)
            threading.Thread(target=_pump, args=(client, upstream), daemon=True).start()
            _pump(upstream, client)


def _pump(source, target):
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
    with suppress(OSError):
        target.shutdown(socket.SHUT_WR)
