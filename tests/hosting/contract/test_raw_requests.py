"""Raw requests and their status, the same from every server: RFC 9110 and RFC 9112.

Whoever can make two servers in a row see two different requests in the same bytes gets past what
the first one checks.  So everything doubtful is refused, in one sentence, and every kind of server
says the same.
"""

import pytest
from raw_http import CHUNKED, chunked, connect, exchange, length, post, receive, request

PHOTO = "the photograph"
"""Stands for the body in the table below."""
SIZE = "its length"
"""Stands for its Content-Length."""

OK, BAD, NOT_FOUND, NOT_ALLOWED, TOO_LARGE, LONG, NOT_IMPLEMENTED, VERSION = (
    200, 400, 404, 405, 413, 431, 501, 505,
)  # fmt: skip


def line(text: bytes) -> tuple[bytes]:
    return (request(text),)


def field(*fields: bytes) -> tuple[bytes]:
    return (request(b"GET /ping HTTP/1.1", *fields),)


def host(*fields: bytes) -> tuple[bytes]:
    return (b"\r\n".join([b"GET /ping HTTP/1.1", b"Connection: close", *fields, b"", b""]),)


def sized(*fields, line=b"POST /invocations HTTP/1.1"):
    return lambda photo: post(
        photo, *(length(photo) if one == SIZE else one for one in fields), line=line
    )


def in_chunks(*fields, **how):
    return lambda photo: post(chunked(photo, **how), CHUNKED, *fields)


def coded(coding: bytes, *fields):
    return lambda photo: post(chunked(photo), b"Transfer-Encoding: " + coding, *fields)


def twice(name: bytes) -> tuple[bytes]:
    return field(name + b": a", name + b": b")


GET = b"GET /ping HTTP/1.1\r\n"

REQUESTS = {
    # -- the request line
    "get": (line(b"GET /ping HTTP/1.1"), OK),
    "head": (line(b"HEAD /ping HTTP/1.1"), OK),
    "head of what takes POST": (line(b"HEAD /invocations HTTP/1.1"), NOT_ALLOWED),
    "head of nothing": (line(b"HEAD /nowhere HTTP/1.1"), NOT_FOUND),
    "http 1.0": ((b"GET /ping HTTP/1.0\r\n\r\n",), OK),
    "http 1.2": (line(b"GET /ping HTTP/1.2"), OK),
    "http 2": (line(b"GET /ping HTTP/2.0"), VERSION),
    "http 3": (line(b"GET /ping HTTP/3"), VERSION),
    "http 9": (line(b"GET /ping HTTP/9.9"), VERSION),
    "http 0.9": (line(b"GET /ping HTTP/0.9"), BAD),
    "preface of http 2": ((b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",), BAD),
    "version in lower case": (line(b"GET /ping http/1.1"), BAD),
    "other protocol": (line(b"GET /ping HTTQ/1.1"), BAD),
    "zero before the version": (line(b"GET /ping HTTP/01.1"), BAD),
    "method in lower case": (line(b"get /ping HTTP/1.1"), BAD),
    "no token as method": (line(b"GE\x01T /ping HTTP/1.1"), BAD),
    "unknown method": (line(b"BREW /ping HTTP/1.1"), NOT_IMPLEMENTED),
    "method of webdav": (line(b"PROPFIND /ping HTTP/1.1"), NOT_IMPLEMENTED),
    "long method": (line(b"A" * 300 + b" /ping HTTP/1.1"), NOT_IMPLEMENTED),
    "method that the path has not": (line(b"DELETE /ping HTTP/1.1"), NOT_ALLOWED),
    "options": (line(b"OPTIONS /ping HTTP/1.1"), NOT_ALLOWED),
    "trace": (line(b"TRACE /ping HTTP/1.1"), NOT_ALLOWED),
    "connect": (line(b"CONNECT x:80 HTTP/1.1"), BAD),
    "connect to a path": (line(b"CONNECT /ping HTTP/1.1"), NOT_ALLOWED),
    "put": (sized(SIZE, line=b"PUT /invocations HTTP/1.1"), NOT_ALLOWED),
    "several spaces": (line(b"GET  /ping   HTTP/1.1  "), OK),
    "tabs": (line(b"GET\t/ping\tHTTP/1.1"), BAD),
    "space before": ((b" " + request(),), BAD),
    "byte order mark before": ((b"\xef\xbb\xbf" + request(),), BAD),
    "empty lines before": ((b"\r\n\r\n" + request(),), OK),
    "tls": ((b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",), BAD),
    "nonsense": ((b"nonsense\r\n\r\n",), BAD),
    # -- the target
    "query": (line(b"GET /ping?a=b&%zz HTTP/1.1"), OK),
    "fragment": (line(b"GET /ping#a HTTP/1.1"), OK),
    "escapes": (line(b"GET /%70ing HTTP/1.1"), OK),
    "escape that is none": (line(b"GET /%zz HTTP/1.1"), BAD),
    "escape that is cut off": (line(b"GET /%7 HTTP/1.1"), BAD),
    "escaped zero": (line(b"GET /ping%00 HTTP/1.1"), BAD),
    "escaped slash": (line(b"GET %2fping HTTP/1.1"), BAD),
    "slashes": (line(b"GET //ping HTTP/1.1"), NOT_FOUND),
    "slash behind": (line(b"GET /ping/ HTTP/1.1"), NOT_FOUND),
    "dots": (line(b"GET /x/../ping HTTP/1.1"), NOT_FOUND),
    "dots out of the root": (line(b"GET /../ping HTTP/1.1"), BAD),
    "escaped dots out of the root": (line(b"GET /%2e%2e/ping HTTP/1.1"), BAD),
    "more dots than folders": (line(b"GET /x/../../ping HTTP/1.1"), BAD),
    "space in it": (line(b"GET /pi ng HTTP/1.1"), BAD),
    "control character in it": (line(b"GET /pi\x01ng HTTP/1.1"), BAD),
    "zero in it": (line(b"GET /ping\0 HTTP/1.1"), BAD),
    "no ascii": (line(b"GET /\xff HTTP/1.1"), BAD),
    "no ascii in the query": (line(b"GET /ping?\xff HTTP/1.1"), BAD),
    "absolute": (line(b"GET http://other/ping HTTP/1.1"), OK),
    "absolute without path": (line(b"GET http://x HTTP/1.1"), NOT_FOUND),
    "absolute without host": (line(b"GET http:///ping HTTP/1.1"), BAD),
    "absolute with user": (line(b"GET http://u:p@x/ping HTTP/1.1"), BAD),
    "absolute, no Host": ((b"GET http://x/ping HTTP/1.1\r\n\r\n",), BAD),
    "asterisk": (line(b"OPTIONS * HTTP/1.1"), BAD),
    "no slash": (line(b"GET ping HTTP/1.1"), BAD),
    # -- Host
    "no Host": (host(), BAD),
    "two Hosts": (host(b"Host: a", b"Host: b"), BAD),
    "the same Host twice": (host(b"Host: a", b"Host: a"), BAD),
    "empty Host": (host(b"Host:"), BAD),
    "blank in Host": (host(b"Host: a b"), BAD),
    "path in Host": (host(b"Host: a/b"), BAD),
    "user in Host": (host(b"Host: a@b"), BAD),
    "tag in Host": (host(b"Host: a<b"), BAD),
    "bracket in Host": (host(b"Host: ["), BAD),
    "no ascii in Host": (host(b"Host: \xff"), BAD),
    "port that is none": (host(b"Host: a:b"), BAD),
    "two dots in Host": (host(b"Host: a..b"), BAD),
    "address and port as Host": (host(b"Host: [::1]:8080"), OK),
    "http 1.0, two Hosts": ((b"GET /ping HTTP/1.0\r\nHost: a\r\nHost: b\r\n\r\n",), BAD),
    # -- fields
    "folded": (field(b"A: b\r\n c"), BAD),
    "folded with a tab": (field(b"A: b\r\n\tc"), BAD),
    "folded first": ((GET + b" A: b\r\nHost: x\r\n\r\n",), BAD),
    "folded length": (sized(b"Content-Length:\r\n 3"), BAD),
    "line feeds alone": ((request().replace(b"\r\n", b"\n"),), OK),
    "one line feed alone": (field(b"A: b\nC: d"), OK),
    "carriage return alone": (field(b"A: b\rC: d"), BAD),
    "carriage return after the first line": ((b"GET /ping HTTP/1.1\rHost: x\r\n\r\n",), BAD),
    "carriage returns before the end": ((GET + b"Host: x\r\n\r\r\n",), BAD),
    "space before the colon": (field(b"A : b"), BAD),
    "tab before the colon": (field(b"A\t: b"), BAD),
    "space before the colon of Host": (host(b"Host : x"), BAD),
    "space in a name": (field(b"A b: c"), BAD),
    "no name": (field(b": b"), BAD),
    "bracket in a name": (field(b"A(b: c"), BAD),
    "quote in a name": (field(b'A"b: c'), BAD),
    "no ascii in a name": (field(b"A\xff: b"), BAD),
    "zero in a name": (field(b"A\0: b"), BAD),
    "every sign of a token": (field(b"!#$%&'*+-.^_`|~09Az: b"), OK),
    "zero in a value": (field(b"A: b\0c"), BAD),
    "control character in a value": (field(b"A: b\x01c"), BAD),
    "delete in a value": (field(b"A: b\x7fc"), BAD),
    "tab in a value": (field(b"A: b\tc"), OK),
    "no ascii in a value": (field(b"A: b\xffc"), OK),
    "empty value": (field(b"A:"), OK),
    "too many": (field(*[b"A: b"] * 200), LONG),
    "too long": (field(b"A: " + b"b" * 20_000), LONG),
    "long target": (line(b"GET /ping?" + b"a" * 20_000 + b" HTTP/1.1"), LONG),
    "too long together": (field(*[b"A: " + b"b" * 6000] * 3), LONG),
    # -- fields twice
    "Accept twice": (sized(SIZE, b"Accept: image/png", b"Accept: text/csv"), OK),
    "Accept twice, the other way round": (
        sized(SIZE, b"Accept: text/csv", b"Accept: image/png"), OK,
    ),
    "Content-Type twice": (
        sized(SIZE, b"Content-Type: image/jpeg", b"Content-Type: text/html"), BAD,
    ),
    "Content-Type twice, the other way round": (
        sized(SIZE, b"Content-Type: text/html", b"Content-Type: image/jpeg"), BAD,
    ),
    "the same Content-Type twice": (sized(SIZE, *[b"Content-Type: image/jpeg"] * 2), BAD),
    "attributes twice": (
        sized(SIZE, *[b"X-Amzn-SageMaker-Custom-Attributes: a"] * 2), BAD,
    ),
    "inference id twice": (sized(SIZE, *[b"X-Amzn-SageMaker-Inference-Id: a"] * 2), BAD),
    "Authorization twice": (twice(b"Authorization"), BAD),
    "If-None-Match twice": (twice(b"If-None-Match"), BAD),
    "X-Forwarded-For twice": (twice(b"X-Forwarded-For"), OK),
    "Connection twice": (field(b"Connection: close"), OK),
    # -- the length of a body
    "length": (sized(SIZE), OK),
    "the same length twice": (sized(SIZE, SIZE), BAD),
    "two lengths": (sized(SIZE, b"Content-Length: 1"), BAD),
    "list of lengths": (sized(b"Content-Length: 3, 3"), BAD),
    "length with a plus": (sized(b"Content-Length: +3"), BAD),
    "length below zero": (sized(b"Content-Length: -3"), BAD),
    "length in hexadecimal": (sized(b"Content-Length: 0x3"), BAD),
    "length with a blank": (sized(b"Content-Length: 1 2"), BAD),
    "empty length": (sized(b"Content-Length:"), BAD),
    "length in words": (sized(b"Content-Length: three"), BAD),
    "length of twenty digits": (sized(b"Content-Length: 99999999999999999999"), BAD),
    "length beyond the limit": (
        lambda _: post(b"", b"Content-Length: 9999999999"), TOO_LARGE,
    ),
    "blanks behind the length": (
        lambda photo: post(photo, length(photo) + b"  "), OK,
    ),
    "zeros before the length": (
        lambda photo: post(photo, b"Content-Length: 000%d" % len(photo)), OK,
    ),
    "no body": (lambda _: post(b""), BAD),
    "body of a GET": ((request(b"GET /ping HTTP/1.1", b"Content-Length: 3", body=b"abc"),), OK),
    # -- transfer codings
    "chunked": (in_chunks(), OK),
    "Chunked": (coded(b"Chunked"), OK),
    "chunked and a length": (coded(b"chunked", b"Content-Length: 3"), BAD),
    "chunked twice": (coded(b"chunked", CHUNKED), BAD),
    "chunked in http 1.0": (
        lambda photo: post(chunked(photo), CHUNKED, line=b"POST /invocations HTTP/1.0"), BAD,
    ),
    "gzip, chunked": (coded(b"gzip, chunked"), NOT_IMPLEMENTED),
    "chunked, gzip": (coded(b"chunked, gzip"), NOT_IMPLEMENTED),
    "identity": (coded(b"identity"), NOT_IMPLEMENTED),
    "identity and a length": (sized(b"Transfer-Encoding: identity", SIZE), NOT_IMPLEMENTED),
    "xchunked": (coded(b"xchunked"), NOT_IMPLEMENTED),
    "empty coding": (coded(b""), NOT_IMPLEMENTED),
    "chunked with a comma": (coded(b"chunked,"), NOT_IMPLEMENTED),
    "quoted coding": (coded(b'"chunked"'), NOT_IMPLEMENTED),
    # -- chunks
    "extension": (in_chunks(end=b";a=b\r\n"), OK),
    "quoted extension": (in_chunks(end=b';a="b;c"\r\n'), OK),
    "blanks before an extension": (in_chunks(end=b" ; a=b\r\n"), OK),
    "carriage return in an extension": (in_chunks(end=b";a\rb\r\n"), BAD),
    "line feed alone after a size": (in_chunks(end=b"\n"), OK),
    "no line feed after a size": (in_chunks(end=b"\r"), BAD),
    "blank before a size": (in_chunks(size=b" 3"), BAD),
    "zeros before a size": (
        lambda photo: post(chunked(photo, size=b"0" * 40 + b"%x" % len(photo)), CHUNKED), OK,
    ),
    "size with 0x": (in_chunks(size=b"0x3"), BAD),
    "size with a plus": (in_chunks(size=b"+3"), BAD),
    "size below zero": (in_chunks(size=b"-1"), BAD),
    "no size": (lambda photo: post(b"\r\n" + photo + b"\r\n0\r\n\r\n", CHUNKED), BAD),
    "size beyond any number": (in_chunks(size=b"f" * 17), BAD),
    "size beyond the limit": (in_chunks(size=b"7fffffff"), TOO_LARGE),
    "chunk longer than its size": (in_chunks(size=b"3"), BAD),
    "no size at all": (lambda _: post(b"zz\r\nabc\r\n", CHUNKED), BAD),
    "trailer": (in_chunks(last=b"0\r\nA: b\r\n\r\n"), OK),
    "trailer that would change the type": (
        in_chunks(last=b"0\r\nContent-Type: text/html\r\n\r\n"), OK,
    ),
    "trailer with a length": (in_chunks(last=b"0\r\nContent-Length: 5\r\n\r\n"), OK),
    "trailer that is no field": (in_chunks(last=b"0\r\nA b\r\n c\r\n\r\n"), OK),
    # -- what a client expects, and an upgrade
    "expects 100-continue": (sized(SIZE, b"Expect: 100-continue"), OK),
    "http 1.0 expects 100-continue": (
        sized(SIZE, b"Expect: 100-continue", line=b"POST /invocations HTTP/1.0"), OK,
    ),
    "expects something else": (sized(SIZE, b"Expect: tea"), OK),
    "expects twice": (sized(SIZE, *[b"Expect: 100-continue"] * 2), BAD),
    "upgrade with a body": (sized(SIZE, b"Connection: upgrade", b"Upgrade: h2c"), OK),
    # -- SageMaker's fields
    "attributes that are no ascii": (
        sized(SIZE, b"X-Amzn-SageMaker-Custom-Attributes: \xff"), BAD,
    ),
}  # fmt: skip

FORGIVEN = {
    # NGINX writes these anew before it passes a request on, and nobody sees them.
    "no colon": (field(b"A b"[:1]), BAD),
    "two carriage returns": (field(b"A: b\r"), BAD),
    "control character in Connection": (field(b"Connection: \x01"), BAD),
}
"""What the lean server refuses, as RFC 9112 says, and NGINX forgives; it cannot be told not to."""


def raw(made, photo: bytes) -> bytes:
    return made(photo) if callable(made) else made[0]


@pytest.mark.parametrize(("made", "status"), REQUESTS.values(), ids=REQUESTS)
def test_a_raw_request_has_the_same_status_from_every_server(server, photo, made, status):
    answer = exchange(server.url, raw(made, photo))
    assert answer.statuses == [status], answer.data[:300]
    if status >= 400 and not raw(made, photo).startswith(b"HEAD"):
        assert answer.error["message"].endswith(".")
        assert "\n" not in answer.error["message"]
    assert answer.is_closed


@pytest.mark.parametrize(("made", "status"), FORGIVEN.values(), ids=FORGIVEN)
def test_what_nginx_forgives_is_refused_or_does_no_harm(server, photo, made, status):
    assert exchange(server.url, raw(made, photo)).statuses in ([status], [OK])


def test_a_request_of_http_0_9_gets_no_answer_but_a_refusal(server):
    answer = exchange(server.url, b"GET /ping\r\n")
    assert answer.error["code"] == "MalformedRequest"  # an answer of HTTP/0.9 has no status
    assert answer.statuses in ([BAD], [])


def test_no_body_follows_the_answer_to_head_on_a_kept_connection(server):
    kept = b"%s /ping HTTP/1.1\r\nHost: x\r\n%s\r\n"
    with connect(server.url) as connection:
        connection.sendall(kept % (b"HEAD", b"") + kept % (b"GET", b"Connection: close\r\n"))
        first, _, second = receive(connection).data.partition(b"\r\n\r\n")
    assert b"content-length: 18" in first.lower()
    assert second.startswith(b"HTTP/1.1 200")
    assert second.endswith(b'{"status":"ready"}')


@pytest.mark.parametrize(
    ("rest", "status"),
    [
        (b"Host: x\r\nHost: y\r\n\r\n", BAD),
        (b"Host: x\r\nA\x01: b\r\n\r\n", BAD),
        (b"Host: x\r\nA: " + b"a" * 30_000 + b"\r\n\r\n", LONG),
        (b"Host: x\r\nTransfer-Encoding: gzip\r\n\r\n", NOT_IMPLEMENTED),
    ],
    ids=["two Hosts", "no name", "too long", "coding"],
)
def test_no_body_follows_the_refusal_of_a_head_request(server, rest, status):
    """A proxy takes such a body for the beginning of the answer to somebody else."""
    answer = exchange(server.url, b"HEAD /ping HTTP/1.1\r\nConnection: close\r\n" + rest)
    assert answer.data.endswith(b"\r\n\r\n")
    assert answer.statuses == [status]


def test_an_http_1_0_client_is_not_told_to_continue(server, photo):
    fields = (length(photo), b"Expect: 100-continue")
    answer = exchange(server.url, post(photo, *fields, line=b"POST /invocations HTTP/1.0"))
    assert b" 100 " not in answer.data


def test_an_offer_to_upgrade_is_ignored_and_the_connection_kept(server):
    fields = b"Host: x\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    with connect(server.url) as connection:
        connection.sendall(GET + fields + request())
        assert receive(connection).statuses == [OK, OK]


@pytest.mark.parametrize("second", ["GET /ping", "GET /smuggled"])
def test_what_follows_a_body_is_a_request_of_its_own(server, photo, second):
    first = b"POST /invocations HTTP/1.1\r\nHost: x\r\n%s\r\n\r\n"
    for body, fields in ((photo, length(photo)), (chunked(photo), CHUNKED)):
        answer = exchange(
            server.url, first % fields + body + request(f"{second} HTTP/1.1".encode())
        )
        assert answer.statuses == [OK, OK if second == "GET /ping" else NOT_FOUND]
