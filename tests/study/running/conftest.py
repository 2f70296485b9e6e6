"""An in-memory place to run trials, with a clock of its own."""

import json
import threading
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import HealthCheck, settings

from drdeploy.errors import EndpointError, EndpointFailed
from drdeploy.grader.artifacts import ModelManifest
from drdeploy.hosting.sagemaker import Clock, Datapoint, Invocation
from drdeploy.study.design.plan import make_plan
from drdeploy.study.design.study import Study
from drdeploy.study.measurements.journal import Journal
from drdeploy.study.running.models import TrialArtifact, artifact_key_of_trial
from drdeploy.study.running.photographs import Photograph, PhotographSet
from drdeploy.study.running.runner import Runner, TrialInputs
from drdeploy.study.running.target import Target

# How fast an example runs says nothing on a machine that others use too.
settings.register_profile(
    "patient", deadline=None, suppress_health_check=[HealthCheck.too_slow], max_examples=60
)
settings.load_profile("patient")

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)


class FakeTime:
    """A clock that only sleeping and serving advance."""

    def __init__(self):
        self.seconds = 0.0

    def sleep(self, duration_s):
        self.seconds += duration_s

    def clock(self):
        return Clock(
            monotonic=lambda: self.seconds,
            now=lambda: BEGIN + timedelta(seconds=self.seconds),
            sleep=self.sleep,
        )


class FakeHosting:
    """Endpoints that scale to zero, without any of SageMaker.

    ``script`` says what becomes of the n-th request to an endpoint: an outcome, or an
    exception to raise.
    """

    def __init__(self, time, *, idle_s=10.0, cold_s=2.0, warm_s=0.1):
        self.time = time
        self.idle_s, self.cold_s, self.warm_s = idle_s, cold_s, warm_s
        self.endpoints = {}
        self.deployments = []
        self.setup_times = []
        self.sent = []
        self.script = {}
        self.ungradable = set()
        self.refuse = {}
        self.is_gone = False
        self.lock = threading.Lock()

    def upload_artifact(self, archive, *, bucket):
        return f"s3://{bucket}/{archive.name}"

    @contextmanager
    def deployed(self, deployment, *, timeout_s):
        self.deployments.append(deployment)
        if deployment.name in self.refuse:
            raise EndpointFailed(self.refuse[deployment.name], where=deployment.name)
        self.endpoints[deployment.name] = {"answered": None, "invocation": 0}
        try:
            yield deployment
        finally:
            del self.endpoints[deployment.name]

    def delete(self, name):
        self.endpoints.pop(name, None)

    def exists(self, name):
        if self.is_gone:
            raise EndpointError("Nobody answers")
        return name in self.endpoints

    def metric(self, name, metric, *, start, end, period_s):
        return tuple(point for point in self.setup_times if start <= point.start <= end)

    def invoke(self, name, body, *, content_type):
        with self.lock:
            self.sent.append(body)
            scripted = self.script.pop(len(self.sent), "ok")
            started_at, start = self.time.clock().now(), self.time.seconds
            if isinstance(scripted, BaseException):
                raise scripted
            endpoint = self.endpoints[name]
            self._serve(endpoint)
            status, outcome = scripted if isinstance(scripted, tuple) else (200, scripted)
            return Invocation(
                outcome=outcome,
                status=status,
                error="" if outcome == "ok" else outcome,
                body=self._answer(endpoint) if outcome == "ok" else b"",
                content_type="application/json",
                payload_bytes=len(body),
                started_at=started_at,
                latency_s=self.time.seconds - start,
            )

    def _serve(self, endpoint):
        last = endpoint["answered"]
        if last is None or self.time.seconds - last >= self.idle_s:
            endpoint["invocation"] = 0
            second = self.time.clock().now().replace(microsecond=0)
            self.setup_times.append(Datapoint(second, 1.5e6, 1))
            self.time.sleep(self.cold_s)
        else:
            self.time.sleep(self.warm_s)
        endpoint["invocation"] += 1
        endpoint["answered"] = self.time.seconds

    def _answer(self, endpoint):
        return json.dumps(
            {
                "gradable": len(self.sent) not in self.ungradable,
                "requestLatency": 0.05,
                "predictionLatency": 0.01,
                "grade": 2,
                "label": "Moderate NPDR",
                "timing": {"decode_s": 0.005, "transform_s": 0.002, "predict_s": 0.01},
                "model": {"digest": "abc"},
                "container": {"id": "c1", "invocation": endpoint["invocation"]},
            }
        ).encode()


class Listener:
    """Hears how a run goes."""

    def __init__(self):
        self.rows = []
        self.errors = {}
        self.notes = []

    def trial_started(self, trial, missing):
        pass

    def row_recorded(self, trial, measurement):
        self.rows.append(measurement)

    def trial_ended(self, trial, error):
        if error:
            self.errors[trial.id] = str(error)

    def note(self, text):
        self.notes.append(text)


STUDY = """
title = "small"
seed = 7
[models.mobilenet]
architecture = "MobileNet"
[images.lean]
tag = "drdeploy:lean"
profile = "lean"
"""

BLOCK = """
[[trials]]
models = ["mobilenet"]
images = ["lean"]
endpoints = [{endpoint}]
scenarios = [{scenario}]
"""

SERVERLESS = '{kind = "serverless", memory_mb = 1024}'
PHOTOGRAPHS = tuple(Photograph(f"{n}.jpg", bytes([n]), "image/jpeg") for n in range(4))


@pytest.fixture
def plan_with(tmp_path):
    def plan(*scenarios, endpoint=SERVERLESS):
        path = tmp_path / "small.toml"
        blocks = [BLOCK.format(endpoint=endpoint, scenario=scenario) for scenario in scenarios]
        path.write_text(STUDY + "".join(blocks))
        return make_plan(Study.load(path))

    return plan


@pytest.fixture
def fake_time():
    return FakeTime()


@pytest.fixture
def hosting(fake_time):
    return FakeHosting(fake_time)


@pytest.fixture
def listener():
    return Listener()


@pytest.fixture
def runner_for(tmp_path, hosting, fake_time, listener):
    """A function that makes a runner of a plan; it writes to ``tmp_path``."""

    def make(plan, journal, *, run_id="r1", clock=None, seed=7):
        manifest = ModelManifest(
            name="mobilenet",
            architecture="MobileNet",
            model_format="onnx",
            entry="model.onnx",
            weights="random",
        )
        artifact = TrialArtifact(tmp_path / "mobilenet.tar.gz", manifest, "0" * 64)
        artifacts = {artifact_key_of_trial(trial): artifact for trial in plan.trials}
        target = Target(
            hosting=hosting,
            platform="local",
            isolation="process",
            bucket="b",
            role_arn="arn",
            metrics_period_s=1,
            metrics_delay_s=0.0,
            hosting_timeout_s=60.0,
            facts={},
        )
        return Runner(
            plan=plan,
            target=target,
            inputs=TrialInputs(artifacts, PhotographSet(PHOTOGRAPHS, "made up"), seed),
            journal=journal,
            run_id=run_id,
            progress=listener,
            clock=clock or fake_time.clock(),
        )

    return make


@pytest.fixture
def run(tmp_path, runner_for):
    """Run a plan and return all its rows so far."""

    def run_plan(plan, **options):
        with Journal(tmp_path / "measurements.csv") as journal:
            runner_for(plan, journal, **options).measure_missing_rows()
            return journal.read_rows()

    return run_plan
