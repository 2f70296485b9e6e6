"""An endpoint's life cycle: cold starts, scale to zero, failures, pinning, updates, deletion."""

import os
import signal
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from botocore.exceptions import ClientError, WaiterError
from local_aws import FAKE_SERVER, ROLE, Aws, archive, until

from drdeploy.errors import InvalidInput
from drdeploy.hosting.container_engine.ports import find_free_port
from drdeploy.hosting.local import LocalService, ServiceOptions
from drdeploy.hosting.local.api.simulated_aws import SimulatedAws
from drdeploy.hosting.local.http_server import HttpServer, ServiceResponse

SERVERLESS = {"MemorySizeInMB": 1024, "MaxConcurrency": 2}
REAL_TIME = {"InstanceType": "ml.m5.large", "InitialInstanceCount": 1}
IDLE_S = 0.5


@pytest.fixture(scope="module")
def fleeting():
    """A service that stops an idle instance after half a second."""
    options = ServiceOptions(idle_s=IDLE_S, trial_start=False)
    with LocalService(isolation="process", options=options, server_command=FAKE_SERVER) as own:
        yield Aws.at(own.url)


def is_running(pid):
    return Path(f"/proc/{pid}").exists()


def invoke_until_served(aws, name, attempts=2):
    """The answer, and how many ModelErrors came before it."""
    for errors in range(attempts):
        try:
            return aws.invoke(name), errors
        except aws.runtime.exceptions.ModelError:
            continue
    pytest.fail("the endpoint did not recover")


def test_nothing_runs_before_the_first_request(aws, service):
    name = aws.endpoint()
    assert processes_of(service, name) == []
    pid = aws.invoke(name)["pid"]
    assert processes_of(service, name) == [pid]


def test_a_warm_instance_is_used_again(aws):
    name = aws.endpoint()
    first, second = aws.invoke(name), aws.invoke(name)
    assert second["pid"] == first["pid"]
    assert second["invocation"] == 2


def test_an_idle_instance_goes_and_the_next_request_is_cold(fleeting):
    name = fleeting.endpoint()
    first = fleeting.invoke(name)
    until(lambda: not is_running(first["pid"]))
    second = fleeting.invoke(name)
    assert second["invocation"] == 1
    assert second["pid"] != first["pid"]


def test_a_request_that_kills_the_container_is_a_model_error_and_the_next_is_served(aws):
    name = aws.endpoint()
    with pytest.raises(ClientError) as caught:
        aws.invoke(name, b"!die")
    assert caught.value.response["Error"]["Code"] == "ModelError"
    assert "ended before it answered" in caught.value.response["OriginalMessage"]
    assert aws.invoke(name)["invocation"] == 1


@pytest.mark.parametrize("kind", [{"ServerlessConfig": SERVERLESS}, REAL_TIME], ids=["s", "r"])
def test_kill_9_between_calls_costs_one_model_error_at_most(aws, kind):
    name = aws.endpoint(**kind)
    os.kill(aws.invoke(name)["pid"], signal.SIGKILL)
    answer, errors = invoke_until_served(aws, name)
    assert answer["invocation"] == 1
    assert errors <= 1


def test_an_instance_that_runs_out_of_memory_is_replaced():
    options = ServiceOptions(trial_start=False, mb_per_vcpu=256)
    with LocalService(isolation="process", options=options, server_command=FAKE_SERVER) as own:
        if "cgroup" not in own.isolation:
            pytest.skip("nothing limits memory here")
        aws = Aws.at(own.url)
        name = aws.endpoint()
        with pytest.raises(ClientError) as caught:
            aws.invoke(name, b"!eat 1100")
        assert caught.value.response["Error"]["Code"] == "ModelError"
        assert "ran out of memory" in caught.value.response["OriginalMessage"]
        assert aws.invoke(name)["invocation"] == 1


def test_provisioned_instances_run_before_any_request(aws, service):
    name = aws.endpoint(ServerlessConfig=SERVERLESS | {"ProvisionedConcurrency": 1})
    (pid,) = processes_of(service, name)
    answer = aws.invoke(name)
    assert (answer["pid"], answer["invocation"]) == (pid, 1)


def test_provisioned_instances_stay_when_idle(fleeting):
    name = fleeting.endpoint(ServerlessConfig=SERVERLESS | {"ProvisionedConcurrency": 1})
    first = fleeting.invoke(name)
    time.sleep(2 * IDLE_S)
    assert fleeting.invoke(name)["pid"] == first["pid"]


def test_a_dead_provisioned_instance_is_replaced_without_a_request(aws, service):
    name = aws.endpoint(ServerlessConfig=SERVERLESS | {"ProvisionedConcurrency": 1})
    pid = aws.invoke(name)["pid"]
    os.kill(pid, signal.SIGKILL)
    until(lambda: set(processes_of(service, name)) - {pid})
    assert aws.invoke(name)["invocation"] == 1
    assert aws.metric(name, "ModelSetupTime") == []


def processes_of(service, name):
    """Process ids of the endpoint's running instances."""
    planes = service._router.list_control_planes()
    (endpoint,) = filter(None, (plane.endpoints.find_exact(name) for plane in planes))
    (variant,) = endpoint._deployment.variants
    return [worker.instance.process.pid for worker in variant.pool.workers()]


def test_real_time_instances_share_the_calls(aws, hold):
    name = aws.endpoint(InstanceType="ml.m5.large", InitialInstanceCount=2)
    with ThreadPoolExecutor(2) as executor:
        calls = [executor.submit(aws.invoke, name, hold.body) for _ in range(2)]
        hold.wait_for(2)
        hold.release()
    assert len({call.result()["pid"] for call in calls}) == 2
    described = aws.sagemaker.describe_endpoint(EndpointName=name)["ProductionVariants"][0]
    assert described["CurrentInstanceCount"] == 2


def test_instance_counts_can_be_changed(aws):
    name = aws.endpoint(**REAL_TIME)

    def count():
        described = aws.sagemaker.describe_endpoint(EndpointName=name)
        return described["ProductionVariants"][0]["CurrentInstanceCount"]

    for desired in (2, 1):
        aws.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=name,
            DesiredWeightsAndCapacities=[
                {"VariantName": "AllTraffic", "DesiredInstanceCount": desired}
            ],
        )
        until(lambda desired=desired: count() == desired)


def test_an_endpoint_keeps_the_artifact_it_was_created_with(fleeting):
    aws = fleeting
    url = aws.put_archive(archive("before"), "pinned.tar.gz")
    name = aws.endpoint(url=url)
    aws.put_archive(archive("after"), "pinned.tar.gz")
    first = aws.invoke(name)
    assert "1/before" in first["model_files"]
    aws.s3.delete_object(Bucket="models", Key="pinned.tar.gz")
    until(lambda: not is_running(first["pid"]))
    cold = aws.invoke(name)
    assert cold["invocation"] == 1
    assert "1/before" in cold["model_files"]


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (
            {"InstanceType": "ml.inf2.xlarge", "InitialInstanceCount": 1},
            "The vCPUs and the memory of ml.inf2.xlarge are not known",
        ),
        ({"environment": {"SAGEMAKER_FAKE_FAILS": "1"}, **REAL_TIME}, "the model cannot be loaded"),
    ],
    ids=["instance type", "server"],
)
def test_an_endpoint_that_cannot_be_served_fails_with_its_reason(aws, arguments, reason):
    names = []
    original = aws.name

    def remembered():
        names.append(original())
        return names[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(aws, "name", remembered)
        with pytest.raises(WaiterError):
            aws.endpoint(**arguments)
    assert reason in aws.failure_reason(names[0])
    aws.delete(names[0])


def test_an_archive_that_is_deleted_after_the_model_was_created_fails_the_endpoint(aws):
    name = aws.name()
    aws.model(name, url=aws.put_archive(key="deleted.tar.gz"))
    aws.config(name)
    aws.s3.delete_object(Bucket="models", Key="deleted.tar.gz")
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name, "Failed")
    assert "Please ensure that there is an object" in aws.failure_reason(name)


def test_a_file_that_is_not_an_archive_fails_the_endpoint(aws):
    name = aws.name()
    aws.model(name, url=aws.put_archive(b"no archive", "broken.tar.gz"))
    aws.config(name)
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name, "Failed")
    assert "Failed to extract model data archive" in aws.failure_reason(name)


def new_config(aws, *, environment=None, **variant):
    name = aws.name()
    aws.model(name, **(environment or {}))
    aws.config(name, **variant)
    return name


def test_an_update_never_fails_a_call(aws, tmp_path):
    name = aws.endpoint(environment={"SAGEMAKER_COLOUR": "blue"}, **REAL_TIME)
    start = {"SAGEMAKER_FAKE_START_AFTER": str(tmp_path / "go")}
    green = new_config(aws, environment={"SAGEMAKER_COLOUR": "green", **start}, **REAL_TIME)
    colours, over = [], threading.Event()

    def call_on():
        while not over.is_set():
            colours.append(aws.invoke(name)["environment"]["SAGEMAKER_COLOUR"])

    with ThreadPoolExecutor(2) as executor:
        callers = [executor.submit(call_on) for _ in range(2)]
        aws.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=green)
        assert aws.status(name) == "Updating"
        until(lambda: colours)
        (tmp_path / "go").touch()
        aws.wait(name)
        after = aws.invoke(name)["environment"]["SAGEMAKER_COLOUR"]
        over.set()
        for caller in callers:
            caller.result()
    assert after == "green"
    assert colours[0] == "blue"
    assert aws.sagemaker.describe_endpoint(EndpointName=name)["EndpointConfigName"] == green


def test_the_old_instances_are_stopped_after_an_update(aws):
    name = aws.endpoint(**REAL_TIME)
    old = aws.invoke(name)["pid"]
    aws.sagemaker.update_endpoint(
        EndpointName=name, EndpointConfigName=new_config(aws, **REAL_TIME)
    )
    until(lambda: not is_running(old))


def test_a_failed_update_leaves_the_old_deployment_in_service(aws):
    name = aws.endpoint(**REAL_TIME)
    pid = aws.invoke(name)["pid"]
    broken = new_config(aws, environment={"SAGEMAKER_FAKE_FAILS": "1"}, **REAL_TIME)
    aws.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=broken)
    aws.wait(name)
    assert "the model cannot be loaded" in aws.failure_reason(name)
    assert aws.invoke(name)["pid"] == pid


def test_a_second_update_has_to_wait(aws, tmp_path):
    name = aws.endpoint()
    start = {"SAGEMAKER_FAKE_START_AFTER": str(tmp_path / "go")}
    slow = new_config(aws, environment=start, **REAL_TIME)
    aws.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=slow)
    with pytest.raises(ClientError) as caught:
        aws.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=slow)
    assert caught.value.response["Error"]["Code"] == "ValidationException"
    assert "in-progress endpoint" in caught.value.response["Error"]["Message"]
    (tmp_path / "go").touch()
    aws.wait(name)


def test_a_serverless_endpoint_can_become_real_time_but_not_the_reverse(aws):
    name = aws.endpoint()
    aws.sagemaker.update_endpoint(
        EndpointName=name, EndpointConfigName=new_config(aws, **REAL_TIME)
    )
    aws.wait(name)
    with pytest.raises(ClientError) as caught:
        aws.sagemaker.update_endpoint(EndpointName=name, EndpointConfigName=new_config(aws))
    assert caught.value.response["Error"]["Code"] == "ValidationException"


def test_deleting_stops_the_instances(aws):
    name = aws.endpoint(**REAL_TIME)
    pid = aws.invoke(name)["pid"]
    aws.delete(name)
    assert not is_running(pid)
    with pytest.raises(ClientError, match="not found"):
        aws.invoke(name)


def test_deleting_while_it_is_created_leaves_no_instance(aws, service, tmp_path):
    before = set(service._fleet._live)
    name = aws.name()
    aws.model(name, SAGEMAKER_FAKE_START_AFTER=str(tmp_path / "go"))
    aws.config(name, **REAL_TIME)
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    until(lambda: service._fleet._live - before)
    (started,) = service._fleet._live - before
    aws.delete(name)
    (tmp_path / "go").touch()
    until(lambda: started not in service._fleet._live)
    assert not started.is_alive()


def test_a_deleted_name_can_be_used_again(aws):
    name = aws.endpoint()
    aws.delete(name)
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name)


@pytest.fixture(scope="module")
def careful():
    """A service that starts a serverless endpoint's container once when it is created."""
    with LocalService(isolation="process", server_command=FAKE_SERVER) as own:
        yield own


def test_a_trial_start_leaves_nothing_and_the_first_request_is_cold(careful):
    aws = Aws.at(careful.url)
    name = aws.endpoint()
    assert careful.status()["instances"] == 0
    assert aws.invoke(name)["invocation"] == 1
    assert aws.metric(name, "ModelSetupTime")[0]["SampleCount"] == 1


def test_a_trial_start_fails_an_endpoint_whose_container_does_not_start(careful):
    aws = Aws.at(careful.url)
    before = careful.status()["instances"]
    name = aws.name()
    aws.model(name, SAGEMAKER_FAKE_FAILS="1")
    aws.config(name)
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name, "Failed")
    assert "the model cannot be loaded" in aws.failure_reason(name)
    assert careful.status()["instances"] == before


def make_model_of_files(aws, name, uri, kind="S3Prefix", compression="None", image="drdeploy:lean"):
    source = {"S3Uri": uri, "S3DataType": kind, "CompressionType": compression}
    aws.sagemaker.create_model(
        ModelName=name,
        ExecutionRoleArn=ROLE,
        PrimaryContainer={"Image": image, "ModelDataSource": {"S3DataSource": source}},
    )


def test_uncompressed_files_below_a_prefix_are_served_and_what_is_no_file_is_refused(aws):
    name = aws.name()
    aws.s3.create_bucket(Bucket="models")
    for key, body in (("1/saved_model.pb", b"one"), ("1/variables/index", b"x")):
        aws.s3.put_object(Bucket="models", Key=f"{name}/{key}", Body=body)
    make_model_of_files(aws, name, f"s3://models/{name}/")
    aws.config(name, InstanceType="ml.c5.large", InitialInstanceCount=1)
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name)
    assert aws.invoke(name)["model_files"] == [
        *("1", "1/saved_model.pb", "1/variables", "1/variables/index")
    ]
    aws.delete(name)

    # What S3's console makes of a folder is no file, on AWS either.
    aws.s3.put_object(Bucket="models", Key=f"{name}/folder/", Body=b"")
    aws.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
    aws.wait(name, "Failed")
    assert 'The object "folder/" below the S3Uri' in aws.failure_reason(name)
    aws.delete(name)

    for uri, kind, compression, message in (
        (f"s3://models/{name}", "S3Prefix", "None", "must end with a slash"),
        (f"s3://models/{name}/", "S3Prefix", "Gzip", "S3DataType must be S3Object"),
        (f"s3://models/{name}-nothing/", "S3Prefix", "None", "Could not find model data"),
    ):
        with pytest.raises(ClientError, match=message):
            make_model_of_files(aws, aws.name(), uri, kind, compression)


class IdleEngine:
    """A container engine that only counts how often it is closed."""

    closes = 0

    def close(self) -> None:
        self.closes += 1


def test_a_service_that_cannot_be_assembled_closes_what_it_opened(
    service, home, monkeypatch, tmp_path
):
    engine = IdleEngine()
    monkeypatch.setattr(
        "drdeploy.hosting.local.service._find_engine_for_isolation", lambda _: engine
    )
    taken = int(service.url.rpartition(":")[2])
    with pytest.raises(InvalidInput, match="cannot be used"):
        LocalService(taken)
    assert engine.closes == 1
    tmp_path.chmod(0o777)  # others may write to the folder of services
    monkeypatch.setenv("DRDEPLOY_LOCAL_HOME", str(tmp_path))
    port = find_free_port()
    with pytest.raises(InvalidInput, match="Other users may write"):
        LocalService(port)
    assert engine.closes == 2
    HttpServer(port, lambda _: ServiceResponse(200)).stop()  # the port is free


def test_a_service_that_cannot_start_removes_its_folder(home, monkeypatch):
    before = set(home.iterdir())
    starting = LocalService(isolation="process", server_command=FAKE_SERVER)

    def fail(_):
        raise OSError("No space left on device")

    monkeypatch.setattr(SimulatedAws, "import_moto", fail)
    with pytest.raises(OSError, match="No space left"):
        starting.start()
    assert set(home.iterdir()) == before
