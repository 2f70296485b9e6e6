"""What a request may ask of this machine is bounded, and is refused above the bound."""

import contextlib
import shutil
import socket
import threading
from collections import Counter
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from botocore.exceptions import ClientError
from local_aws import client, until

from drdeploy.hosting.local.api import simulated_aws
from drdeploy.hosting.local.api.asynchronous_invocations import AsynchronousInvocations
from drdeploy.hosting.local.api.simulated_aws import SimulatedAws
from drdeploy.hosting.local.asynchronous_inference import dispatcher
from drdeploy.hosting.local.asynchronous_inference.dispatcher import RequestDispatcher
from drdeploy.hosting.local.asynchronous_inference.processing import RequestProcessor
from drdeploy.hosting.local.asynchronous_inference.request_queue import QueuedRequest, RequestQueue
from drdeploy.hosting.local.endpoints.pool import WorkerNotReady
from drdeploy.hosting.local.endpoints.real_time_pool import RealTimePool
from drdeploy.hosting.local.endpoints.worker import InstanceWorker
from drdeploy.hosting.local.inference_components.component import InferenceComponent
from drdeploy.hosting.sagemaker import Clock, api_limits


def test_more_instances_or_copies_than_the_service_runs_are_refused(aws):
    name = aws.endpoint(InstanceType="ml.m5.large", InitialInstanceCount=1)
    scaling = client("application-autoscaling", aws.url)
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{name}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    change = {"VariantName": "AllTraffic", "DesiredInstanceCount": 101}
    with pytest.raises(ClientError, match=r"DesiredInstanceCount .* \(101\) must not exceed"):
        aws.sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=name, DesiredWeightsAndCapacities=[change]
        )
    with pytest.raises(ClientError, match=r"InitialInstanceCount .* \(101\) must not exceed 100"):
        aws.config(name, InstanceType="ml.m5.large", InitialInstanceCount=101)
    with pytest.raises(ClientError, match=r"MaxCapacity \(101\) must not exceed 100"):
        scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=101)
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=100)
    bounds = {"MinCapacity": 101, "MaxCapacity": 101}
    with pytest.raises(ClientError, match=r"MinCapacity \(101\) must not exceed 100"):
        scaling.put_scheduled_action(
            **target,
            ScheduledActionName="many",
            Schedule="rate(1 day)",
            ScalableTargetAction=bounds,
        )


def test_a_change_of_copies_that_breaks_leaves_the_component_in_service():
    def break_down(_: int) -> None:
        raise RuntimeError("can't start new thread")

    deployment = SimpleNamespace(set_copy_count=break_down)
    place = SimpleNamespace(endpoint="e", variant={"VariantName": "v"})
    component = InferenceComponent("c", "c", "e", place=place, deployment=deployment, copies=1)
    component.status = "InService"
    component.change_copy_count(2)
    until(lambda: component.status == "InService")
    assert (component.copy_count, "unknown error" in component.failure_reason) == (1, True)


def test_a_subscriber_that_does_not_answer_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(simulated_aws, "SUBSCRIBER_TIMEOUT_S", 0.2)
    SimulatedAws().import_moto()
    simulated_aws._limit_wait_for_subscribers()
    from moto.sns.models import sns_backends

    sns = sns_backends["123456789012"]["us-east-1"]
    topic = sns.create_topic("silent")
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"http://127.0.0.1:{silent.getsockname()[1]}/"
        sns.subscribe(topic.arn, address, "http")
        with pytest.raises(OSError, match="cannot be delivered"):
            SimulatedAws().publish_notification(topic.arn, "done")
    monkeypatch.undo()
    simulated_aws._limit_wait_for_subscribers()


def make_queued(number, **changes):
    members = {
        "number": number,
        "run": "run",
        "inference_id": f"r{number}",
        "received_s": 0.0,
        "input_location": "s3://b/in",
        "headers": {},
        "output_location": "s3://b/out",
        "failure_location": "s3://b/failed",
        "time_to_live_s": 60.0,
        "timeout_s": 1.0,
    }
    return QueuedRequest(**{**members, **changes})


class LargeStore:
    """S3 with one object that is too large, and that nobody may read."""

    def measure_object(self, uri):
        return api_limits.ASYNCHRONOUS_PAYLOAD_BYTES + 1

    def read_object(self, uri):
        raise AssertionError("a large object was read")


def test_an_input_that_is_too_large_is_measured_and_not_read(tmp_path):
    store = LargeStore()
    invocations = AsynchronousInvocations(None, None, store, Clock())
    assert invocations._copy_input_from_s3("s3://b/in") is None
    processor = RequestProcessor("e", "run", store, Clock())
    variant = SimpleNamespace(name="v", pool=SimpleNamespace(return_worker=lambda *_, **__: None))
    outcome, _ = processor.process_request(
        make_queued(1), RequestQueue(tmp_path), SimpleNamespace(region="r"), variant, None
    )
    assert "and at most" in outcome.failure_reason


def test_a_queue_leaves_room_on_the_disk(tmp_path, monkeypatch):
    queue = RequestQueue(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=2**30 + 4))
    queue.add_request(make_queued(1), b"1234")
    with pytest.raises(OSError, match="less than 1 GiB would stay free"):
        queue.add_request(make_queued(2), b"12345")
    assert queue.count_waiting() == 1


def test_inputs_without_a_request_go_and_a_finished_request_ends_though_its_file_stays(tmp_path):
    (tmp_path / "7.input").write_bytes(b"photograph")
    queue = RequestQueue(tmp_path)
    assert not (tmp_path / "7.input").exists()
    request = make_queued(1)
    queue.add_request(request, b"1")
    assert queue.take_request() == request
    record = (tmp_path / request.file_name).with_suffix(".json")
    record.unlink()
    record.mkdir()  # which unlink refuses
    queue.finish_request(request)
    assert queue.measure_backlog(0.0).requests == 0


class Expiring:
    """Processes expired requests: the first one hangs, the second one fails once."""

    def __init__(self, gate):
        self.gate = gate
        self.tries = Counter()

    def make_expired_outcome(self, request, settings, variant):
        self.tries[request.number] += 1
        if request.number == 1:
            self.gate.wait(600)
        elif self.tries[request.number] == 1:
            raise RuntimeError("something unexpected")
        return SimpleNamespace(at=datetime.now(UTC)), None

    def store_result(self, request, settings, outcome, response):
        return outcome


def test_an_expired_request_that_hangs_or_fails_holds_up_no_other(tmp_path, monkeypatch):
    monkeypatch.setattr(dispatcher, "RETRY_AFTER_S", 0.05)
    monkeypatch.setattr(dispatcher, "EXPIRY_CHECK_S", 0.05)
    gate, finished = threading.Event(), []
    deployment = SimpleNamespace(asynchronous=object(), variants=(SimpleNamespace(name="v"),))
    endpoint = SimpleNamespace(
        name="e", hold_deployment_in_service=lambda: contextlib.nullcontext(deployment)
    )
    queue = RequestQueue(tmp_path)
    for number in (1, 2):
        queue.add_request(make_queued(number), None)
    monkeypatch.setattr(queue, "count_waiting", lambda: 0)  # nothing is processed
    processor = Expiring(gate)
    running = RequestDispatcher(endpoint, queue, processor, finished.append, Clock())
    try:
        until(lambda: len(finished) == 1)
        assert processor.tries == {1: 1, 2: 2}
        gate.set()
        until(lambda: len(finished) == 2)
    finally:
        gate.set()
        running.stop()


def test_a_worker_has_no_more_requests_than_it_may(monkeypatch):
    worker = InstanceWorker(SimpleNamespace(), 0.0, 0.0, SimpleNamespace())
    monkeypatch.setattr(InstanceWorker, "is_usable", lambda _: True)
    pool = RealTimePool(1, launch=lambda: worker, retire=lambda _: None)
    pool.start_first_workers()
    first = pool.lease_worker(0.0, most=2)
    pool.lease_worker(0.0, most=2)
    with pytest.raises(WorkerNotReady):
        pool.lease_worker(0.01, most=2)
    threading.Timer(0.05, lambda: pool.return_worker(first, broken=False)).start()
    assert pool.lease_worker(60.0, most=2).worker is worker
