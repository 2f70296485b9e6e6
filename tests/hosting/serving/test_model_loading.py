"""Too much at once, hostile files, and what a cold start may import."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from photographs import hostile_images, photograph
from tiny_models import onnx_artifact
from waiting import until

from drdeploy.units import MIB

BUSY_ROUNDS = 300
"""One prediction takes some seconds on one thread."""


@pytest.fixture
def busy(serve, tmp_path):
    """A server whose one place to work and one to wait are taken, and the two answers to come.

    Each takes seconds, so that all that a test does meanwhile is over before the first of them.
    """
    model_dir = onnx_artifact(tmp_path / "model", rounds=BUSY_ROUNDS)
    settings = {"DRDEPLOY_THREADS": 1, "DRDEPLOY_CONCURRENCY": 1, "DRDEPLOY_QUEUE_LENGTH": 1}
    server = serve(model_dir, MODEL_SERVER_TIMEOUT=600, **settings)
    with ThreadPoolExecutor(2) as threads:
        admitted = [threads.submit(ask, server, photograph()) for _ in range(2)]
        until(lambda: "drdeploy_invocations_total 2.0" in server.client.get("/metrics").text)
        yield server, admitted


def ask(server, photo):
    with httpx.Client(base_url=server.url, timeout=600, verify=False) as client:
        return client.post("/invocations", content=photo)


def at_once(server, photo, count):
    """The answers to requests that are sent together."""
    with ThreadPoolExecutor(count) as threads:
        return list(threads.map(lambda _: ask(server, photo), range(count)))


def test_beyond_the_queue_clients_are_refused_at_once(busy, photo):
    server, admitted = busy
    refused = at_once(server, photo, 6)
    assert not all(one.done() for one in admitted)
    assert [answer.status_code for answer in refused] == [503] * 6
    assert all(answer.headers["retry-after"] == "1" for answer in refused)
    assert [one.result().status_code for one in admitted] == [200, 200]


def test_ping_answers_while_the_model_computes(busy):
    server, admitted = busy
    assert server.client.get("/ping").status_code == 200
    assert not any(one.done() for one in admitted)
    assert [one.result().status_code for one in admitted] == [200, 200]


def test_a_request_that_takes_too_long_gets_504_and_its_place_is_free_again(
    slow_model_dir, serve, photo
):
    server = serve(slow_model_dir, MODEL_SERVER_TIMEOUT=0.05, DRDEPLOY_THREADS=1)
    answer = server.invoke(photo)
    assert answer.status_code == 504
    assert answer.json()["error"]["code"] == "ProcessingTimeout"


def test_two_hundred_hostile_images_are_refused_and_cost_no_memory(model_dir, serve, photo):
    server = serve(model_dir)
    server.invoke(photo)
    (worker,) = server.workers()
    before = worker.memory_info().rss
    for image in hostile_images(200):
        answer = server.invoke(image)
        assert 400 <= answer.status_code < 500, answer.text
        message = answer.json()["error"]["message"]
        assert message.endswith(".")
        assert "\n" not in message
    assert server.workers() == [worker]
    assert worker.memory_info().rss - before < 150 * MIB
    assert server.invoke(photo).status_code == 200


def test_several_images_are_answered_together_and_a_bad_one_is_named(model_dir, serve, photo):
    server = serve(model_dir, DRDEPLOY_MAX_IMAGES=3)
    files = [("f", ("a.jpg", photo, "image/jpeg"))] * 2
    answer = server.client.post("/invocations", files=files).json()
    assert len(answer["results"]) == len(answer["predictions"]) == 2
    assert answer["results"][0]["grade"] == answer["results"][1]["grade"]
    refused = server.client.post("/invocations", files=[*files, ("f", ("b.jpg", b"no image"))])
    assert refused.status_code == 415
    assert refused.json()["error"]["message"].startswith("Image 3 of 3: ")
    assert server.client.post("/invocations", files=files * 2).status_code == 413


FOR_A_FIRST_ANSWER = {"PIL", "drdeploy", "msgspec", "numpy"}
"""Of what is no part of Python: a new one is weighed (``drdeploy image``, cold start) first."""

TRIED = {"org", "typing_extensions"}
"""By ``pickle`` (for Jython) and ``msgspec``, which do without; no image has them."""

NOT_FOR_A_FIRST_ANSWER = {
    "boto3", "click", "fastapi", "h11", "httptools", "logging.config", "matplotlib",
    "multiprocessing",
    "openvino", "pandas", "prometheus_client", "pydantic", "python_multipart", "rich", "scipy",
    "starlette", "tensorflow", "typer", "uvicorn", "csv", "numpy.ma", "tarfile",
    "tempfile", "unittest",
}  # fmt: skip


def test_the_first_answer_imports_nothing_that_it_does_not_need(model_dir, serve, photo):
    server = serve(model_dir, PYTHONPROFILEIMPORTTIME=1)
    assert server.invoke(photo).status_code == 200
    lines = server.log_path.read_text().splitlines()
    imported = [
        line.rpartition("|")[2].strip() for line in lines if line.startswith("import time:")
    ]
    ours = imported[imported.index("drdeploy") :]  # before it, whatever the environment adds
    assert not set(ours) & NOT_FOR_A_FIRST_ANSWER
    packages = {name.partition(".")[0] for name in ours} - sys.stdlib_module_names
    assert packages - TRIED == FOR_A_FIRST_ANSWER


def test_the_supervisor_loads_no_model_library(model_dir, serve):
    server = serve(model_dir)
    maps = subprocess.run(
        ["cat", f"/proc/{server.process.pid}/maps"], capture_output=True, text=True, check=True
    ).stdout
    assert "onnxruntime" not in maps
    assert "numpy" not in maps


def test_requests_share_a_batch_if_the_setting_says_so(model_dir, serve, photo):
    alone = serve(model_dir).invoke(photo).json()
    server = serve(model_dir, DRDEPLOY_BATCH_WAIT_MS=20, DRDEPLOY_CONCURRENCY=4)
    for answer in at_once(server, photo, 8):
        assert answer.status_code == 200
        assert answer.json()["grade"] == alone["grade"]
        assert answer.json()["probabilities"] == pytest.approx(alone["probabilities"], abs=1e-4)


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"DRDEPLOY_BATCH_WAIT_MS": 2, "DRDEPLOY_CONCURRENCY": 1}, "one request at a time"),
        ({"DRDEPLOY_RUNTIME": "cuda"}, "was built without CUDA"),
    ],
)
def test_a_server_that_cannot_do_what_its_settings_ask_does_not_start(
    model_dir, serve, settings, reason
):
    with pytest.raises(Exception, match=reason):
        serve(model_dir, **settings)
