"""What answers in the place of AWS, and is not AWS, is refused in a sentence."""

import threading
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from drdeploy.errors import EndpointError
from drdeploy.hosting.deployment.account import AwsAccount
from drdeploy.hosting.sagemaker import Hosting

NOW = datetime(2025, 1, 1, tzinfo=UTC)
CALLS = (
    lambda hosting, _: hosting.exists("one"),
    lambda hosting, _: hosting.wait_in_service("one", timeout_s=1),
    lambda hosting, _: hosting.metric("one", "ModelLatency", start=NOW, end=datetime.now(UTC)),
    lambda _, account: account.check_credentials(),
)


class Portal(BaseHTTPRequestHandler):
    """A network that wants a login, or an answer that was cut off."""

    protocol_version = "HTTP/1.1"

    def do_POST(self):
        self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(self.server.page)))
        self.end_headers()
        self.wfile.write(self.server.page)

    def log_message(self, *_):
        pass


@pytest.fixture(params=[b"<html>Please log in.</html>", b"", b'{"EndpointNa', b"\xbf\x61"])
def url(request):
    server = ThreadingHTTPServer(("127.0.0.1", 0), Portal)
    server.page = request.param
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_an_answer_that_is_none_of_awss_is_an_error_with_a_remedy(url):
    hosting, account = Hosting.connect(url), AwsAccount(url)
    for call in CALLS:
        with pytest.raises(EndpointError, match="Check the endpoint URL"):
            call(hosting, account)
