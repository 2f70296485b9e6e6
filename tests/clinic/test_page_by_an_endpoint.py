"""`clinic serve --endpoint` with a real local SageMaker service: photographs in, its grades out."""

import json
import os
import re
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import contextmanager

import numpy as np
import pytest

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("starlette", reason="needs the extra clinic")
    pytest.importorskip("moto", reason="needs the extra study")

from dicom_files import EYE, as_bytes, make_dataset
from local_aws import Aws
from PIL import Image
from typer.testing import CliRunner

from drdeploy.cli.clinic import app as cli
from drdeploy.clinic.page.endpoint import _make_body
from drdeploy.clinic.patients import grade_dicom_file
from drdeploy.clinic.records import ClinicRecords
from drdeploy.errors import EndpointError, PredictionFailed
from drdeploy.grader.box import box_artifact
from drdeploy.grader.inference import InferenceService
from drdeploy.photograph_names import PhotographNames

WORST = EYE.with_name("IDRiD_001_grade4.jpg")
DRDEPLOY = [sys.executable, "-m", "drdeploy"]
PATIENCE_S = 90.0


@pytest.fixture(scope="module")
def local():
    """`drdeploy local up`, with an endpoint that serves the packaged grader in processes."""
    up = [*DRDEPLOY, "local", "up", "--port", "0", "--isolation", "process"]
    process = subprocess.Popen(up, stdout=subprocess.PIPE, text=True)
    url = re.search(r"http://\S+", process.stdout.readline())[0]
    try:
        aws = Aws.at(url)
        archive = aws.put_archive(box_artifact().read_bytes())
        name = aws.endpoint(
            url=archive, ServerlessConfig={"MemorySizeInMB": 3072, "MaxConcurrency": 2}
        )
        yield aws, name
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextmanager
def serving(folder, *options):
    command = [*DRDEPLOY, "clinic", "serve", folder, "--port", "0", "--quiet-s", "0.2"]
    process = subprocess.Popen(
        [*command, "--until-stdin-closes", *options],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        ready = process.stdout.readline()
        assert ready, process.stderr.read()
        yield Browser(re.search(rb"http://\S+", ready)[0].decode())
    finally:
        process.stdin.close()
        process.wait(60)
        process.stdout.close()
        process.stderr.close()


class Browser:
    """Drops photographs and reads pages, as the script of the page does."""

    def __init__(self, address):
        self.address = address
        with urllib.request.urlopen(address) as answer:
            self._cookie = answer.headers["Set-Cookie"].partition(";")[0]
            self._token = re.search(r'data-token="([^"]+)"', answer.read().decode())[1]

    def read(self, path):
        request = urllib.request.Request(self.address + path, headers={"Cookie": self._cookie})
        with urllib.request.urlopen(request) as answer:
            return answer.read().decode()

    def drop(self, content, patient="", eye=""):
        field = 'Content-Disposition: form-data; name="{}"'
        parts = (
            ("patient", "", patient.encode()), ("eye", "", eye.encode()),
            ("photograph", '; filename="p"', content),
        )  # fmt: skip
        body = b"".join(
            f"--mark\r\n{field.format(name)}{more}\r\n\r\n".encode() + value + b"\r\n"
            for name, more, value in parts
        )
        headers = {
            "X-Token": self._token, "Cookie": self._cookie,
            "Content-Type": "multipart/form-data; boundary=mark",
        }  # fmt: skip
        request = urllib.request.Request(
            f"{self.address}photographs", body + b"--mark--\r\n", headers
        )
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def wait_for_state(self, count, state):
        deadline = time.monotonic() + PATIENCE_S
        while f"<span>{count} {state}</span>" not in self.read("list"):
            assert time.monotonic() < deadline, self.read("list")
            time.sleep(0.2)


def wrap_without_compression(size, noise=0):
    with Image.open(EYE) as image:
        pixels = np.asarray(image.convert("RGB").resize(size))
    if noise:
        pixels = pixels ^ np.random.default_rng(17).integers(0, noise, pixels.shape, np.uint8)
    return as_bytes(make_dataset(pixels, photometric="RGB", PatientID="88"))


def count_invocations(aws, name):
    return sum(one["Sum"] for one in aws.metric(name, "Invocations", "Sum"))


def test_dropped_photographs_get_the_grades_of_the_endpoint(local, tmp_path):
    aws, name = local
    folder = tmp_path / "records"
    before = count_invocations(aws, name)
    with serving(folder, "--endpoint", name, "--endpoint-url", aws.url) as page:
        for eye, photograph in (("right", WORST), ("left", EYE)):
            assert page.drop(photograph.read_bytes(), "77", eye) == {"new": True}
        assert page.drop(wrap_without_compression((800, 532))) == {"new": True}
        page.wait_for_state(2, "graded")
        assert "Proliferative DR" in page.read("studies/1")
    records = ClinicRecords.open(folder, names=PhotographNames.with_user_key())
    first, second = records.worklist.list_studies()
    records.close()
    assert second.eyes["left"]["grade"] is not None or second.eyes["left"]["ungradable_reasons"]
    mine = InferenceService.load(box_artifact())
    for eye, photograph in (("right", WORST), ("left", EYE)):
        expected = mine.infer([photograph.read_bytes()])[0].prediction
        assert first.eyes[eye]["grade"] == expected.index
        assert first.eyes[eye]["probabilities"] == pytest.approx(expected.probabilities, abs=1e-3)
    # One request checks the endpoint when the page starts, and one grades each photograph.
    assert count_invocations(aws, name) - before == 4


def test_a_photograph_that_is_too_large_for_an_endpoint_is_sent_as_jpeg(local, tmp_path):
    aws, name = local
    folder = tmp_path / "records"
    large = wrap_without_compression((2400, 1594), noise=16)  # 7 MB as a PNG
    with serving(folder, "--endpoint", name, "--endpoint-url", aws.url) as page:
        assert page.drop(large) == {"new": True}
        page.wait_for_state(1, "graded")
    records = ClinicRecords.open(folder, names=PhotographNames.with_user_key())
    (study,) = records.worklist.list_studies()
    records.close()
    (expected,) = grade_dicom_file(InferenceService.load(box_artifact()), large)
    assert study.eyes["left"]["probabilities"] == pytest.approx(
        expected.prediction.probabilities, abs=0.02
    )


def test_what_no_endpoint_takes_is_refused_with_its_size(monkeypatch):
    monkeypatch.setattr("drdeploy.clinic.page.endpoint.BODY_BYTES_MAX", 1000)
    with pytest.raises(PredictionFailed, match="bytes as a JPEG, and an endpoint takes at most"):
        _make_body(EYE.read_bytes())


def test_an_endpoint_that_is_gone_fails_the_study_with_the_reason(local, tmp_path):
    aws, name = local
    folder = tmp_path / "records"
    options = ("--endpoint", name, "--endpoint-url", aws.url)
    with serving(folder, *options) as page:
        aws.delete(name)
        page.drop(WORST.read_bytes(), "77", "right")
        page.wait_for_state(1, "failed")
        assert f"Endpoint {name} of account 123456789012 not found" in page.read("studies/1")
    refused = CliRunner().invoke(cli, ["serve", str(folder), "--port", "0", *options])
    assert isinstance(refused.exception, EndpointError)
    assert "not found" in str(refused.exception)
