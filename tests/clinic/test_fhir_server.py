"""A bundle is sent to a FHIR server, and to no other place."""

import contextlib
import itertools
import json
import os
import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("pydicom", reason="needs the extra clinic")

from drdeploy.clinic.fhir_server import store_bundle
from drdeploy.clinic.http_exchange import check_server_url, send_http_request
from drdeploy.errors import ClinicError, InvalidInput

BUNDLE = {"resourceType": "Bundle", "type": "transaction", "entry": []}


@pytest.fixture
def server():
    received = []

    class Handler(BaseHTTPRequestHandler):
        status = 200

        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append((self.path, self.headers["Content-Type"], json.loads(body)))
            self.send_response(self.status)
            self.send_header("Location", "/elsewhere")
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}/fhir", received, Handler
        running.shutdown()


def test_a_bundle_arrives(server):
    url, received, _ = server
    assert store_bundle(url, BUNDLE) == ""
    assert received == [("/fhir", "application/fhir+json", BUNDLE)]


@pytest.mark.parametrize("status", [302, 307, 401, 500])
def test_a_server_that_fails_or_leads_elsewhere_is_an_error(server, status):
    url, received, handler = server
    handler.status = status
    with pytest.raises(ClinicError, match=f"status {status}"):
        store_bundle(url, BUNDLE)
    assert len(received) == 1


def test_a_server_may_refuse_one_bundle_of_many(server):
    url, _, handler = server
    handler.status = 422
    assert store_bundle(url, BUNDLE) == "The FHIR server refuses a bundle with status 422."


def test_a_server_that_does_not_answer_is_an_error():
    with pytest.raises(ClinicError, match="The exchange with the FHIR server failed"):
        store_bundle("http://127.0.0.1:9/fhir", BUNDLE)


@pytest.fixture
def raw_server():
    """A server that sends what a test says, piece by piece, to the first who connects."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def send(pieces):
            connection, _ = listener.accept()
            with connection, contextlib.suppress(OSError):
                connection.recv(65536)
                for piece in pieces:
                    connection.sendall(piece)
                    time.sleep(0.02)

        def start(pieces):
            threading.Thread(target=send, args=[pieces], daemon=True).start()
            return f"http://127.0.0.1:{listener.getsockname()[1]}/"

        yield start


OK = b"HTTP/1.1 200 OK\r\n"


@pytest.mark.parametrize(
    "head", [b"", OK, OK + b"\r\n", OK + b"Content-Length: 99\r\n\r\n"],
    ids=["status", "header", "body without a length", "body"],
)  # fmt: skip
def test_a_server_that_is_never_silent_and_never_ends_is_cut_off(head, raw_server):
    url = raw_server(itertools.chain([head], itertools.repeat(b"x")))
    with pytest.raises(ClinicError, match=r"took more than 0\.3 seconds"):
        send_http_request("GET", url, server="archive", headers={}, limit_s=0.3)


def test_a_server_that_draws_out_the_handshake_is_cut_off(raw_server):
    """The handshake comes before the request, and a byte of it now and then is no silence."""
    hello_of_16_kib = b"\x16\x03\x03\x40\x00\x02\x00\x3f\xfc"
    left = iter(range(1000))
    url = raw_server(itertools.chain([hello_of_16_kib], (b"\x03" for _ in left)))
    with pytest.raises(ClinicError, match=r"took more than 0\.3 seconds"):
        send_http_request(
            "GET", url.replace("http:", "https:"), server="archive", headers={}, limit_s=0.3
        )
    assert next(left, None) is not None  # the connection ended before the server did


def test_no_message_quotes_an_answer_that_is_not_http(raw_server):
    url = raw_server([b"Doe^Jane 1970\x1b[31m\r\n\r\n"])
    with pytest.raises(ClinicError, match="its answer is not HTTP") as failed:
        send_http_request("GET", url, server="archive", headers={})
    assert "Doe" not in str(failed.value)


@pytest.mark.parametrize(
    "answer", [b"Content-Length: 99\r\n\r\n[]", b"Transfer-Encoding: chunked\r\n\r\n9\r\n[]"]
)
def test_an_answer_that_is_cut_off_is_an_error_and_not_a_shorter_answer(answer, raw_server):
    url = raw_server([OK + answer])
    with pytest.raises(ClinicError, match="its answer ends too early"):
        send_http_request("GET", url, server="archive", headers={})


@pytest.mark.parametrize("url", ["http://records.example.org/fhir", "ftp://localhost", "records"])
def test_patients_data_are_not_sent_in_the_clear(url):
    with pytest.raises(InvalidInput, match="only over https"):
        check_server_url(url, option="--post")


@pytest.mark.parametrize("url", ["https://records.example.org", "http://[::1]:8080/fhir"])
def test_https_and_this_machine_are_allowed(url):
    check_server_url(url, option="--post")


@pytest.mark.parametrize(
    "rest",
    [".org/f\u00e4cher", ".org/a b", ".org/a\nb", ".org:99999", ".org:0", ".org:port", "..org"],
)
def test_an_address_to_which_no_request_can_be_sent_is_refused_at_once(rest):
    with pytest.raises(InvalidInput, match="that no address may have"):
        check_server_url(f"https://records.example{rest}", option="--post")
