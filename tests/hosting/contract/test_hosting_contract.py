"""What SageMaker demands of a container, and what clients rely on."""

import base64
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from waiting import until

NOTICE = "For research use. Not a medical device."


def error_of(answer) -> tuple[int, str]:
    error = answer.json()["error"]
    assert error["message"].endswith(".")
    return answer.status_code, error["code"]


def test_ping_answers_200_within_two_seconds(server):
    """One late answer may be the machine's."""
    in_time = [is_pinged_within(server, 2) for _ in range(5)]  # SageMaker waits as long
    assert sum(in_time) >= 4


def is_pinged_within(server, timeout_s) -> bool:
    try:
        return server.client.get("/ping", timeout=timeout_s).status_code == 200
    except httpx.TimeoutException:
        return False


def test_a_photograph_is_answered_with_the_studys_fields_and_the_grade(server, photo):
    answer = server.invoke(photo).json()
    (probabilities,) = answer["predictions"]
    assert sum(probabilities) == pytest.approx(1, abs=1e-3)
    assert answer["grade"] == probabilities.index(max(probabilities))
    assert list(answer["probabilities"].values()) == probabilities
    assert answer["referable"] == (answer["grade"] >= 2)
    assert answer["referable_rule"].startswith("grade >= 2")
    assert answer["probabilities"][answer["label"]] == max(probabilities)
    assert 0 < answer["predictionLatency"] <= answer["requestLatency"]
    assert set(answer["timing"]) == {"decode_s", "transform_s", "predict_s"}
    assert set(answer["model"]) == {"name", "digest", "precision", "weights", "runtime"}
    assert answer["notice"] == NOTICE


def test_all_servers_of_the_same_model_answer_the_same(server, photo, probabilities):
    (answered,) = server.invoke(photo).json()["predictions"]
    assert answered == pytest.approx(list(probabilities), abs=1e-5)


def test_every_admitted_invocation_has_the_next_number_of_one_container(server, photo):
    first, second = (server.invoke(photo).json()["container"] for _ in range(2))
    assert first["id"] == second["id"]
    assert second["invocation"] == first["invocation"] + 1


def test_raw_multipart_and_base64_bodies_get_the_same_answer(server, photo):
    text = base64.b64encode(photo).decode()
    answers = [
        server.invoke(photo, "application/octet-stream"),
        server.client.post("/invocations", content=photo),
        server.client.post("/invocations", files={"file": photo}),
        server.client.post("/invocations", json=[text]),
        server.client.post("/invocations", json={"instances": [{"b64": text}]}),
    ]
    assert len({str(answer.json()["predictions"]) for answer in answers}) == 1


def test_several_images_are_answered_in_their_order(server, photo):
    text = base64.b64encode(photo).decode()
    answer = server.client.post("/invocations", json=[text, text, text]).json()
    assert len(answer["predictions"]) == 3
    assert [result["grade"] for result in answer["results"]] == [answer["results"][0]["grade"]] * 3
    assert answer["notice"] == NOTICE


def test_csv_has_a_row_per_image(server, photo):
    with_header = server.invoke(photo, accept="text/csv")
    assert with_header.headers["content-type"] == "text/csv"
    assert with_header.text.splitlines()[0].startswith("grade,label,No DR,")
    without = server.invoke(photo, accept="text/csv; header=absent")
    assert without.text.splitlines() == with_header.text.splitlines()[1:]
    assert with_header.headers["x-drdeploy-notice"] == NOTICE


def test_sagemakers_headers_are_echoed(server, photo):
    headers = {
        "X-Amzn-SageMaker-Custom-Attributes": "trace=1",
        "X-Amzn-SageMaker-Inference-Id": "i-1",
    }
    answer = server.invoke(photo, **headers)
    assert {name: answer.headers[name] for name in headers} == headers
    too_long = server.invoke(photo, **{"X-Amzn-SageMaker-Inference-Id": "i" * 65})
    assert error_of(too_long) == (400, "MalformedRequest")


@pytest.mark.parametrize(
    ("body", "headers", "refusal"),
    [
        (b"", {}, (400, "EmptyBody")),
        (b"{", {"content-type": "application/json"}, (400, "MalformedRequest")),
        (b"no image", {}, (415, "UnsupportedImage")),
        (b"<p>", {"content-type": "text/html"}, (415, "UnsupportedImage")),
        (b"\xff\xd8\xff\xe0", {}, (422, "UnreadableImage")),
        (b"x", {"accept": "image/png"}, (406, "NotAcceptable")),
        (bytes(7_000_000), {}, (413, "PayloadTooLarge")),
    ],
)
def test_a_request_that_cannot_be_answered_is_refused_with_a_code_and_a_sentence(
    server, body, headers, refusal
):
    assert error_of(server.client.post("/invocations", content=body, headers=headers)) == refusal


def test_unknown_paths_are_404_and_wrong_methods_405(server):
    assert error_of(server.client.get("/grade")) == (404, "UnknownPath")
    answer = server.client.get("/invocations")
    assert error_of(answer) == (405, "MethodNotAllowed")
    assert answer.headers["allow"] == "POST"
    assert server.client.post("/ping").headers["allow"] == "GET, HEAD"


def test_batch_transform_learns_how_much_to_send(server):
    answer = server.client.get("/execution-parameters").json()
    assert set(answer) == {"MaxConcurrentTransforms", "BatchStrategy", "MaxPayloadInMB"}
    assert answer["MaxPayloadInMB"] == 6


def test_metadata_names_the_model_and_the_limits(server):
    answer = server.client.get("/metadata").json()
    assert answer["model"]["name"] == "tiny"
    assert answer["limits"]["max_payload_bytes"] == 6 * 1024 * 1024


def test_metrics_count_answers_by_status(server, photo):
    def count(status):
        lines = server.client.get("/metrics").text.splitlines()
        name = f'drdeploy_responses_total{{status="{status}"}} '
        return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    before = count(200), count(415)
    server.invoke(photo)
    server.invoke(b"no image")
    assert (count(200), count(415)) == (before[0] + 1, before[1] + 1)


def test_the_log_has_one_line_per_invocation_and_nothing_of_the_patient(server, photo):
    answer = server.client.post(
        "/invocations",
        files={"Jane-Doe": ("Jane-Doe.jpg", photo)},
        headers={"X-Amzn-SageMaker-Custom-Attributes": "patient=Jane-Doe"},
    )
    number = answer.json()["container"]["invocation"]

    def lines_of_invocation():
        return [event for event in server.events() if event.get("invocation") == number]

    until(lines_of_invocation)
    lines = lines_of_invocation()
    assert {"status", "duration_s", "decode_s", "predict_s", "container"} <= set(lines[0])
    assert len(lines) == 1
    assert "Jane" not in server.log()


def test_a_killed_worker_is_replaced(slow_server, photo):
    assert slow_server.invoke(photo).status_code == 200
    before = slow_server.pids()
    for worker in slow_server.workers():
        worker.kill()
    deadline = time.monotonic() + 300
    while ask_over_new_connection(slow_server, photo) != 200:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert not set(before) & set(slow_server.pids())


def ask_over_new_connection(served, photo) -> int:
    """Status over a connection of its own: the old one ended with its worker."""
    with served.connect() as client:
        return client.post("/invocations", content=photo).status_code


def test_overload_is_refused_at_once_with_a_time_to_retry(slow_server, photo):
    refused = []

    def ask(_):
        deadline = time.monotonic() + 60
        while not refused and time.monotonic() < deadline:
            with slow_server.connect() as client:
                answer = client.post("/invocations", content=photo)
            if answer.status_code != 200:
                refused.append(answer)

    # A server with a place to work and one to wait meets six clients at once sooner or later.
    with ThreadPoolExecutor(6) as threads:
        list(threads.map(ask, range(6)))
    assert refused
    for answer in refused:
        assert error_of(answer) == (503, "Overloaded")
        assert answer.headers["retry-after"] == "1"


def test_sigterm_finishes_what_is_in_flight_and_accepts_nothing_new(slow_server, photo):
    answers = []
    asking = threading.Thread(target=lambda: answers.append(slow_server.invoke(photo)))
    asking.start()
    with slow_server.connect() as client:
        while "drdeploy_invocations_total 1.0" not in client.get("/metrics").text:
            time.sleep(0.005)
    slow_server.signal(signal.SIGTERM)
    until(lambda: refuses(slow_server.url))
    asking.join(60)
    assert answers[0].status_code == 200
    assert slow_server.wait(60) == 0


def refuses(url: str) -> bool:
    address = httpx.URL(url)
    try:
        socket.create_connection((address.host, address.port), timeout=60).close()
    except ConnectionRefusedError:
        return True
    return False
