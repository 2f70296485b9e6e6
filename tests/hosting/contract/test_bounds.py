"""Every bound of a request at the bound and one past it, over sockets, in both profiles."""

import base64
import json
import struct

import pytest
from image_files import encoded, png
from PIL import Image
from raw_http import CHUNKED, connect, exchange, length, post, receive, request

from drdeploy.hosting.serving.budgets import make_worker_budgets
from drdeploy.hosting.serving.capacity import Capacity
from drdeploy.hosting.serving.settings import Settings
from drdeploy.units import MIB

BOUNDS = make_worker_budgets(Settings(), Capacity(workers=1, concurrency=1, threads=1))
JSON = b"Content-Type: application/json"


def padded(photo: bytes, size: int) -> bytes:
    """The same photograph in a file of another size: a JPEG may have comments."""
    comments = b""
    while (left := size - len(photo) - len(comments)) > 0:
        segment = min(left, 65_000)
        segment = left - 4 if 0 < left - segment < 4 else segment
        comments += b"\xff\xfe" + struct.pack(">H", segment - 2) + bytes(segment - 4)
    return photo[:2] + comments + photo[2:]


def sized(body: bytes, *fields: bytes) -> bytes:
    return post(body, length(body), *fields)


def two_byte_chunks(body: bytes) -> bytes:
    parts = [b"2\r\n" + body[place : place + 2] + b"\r\n" for place in range(0, len(body), 2)]
    return b"".join(parts) + b"0\r\n\r\n"


def form(images: int, fields: int):
    image = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a.jpg"\r\n\r\n%s\r\n'
    text = b'--x\r\nContent-Disposition: form-data; name="t"\r\n\r\ntext\r\n'

    def made(photo):
        body = (image % photo) * images + text * fields + b"--x--\r\n"
        return sized(body, b"Content-Type: multipart/form-data; boundary=x")

    return made


def json_images(count: int):
    return lambda photo: sized(
        json.dumps([base64.b64encode(photo).decode()] * count).encode(), JSON
    )


def json_values(count: int):
    def made(photo):
        extra = "".join(f', "k{number}": 0' for number in range(count))
        image = base64.b64encode(photo).decode()
        return sized(f'{{"instances": [{{"b64": "{image}"{extra}}}]}}'.encode(), JSON)

    return made


def picture(width: int, height: int):
    return lambda _: sized(encoded(Image.new("L", (width, height), 90), "JPEG", quality=60))


def png_files(count: int) -> bytes:
    """The largest there may be, with nothing but black in them."""
    image = base64.b64encode(png(8000, 5000))
    return sized(b'["' + b'", "'.join([image] * count) + b'"]', JSON)


def head(size: int):
    """A head of so many bytes in two fields: NGINX wants a line to fit into a buffer."""
    rest = size - len(request(b"GET /ping HTTP/1.1", b"A: ", b"B: "))
    half = rest // 2
    return request(b"GET /ping HTTP/1.1", b"A: " + b"a" * half, b"B: " + b"b" * (rest - half))


def fields(count: int):
    """Without Connection, which NGINX takes away; Host counts."""
    lines = [b"GET /ping HTTP/1.0", b"Host: x", *[b"A: b"] * (count - 1), b"", b""]
    return b"\r\n".join(lines)


CASES = {
    "head_bytes": (head(BOUNDS.head_bytes - 64), head(BOUNDS.head_bytes + 1100), 431),
    "header_fields": (fields(BOUNDS.header_fields), fields(BOUNDS.header_fields + 1), 431),
    "body_bytes": (
        lambda photo: sized(padded(photo, BOUNDS.body_bytes)),
        lambda photo: sized(padded(photo, BOUNDS.body_bytes + 1)),
        413,
    ),
    "images in a form": (form(BOUNDS.images, 0), form(BOUNDS.images + 1, 0), 413),
    "images in JSON": (json_images(BOUNDS.images), json_images(BOUNDS.images + 1), 413),
    "form_fields": (form(1, BOUNDS.form_fields), form(1, BOUNDS.form_fields + 1), 413),
    "json_commas": (json_values(BOUNDS.json_commas), json_values(BOUNDS.json_commas + 1), 413),
    "image_pixels": (picture(8000, 5000), picture(8001, 5000), 413),
    "image_side_px": (
        picture(BOUNDS.image_side_px, 100), picture(BOUNDS.image_side_px + 1, 100), 413,
    ),
}  # fmt: skip


def raw(made, photo: bytes) -> bytes:
    return made(photo) if callable(made) else made


@pytest.fixture(scope="module", params=["lean", "classic"])
def bounded(request, model_dir, tmp_path_factory):
    """A server of either profile that the tests of this module share."""
    from served import serve_process

    if request.param == "classic":
        request.getfixturevalue("nginx")
    log = tmp_path_factory.mktemp(request.param) / "log"
    settings = {"DRDEPLOY_PROFILE": request.param, "MODEL_SERVER_WORKERS": 1}
    served = serve_process(model_dir("onnx"), log, **settings)
    yield served
    served.close()


@pytest.mark.parametrize(("at", "past", "status"), CASES.values(), ids=CASES)
def test_a_request_at_the_bound_is_answered_and_one_past_it_refused(
    bounded, photo, at, past, status
):
    assert exchange(bounded.url, raw(at, photo)).statuses == [200]
    refused = exchange(bounded.url, raw(past, photo))
    assert refused.statuses == [status]
    assert refused.error["message"].endswith(".")


def test_the_images_of_a_request_have_a_bound_together(bounded):
    assert exchange(bounded.url, png_files(4), timeout_s=120).statuses == [200]
    refused = exchange(bounded.url, png_files(5))
    assert refused.statuses == [413]
    assert "fewer images in a request" in refused.error["message"]


def test_a_body_has_so_many_chunks(bounded, photo):
    """The lean server counts them, the last one too; NGINX takes chunks apart in C."""
    at, past = (
        exchange(bounded.url, post(two_byte_chunks(padded(photo, 2 * chunks)), CHUNKED))
        for chunks in (BOUNDS.body_chunks - 1, BOUNDS.body_chunks)
    )
    assert at.statuses == [200]
    assert past.statuses == [413 if is_lean(bounded) else 200]


def is_lean(server) -> bool:
    return server.client.get("/metadata").json()["profile"] == "lean"


def test_a_megabyte_in_chunks_of_two_bytes_costs_no_more_than_itself(bounded, photo):
    """It was thirty times as much, and a second in which nobody else was answered."""
    attack = post(two_byte_chunks(padded(photo, 3 * MIB)), CHUNKED)
    bounded.invoke(photo)
    processes = bounded.workers()
    before = sum(process.memory_info().rss for process in processes)
    connections = [connect(bounded.url, timeout_s=60) for _ in range(4)]
    for connection in connections:
        connection.sendall(attack[: len(attack) // 3])
    assert bounded.client.get("/ping", timeout=60).status_code == 200
    during = sum(process.memory_info().rss for process in processes)
    for connection in connections:
        connection.close()
    assert during - before < 24 * MIB


def test_extensions_and_trailers_have_a_bound(bounded, photo):
    """The lean server's own; NGINX discards them while the time for the body lasts."""

    def extended(size: int) -> bytes:
        line = b"%x;" % len(photo)
        return line + b"a" * (size - len(line) - 2) + b"\r\n" + photo + b"\r\n0\r\n\r\n"

    def trailed(size: int) -> bytes:
        trailer = b"A: " + b"b" * (size - len(b"\r\n0\r\nA: \r\n\r\n")) + b"\r\n\r\n"
        return b"%x\r\n" % len(photo) + photo + b"\r\n0\r\n" + trailer

    for made in (extended, trailed):
        assert exchange(bounded.url, post(made(BOUNDS.framing_bytes), CHUNKED)).statuses == [200]
        past = exchange(bounded.url, post(made(BOUNDS.framing_bytes + 8), CHUNKED))
        assert past.statuses == [431 if is_lean(bounded) else 200]


def test_requests_that_are_sent_ahead_are_answered_in_their_order(bounded, photo):
    first = b"POST /invocations HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % length(photo) + photo
    ping = b"GET /ping HTTP/1.1\r\nHost: x\r\n\r\n"
    ahead = ping * (BOUNDS.ahead_requests - 1) + request(b"GET /nowhere HTTP/1.1")
    answers = exchange(bounded.url, first + ahead).statuses
    assert answers[0] == 200
    assert answers[-1] == 404
    assert len(answers) == 1 + ahead.count(b"HTTP/1.1")


@pytest.mark.parametrize(
    "ahead",
    [
        b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * (BOUNDS.ahead_requests + 1),
        b"GET /ping HTTP/1.1\r\nHost: x\r\nA: " + b"a" * BOUNDS.ahead_bytes,
    ],
    ids=["requests", "bytes"],
)
def test_a_client_that_sends_too_much_ahead_gets_the_answer_that_is_due(serve_lean, photo, ahead):
    """Two hundred requests for metrics from each of 64 clients kept the event loop for seconds."""
    server = serve_lean(rounds=20)
    first = b"POST /invocations HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n" % length(photo) + photo
    with connect(server.url) as connection:
        connection.sendall(first + ahead)
        assert receive(connection).statuses == [200]
