"""With a container engine, an endpoint runs ``IMAGE serve`` within its limits."""

import json
import shutil
import time

import pytest
from botocore.exceptions import ClientError
from local_aws import FAKE_SERVER, Aws, client, until
from photographs import photograph
from tiny_models import onnx_artifact

from drdeploy.hosting.container_engine import ContainerSpec, RunningContainer
from drdeploy.hosting.local import LocalService, ServiceOptions
from drdeploy.hosting.local.instances.service_folders import LABEL

pytestmark = pytest.mark.engine
IDLE_S = 4.0
PROVISIONED = {"MemorySizeInMB": 1024, "MaxConcurrency": 1, "ProvisionedConcurrency": 1}
"""A container that stays, however long a busy machine takes from one step to the next."""
FOREIGN = """
FROM drdeploy:lean
COPY fake_server.py /
ENV COLOUR={colour}
ENTRYPOINT ["python3", "/fake_server.py"]
"""


def label_of(service):
    """The label of this service's own containers; the engine may run others."""
    return f"{LABEL}={service._record.name}"


@pytest.fixture(scope="module")
def contained(engine, lean_image):
    options = ServiceOptions(idle_s=IDLE_S, trial_start=False)
    with LocalService(isolation="container", options=options) as service:
        yield service
    assert engine.list_container_ids(label_of(service)) == ()


@pytest.fixture(scope="module")
def aws(contained):
    return Aws.at(contained.url)


@pytest.fixture(scope="module")
def model_url(aws, tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny")
    onnx_artifact(folder)
    return aws.put_archive((folder / "model.tar.gz").read_bytes(), "tiny.tar.gz")


@pytest.fixture
def foreign(engine, lean_image, tmp_path):
    """Builds an image with another server than ours, each time under the same tag."""
    shutil.copy(FAKE_SERVER[-1], tmp_path / "fake_server.py")

    def build(colour="grey"):
        (tmp_path / "Dockerfile").write_text(FOREIGN.format(colour=colour))
        engine.build_image(tmp_path, "Dockerfile", "drdeploy-test:foreign", network="none")
        return "drdeploy-test:foreign"

    return build


def test_a_photograph_is_graded_in_a_container(aws, contained, engine, model_url):
    assert contained.isolation == "container"
    kept = aws.endpoint(url=model_url, ServerlessConfig=PROVISIONED)
    assert aws.invoke(kept, photograph())["container"]["invocation"] == 1
    assert len(engine.list_container_ids(label_of(contained))) == 1
    aws.delete(kept)
    name = aws.endpoint(url=model_url)
    assert aws.invoke(name, photograph())["container"]["invocation"] == 1
    until(lambda: not engine.list_container_ids(label_of(contained)))
    assert aws.invoke(name, photograph())["container"]["invocation"] == 1
    aws.delete(name)


def test_the_containers_memory_is_recorded(aws, model_url):
    name = aws.endpoint(url=model_url)
    aws.invoke(name, photograph())
    assert 0 < aws.metric(name, "MemoryUtilization")[0]["Average"] < 100
    aws.delete(name)


def test_the_use_and_the_lines_of_a_container_are_known(aws, foreign):
    real_time = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    name = aws.endpoint(image=foreign(), **real_time)
    namespace = "/aws/sagemaker/Endpoints"
    for metric in ("CPUUtilization", "MemoryUtilization", "DiskUtilization"):
        until(lambda metric=metric: aws.metric(name, metric, namespace=namespace))
        assert 0 < aws.metric(name, metric, namespace=namespace)[0]["Average"] < 400
    logs = client("logs", aws.url)
    group = f"{namespace}/{name}"

    def lines():
        return [one["message"] for one in logs.filter_log_events(logGroupName=group)["events"]]

    for place in range(3):
        aws.invoke(name, f"!print line {place}".encode())
        expected = [f"line {one}" for one in range(place + 1)]
        until(lambda expected=expected: lines() == expected)
    aws.invoke(name, b"!print last words")
    aws.delete(name)
    assert lines()[-1] == "last words"


def test_the_engine_reports_the_end_of_a_container_and_is_not_asked(
    aws, contained, engine, foreign, monkeypatch
):
    real_time = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
    name = aws.endpoint(image=foreign(), **real_time)
    asked = []
    inspect = RunningContainer.exit_state

    def count(container):
        asked.append(container.id)
        return inspect(container)

    monkeypatch.setattr(RunningContainer, "exit_state", count)
    time.sleep(2.5)
    assert asked == []
    (container_id,) = engine.list_container_ids(label_of(contained))
    engine._api.kill(container_id, signal="SIGKILL")
    until(lambda: asked)
    until(lambda: set(engine.list_container_ids(label_of(contained))) - {container_id})
    aws.invoke(name)
    aws.delete(name)


def test_kill_9_of_the_container_costs_one_model_error_at_most(aws, contained, engine, model_url):
    name = aws.endpoint(url=model_url, ServerlessConfig=PROVISIONED)
    aws.invoke(name, photograph())
    (container_id,) = engine.list_container_ids(label_of(contained))
    engine._api.kill(container_id, signal="SIGKILL")
    errors = 0
    for _ in range(2):
        try:
            aws.invoke(name, photograph())
        except aws.runtime.exceptions.ModelError:
            errors += 1
    assert errors <= 1
    aws.delete(name)


def test_a_container_that_runs_out_of_memory_is_a_model_error_and_is_replaced(aws, foreign):
    name = aws.endpoint(image=foreign())
    assert aws.invoke(name)["invocation"] == 1
    with pytest.raises(aws.runtime.exceptions.ModelError) as caught:
        aws.invoke(name, b"!eat 1100")
    assert "ran out of memory" in caught.value.response["OriginalMessage"]
    assert aws.invoke(name)["invocation"] == 1
    aws.delete(name)


def test_an_endpoint_keeps_the_image_that_it_was_created_with(aws, contained, engine, foreign):
    name = aws.endpoint(image=foreign("blue"))
    assert aws.invoke(name)["environment"]["COLOUR"] == "blue"
    other = aws.endpoint(image=foreign("green"))
    assert aws.invoke(other)["environment"]["COLOUR"] == "green"
    until(lambda: not engine.list_container_ids(label_of(contained)))
    cold = aws.invoke(name)
    assert (cold["invocation"], cold["environment"]["COLOUR"]) == (1, "blue")
    aws.delete(name)
    aws.delete(other)


@pytest.mark.parametrize(
    ("image", "reason"),
    [
        ("no-such-image:1", "has no image no-such-image:1"),
        (f"123456789012.dkr.ecr.us-east-1.amazonaws.com/a@sha256:{'0' * 64}", "cannot be pulled"),
    ],
)
def test_a_model_with_an_absent_image_is_refused(aws, model_url, image, reason):
    with pytest.raises(ClientError) as caught:
        aws.model(aws.name(), image=image, url=model_url)
    error = caught.value.response["Error"]
    assert error["Code"] == "ValidationException"
    assert error["Message"].startswith(f"Requested image {image} not found. ")
    assert reason in error["Message"]


def test_an_image_is_found_under_its_name_without_the_registry(aws, model_url):
    name = aws.endpoint(
        image="123456789012.dkr.ecr.us-east-1.amazonaws.com/drdeploy:lean", url=model_url
    )
    described = aws.sagemaker.describe_endpoint(EndpointName=name)["ProductionVariants"][0]
    assert described["DeployedImages"][0]["ResolvedImage"].startswith("sha256:")
    aws.delete(name)


def test_the_next_service_removes_the_containers_of_a_killed_one(engine, lean_image, home):
    folder = home / "drdeploy-00000000"
    folder.mkdir()
    note = {"name": "drdeploy-00000000", "port": 1, "pid": 1, "began": "another boot/1"}
    (folder / "service.json").write_text(json.dumps(note))
    label = {LABEL: "drdeploy-00000000"}
    engine.start_container(
        ContainerSpec(lean_image, ("60",), entrypoint=("sleep",), port=None, labels=label)
    )
    LocalService(isolation="container").stop()
    assert engine.list_container_ids(f"{LABEL}=drdeploy-00000000") == ()
