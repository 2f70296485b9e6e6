"""Measure a long queue of asynchronous requests on one local instance.

Run ``python benchmarks/asynchronous_queue.py``. It sends 2,000 requests, which takes about a
quarter of an hour. ``--requests 300`` sends only 300 requests. The benchmark has two parts:

- Undisturbed: all requests are sent to an endpoint that has no instance yet. An alarm then starts
  one instance. Most requests are photographs. Some requests are meant to fail: they name an object
  that does not exist, or an object that is not a photograph, or they expire after a minute, which
  is before the instance has started. Each request must succeed or fail as intended. The metric
  ``ApproximateBacklogSize`` must equal the number of requests without a result.
- Interrupted: when half of the requests are answered, the local service is ended and then started
  again, once with SIGTERM and once with SIGKILL. Each request must be answered, either before or
  after the restart. A request may be answered twice only if the instance was working on it when the
  service ended.

In the second part, the local S3 loses all results when the service ends, so the results cannot be
counted. Instead, a web server subscribes to the SNS topic of successful results, and counts the
notifications.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

from drdeploy.grader.box import FOLDER, NAME
from drdeploy.hosting.container_engine.ports import find_free_port
from harness.local_service import (
    ROLE,
    make_client,
    make_home,
    running_service,
    small_photographs,
    start_service,
)
from harness.options import Options, parser_for, read_options
from harness.page import Page, Target, rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

REQUESTS = {False: 2_000, True: 300}
"""The number of requests of a normal and of a quick run."""
SMOKE_REQUESTS = 30
ENDPOINT = "queue"
BUCKET = "queue"
CONCURRENCY = 2
SENT_AT_ONCE = 4
TIME_TO_LIVE_S = 60
"""The shortest ``RequestTTLSeconds`` that SageMaker accepts (API reference,
``InvokeEndpointAsync``).
"""
LOOK_S = 1.0
TIMEOUT_S = 1800.0
ALARM_PERIODS = 2
BROKEN = b"no photograph"

INTRODUCTION = """
The benchmark fills the queue of one asynchronous endpoint.  Its only instance runs the lean profile
with the packaged MobileNet in int8, and processes two requests at a time.  The photographs have 320
pixels on a side.  Some requests are meant to fail: one in twenty expires after 60 seconds in the
queue, one in fifty names an input that does not exist, and one in fifty sends a file that is not a
photograph.  The endpoint scales to zero, and from zero to one instance, with policies like those of
the Terraform module `asynchronous-endpoint`, but with cooldowns of one second.
"""

ANSWERED, EXPIRED, ABSENT, REFUSED = "answered", "expired", "input is absent", "refused by model"


@dataclass
class Subscriber:
    """A web server that is notified of each result.

    Attributes:
        answered: The number of notifications for each inference id.
    """

    url: str
    answered: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class SentRequest:
    """A request that was sent, and how it should end: answered, or with a given kind of failure."""

    inference_id: str
    expected: str
    output: str
    failure: str


def main() -> int:
    """Run the benchmark, write its page of results, and print which targets are met."""
    parser = parser_for(__doc__)
    parser.add_argument("--requests", type=int, help="in the queue [2000; 300 if --quick]")
    given = read_options(parser)
    options = replace(given, budget=replace(given.budget, rounds=1))
    page = Page("asynchronous_queue", "A long asynchronous queue", INTRODUCTION, options)
    count = options.more.requests or (
        SMOKE_REQUESTS if options.is_smoke else REQUESTS[options.is_quick]
    )
    measure_whole_queue(page, count, options)
    for number in (signal.SIGTERM, signal.SIGKILL):
        measure_interrupted_queue(page, count // 2, number)
    return page.finish()


# -- uninterrupted -----------------------------------------------------------------------


def measure_whole_queue(page: Page, count: int, options: Options) -> None:
    """Send all requests while there is no instance, and watch the queue until it is empty."""
    with running_service("process") as service, subscriber() as listener:
        queue = Queue(service.url, listener)
        queue.create_endpoint()
        low, wake = queue.register_scaling()
        queue.raise_alarm(low, 0.0)
        wait_until(lambda: queue.count_instances() == 0, "the endpoint has scaled to zero")
        started = time.monotonic()
        ends = [expected_end(number) for number in range(count)]
        if options.is_smoke:  # the shortest time to live is a minute
            ends = [ANSWERED if end == EXPIRED else end for end in ends]
        sent = queue.send_all(ends)
        sent_s = time.monotonic() - started
        waiting = queue.read_backlog()
        page.text(f"{count} requests were queued in {sent_s:.0f} s while there was no instance.")
        page.targets.append(
            Target(
                "without an instance, the backlog metric is the number of queued requests",
                waiting == count, f"{waiting:g} of {count}",
            )
        )  # fmt: skip
        if options.is_smoke:
            queue.raise_alarm(wake, 1.0)  # its two periods are two minutes
        wait_until(lambda: queue.count_instances() == 1, "the alarm has woken the endpoint")
        woken_s = time.monotonic() - started
        differences = follow_queue(page, queue, sent, started)
        page.text(
            f"The first instance started {woken_s:.0f} s after the first request, and the queue "
            f"was empty after {time.monotonic() - started:.0f} s."
        )
        page.targets.append(
            Target(
                "the backlog metric is the number of requests without a result",
                not any(differences),
                f"differs in {sum(map(bool, differences))} of {len(differences)} comparisons",
            )
        )
        check_results(page, queue, sent)


def follow_queue(page: Page, queue: Queue, sent: list[SentRequest], started: float) -> list[float]:
    """Compare the backlog metric with the number of unfinished requests until the queue is empty.

    Returns:
        For each comparison, the difference between the metric and the number of requests without a
        result.
    """
    differences = []
    deadline = time.monotonic() + TIMEOUT_S
    while True:
        most = len(sent) - len(queue.list_results())
        metric = queue.read_backlog()
        least = len(sent) - len(queue.list_results())
        # A result is stored just before its request leaves the queue.
        differences.append(max(0.0, least - metric, metric - most - CONCURRENCY))
        page.rows.append(
            {
                "at_s": rounded(time.monotonic() - started),
                "backlog_metric": metric,
                "without_result_before": most,
                "without_result_after": least,
                "instances": queue.count_instances(),
            }
        )
        if not most and not metric:
            break
        if time.monotonic() > deadline:
            raise SystemExit(f"{most} requests have no result after {TIMEOUT_S:.0f} s")
        time.sleep(LOOK_S)
    page.line_plot(
        "backlog", "Requests in the queue", ("s", "requests"),
        [
            ("without a result", *columns_of(page, "without_result_after")),
            ("ApproximateBacklogSize", *columns_of(page, "backlog_metric")),
        ],
    )  # fmt: skip
    return differences


def columns_of(page: Page, name: str) -> tuple[list[float], list[float]]:
    """Return two columns of the page's rows: the times, and the column with the given name."""
    return [row["at_s"] for row in page.rows], [row[name] for row in page.rows]


def check_results(page: Page, queue: Queue, sent: list[SentRequest]) -> None:
    """Check that each request ended as expected, and that CloudWatch's metrics agree."""
    found = Counter((one.expected, queue.read_end(one)) for one in sent)
    expected = Counter(one.expected for one in sent)
    page.table(
        ("requests", "expected", "found"),
        [(number, *pair) for pair, number in sorted(found.items())],
    )
    page.targets.append(
        Target(
            "each request ends as it should",
            all(should == did for should, did in found),
            ", ".join(f"{number} {kind}" for kind, number in sorted(expected.items())),
        )
    )
    failed = len(sent) - expected[ANSWERED]
    should = {
        "ExpiredRequests": expected[EXPIRED],
        "InvocationFailures": failed,
        "InvocationsProcessed": len(sent) - expected[EXPIRED],
        "RequestDownloadFailures": expected[ABSENT],
    }
    counted = {name: queue.sum_metric(name) for name in should}
    page.targets.append(
        Target(
            "CloudWatch counts what happened", counted == should,
            ", ".join(f"{name} {value:g}" for name, value in counted.items()),
        )
    )  # fmt: skip


# -- interrupted -------------------------------------------------------------------------


def measure_interrupted_queue(page: Page, count: int, number: signal.Signals) -> None:
    """Restart the service when half of the requests are answered, and check that none is lost."""
    port = find_free_port()
    with make_home() as home, subscriber() as listener:
        service = start_service(home, port, "process")
        try:
            queue = Queue(service.url, listener)
            queue.create_endpoint()
            queue.scale(0)  # else half would be answered before all are sent
            sent = {one.inference_id for one in queue.send_all([ANSWERED] * count)}
            queue.scale(1)
            wait_until(lambda: len(listener.answered) >= count // 2, "half are answered")
        finally:
            service.end(number)
        before = set(listener.answered)
        left = read_queued_ids(home)
        listener.answered.clear()
        service = start_service(home, port, "process")
        try:
            queue = Queue(service.url, listener)
            queue.create_endpoint()
            wait_until(lambda: len(listener.answered) >= len(left), "the rest is answered")
            wait_until(lambda: not queue.read_backlog(), "the queue is empty")
        finally:
            service.end()
    after = listener.answered
    lost, again = sent - before - set(after), before & set(after)
    page.targets += [
        Target(
            f"{number.name} in the middle loses no request", not lost,
            f"{len(before)} of {count} answered before, {len(left)} on disk, {len(after)} after",
        ),
        Target(
            f"after {number.name}, exactly the requests on disk are processed",
            set(after) == left and set(after.values()) <= {1} and len(again) <= CONCURRENCY,
            f"{len(again)} were processed twice, because they were in progress",
        ),
    ]  # fmt: skip


def read_queued_ids(home: Path) -> set[str]:
    """Return the inference ids of the requests that the service has stored on the disk."""
    return {
        json.loads(path.read_text())["inference_id"]
        for path in home.glob("asynchronous-*/*/*/*.json")
    }


# -- parts -------------------------------------------------------------------------------


class Queue:
    """Creates an asynchronous endpoint on a local service, sends requests, and reads its state."""

    def __init__(self, url: str, listener: Subscriber) -> None:
        self._listener = listener
        self._s3 = make_client("s3", url)
        self._sagemaker = make_client("sagemaker", url)
        self._runtime = make_client("sagemaker-runtime", url)
        self._cloudwatch = make_client("cloudwatch", url)
        self._scaling = make_client("application-autoscaling", url)
        self._sns = make_client("sns", url)
        self._began = time.time()

    def create_endpoint(self) -> None:
        """Upload the photographs, and create the endpoint with an SNS topic for its results."""
        self._s3.create_bucket(Bucket=BUCKET)
        self._s3.upload_file(str(FOLDER / f"{NAME}-int8.tar.gz"), BUCKET, "model.tar.gz")
        for number, content in enumerate([*small_photographs(), BROKEN]):
            self._s3.put_object(Bucket=BUCKET, Key=f"in/{number}", Body=content)
        topic = self._sns.create_topic(Name="results")["TopicArn"]
        self._sns.subscribe(TopicArn=topic, Protocol="http", Endpoint=self._listener.url)
        container = {"Image": "drdeploy:lean", "ModelDataUrl": f"s3://{BUCKET}/model.tar.gz"}
        self._sagemaker.create_model(
            ModelName="m", ExecutionRoleArn=ROLE, PrimaryContainer=container
        )
        variant = {
            "VariantName": "AllTraffic", "ModelName": "m", "InstanceType": "ml.m5.large",
            "InitialInstanceCount": 1,
        }  # fmt: skip
        self._sagemaker.create_endpoint_config(
            EndpointConfigName="c",
            ProductionVariants=[variant],
            AsyncInferenceConfig={
                "ClientConfig": {"MaxConcurrentInvocationsPerInstance": CONCURRENCY},
                "OutputConfig": {
                    "S3OutputPath": f"s3://{BUCKET}/out",
                    "S3FailurePath": f"s3://{BUCKET}/failed",
                    "NotificationConfig": {"SuccessTopic": topic},
                },
            },
        )
        self._sagemaker.create_endpoint(EndpointName=ENDPOINT, EndpointConfigName="c")
        self._sagemaker.get_waiter("endpoint_in_service").wait(
            EndpointName=ENDPOINT, WaiterConfig={"Delay": 1, "MaxAttempts": 240}
        )

    def register_scaling(self) -> tuple[str, str]:
        """Set up scaling down to no instance and up again; return the names of the two alarms."""
        target = {
            "ServiceNamespace": "sagemaker",
            "ResourceId": f"endpoint/{ENDPOINT}/variant/AllTraffic",
            "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
        }
        self._scaling.register_scalable_target(**target, MinCapacity=0, MaxCapacity=1)
        dimensions = [{"Name": "EndpointName", "Value": ENDPOINT}]
        tracking = self._scaling.put_scaling_policy(
            **target,
            PolicyName="backlog",
            PolicyType="TargetTrackingScaling",
            TargetTrackingScalingPolicyConfiguration={
                "TargetValue": 5.0,
                "ScaleInCooldown": 1,
                "ScaleOutCooldown": 1,
                "CustomizedMetricSpecification": {
                    "MetricName": "ApproximateBacklogSizePerInstance",
                    "Namespace": "AWS/SageMaker",
                    "Dimensions": dimensions,
                    "Statistic": "Average",
                },
            },
        )
        wake = self._scaling.put_scaling_policy(
            **target,
            PolicyName="wake",
            PolicyType="StepScaling",
            StepScalingPolicyConfiguration={
                "AdjustmentType": "ChangeInCapacity",
                "StepAdjustments": [{"MetricIntervalLowerBound": 0, "ScalingAdjustment": 1}],
            },
        )
        self._cloudwatch.put_metric_alarm(
            AlarmName="wake",
            MetricName="HasBacklogWithoutCapacity",
            Namespace="AWS/SageMaker",
            Dimensions=dimensions,
            Statistic="Average",
            Period=60,
            EvaluationPeriods=ALARM_PERIODS,
            Threshold=1,
            ComparisonOperator="GreaterThanOrEqualToThreshold",
            TreatMissingData="missing",
            AlarmActions=[wake["PolicyARN"]],
        )
        names = [one["AlarmName"] for one in tracking["Alarms"]]
        return next(name for name in names if "AlarmLow" in name), "wake"

    def scale(self, instances: int) -> None:
        """Set the endpoint's number of instances, and wait until it has this many."""
        self._sagemaker.update_endpoint_weights_and_capacities(
            EndpointName=ENDPOINT,
            DesiredWeightsAndCapacities=[
                {"VariantName": "AllTraffic", "DesiredInstanceCount": instances}
            ],
        )
        wait_until(
            lambda: self.count_instances() == instances, f"the endpoint has {instances} instances"
        )

    def raise_alarm(self, name: str, value: float) -> None:
        """Set an alarm's state by hand, because waiting for the alarm's metric would take long."""
        for state in ("OK", "ALARM"):  # only a change of state runs the alarm's actions
            self._cloudwatch.set_alarm_state(
                AlarmName=name,
                StateValue=state,
                StateReason="the benchmark does not wait",
                StateReasonData=json.dumps({"recentDatapoints": [value, value]}),
            )

    def send_all(self, ends: list[str]) -> list[SentRequest]:
        """Send a request for each item of a list; the item says how the request should end."""
        photographs = len(small_photographs())

        def send(number: int) -> SentRequest:
            expected = ends[number]
            key = f"in/{number % photographs}"
            key = {ABSENT: "in/absent", REFUSED: f"in/{photographs}"}.get(expected, key)
            more = {"RequestTTLSeconds": TIME_TO_LIVE_S} if expected == EXPIRED else {}
            answer = self._runtime.invoke_endpoint_async(
                EndpointName=ENDPOINT,
                InputLocation=f"s3://{BUCKET}/{key}",
                ContentType="application/x-image",
                InferenceId=f"request-{number:06d}",
                **more,
            )
            return SentRequest(
                answer["InferenceId"], expected,
                answer["OutputLocation"], answer["FailureLocation"],
            )  # fmt: skip

        with ThreadPoolExecutor(SENT_AT_ONCE) as pool:
            return list(pool.map(send, range(len(ends))))

    def list_results(self) -> set[str]:
        """Return the S3 URIs of all results and failures."""
        pages = self._s3.get_paginator("list_objects_v2")
        return {
            f"s3://{BUCKET}/{one['Key']}"
            for folder in ("out/", "failed/")
            for page in pages.paginate(Bucket=BUCKET, Prefix=folder)
            for one in page.get("Contents", ())
        }

    def read_end(self, sent: SentRequest) -> str:
        """Return how a request has ended: answered, or the kind of failure."""
        if self._read(sent.output) is not None:
            return ANSWERED
        failure = (self._read(sent.failure) or b"").decode(errors="replace")
        for words, end in (
            (f"RequestTTLSeconds of {TIME_TO_LIVE_S}", EXPIRED),
            ("in/absent", ABSENT),
            ("message", REFUSED),
        ):
            if words in failure:
                return end
        return failure or "nothing"

    def _read(self, uri: str) -> bytes | None:
        key = uri.removeprefix(f"s3://{BUCKET}/")
        try:
            return bytes(self._s3.get_object(Bucket=BUCKET, Key=key)["Body"].read())
        except self._s3.exceptions.NoSuchKey:
            return None

    def count_instances(self) -> int:
        """Return how many instances the endpoint has."""
        described = self._sagemaker.describe_endpoint(EndpointName=ENDPOINT)
        return int(described["ProductionVariants"][0]["CurrentInstanceCount"])

    def read_backlog(self) -> float:
        """Return the newest value of ``ApproximateBacklogSize``."""
        now = time.time()
        points = self._cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName="ApproximateBacklogSize",
            Dimensions=[{"Name": "EndpointName", "Value": ENDPOINT}],
            StartTime=now - 60,
            EndTime=now + 2,
            Period=1,
            Statistics=["Minimum"],
        )["Datapoints"]
        return float(max(points, key=lambda point: point["Timestamp"])["Minimum"])

    def sum_metric(self, name: str) -> float:
        """Return the sum of a metric of the endpoint since the benchmark began."""
        points = self._cloudwatch.get_metric_statistics(
            Namespace="AWS/SageMaker",
            MetricName=name,
            Dimensions=[
                {"Name": "EndpointName", "Value": ENDPOINT},
                {"Name": "VariantName", "Value": "AllTraffic"},
            ],
            StartTime=self._began - 60,
            EndTime=time.time() + 60,
            Period=60,
            Statistics=["Sum"],
        )["Datapoints"]
        return float(sum(point["Sum"] for point in points))


def expected_end(number: int) -> str:
    """Return how the request with the given number should end."""
    if number % 20 == 7:
        return EXPIRED
    return {11: ABSENT, 23: REFUSED}.get(number % 50, ANSWERED)


@contextmanager
def subscriber() -> Iterator[Subscriber]:
    """Run a web server that is notified of each successful result."""
    found = Subscriber("")
    lock = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            if body.get("Type") == "Notification":
                with lock:
                    found.answered[json.loads(body["Message"])["inferenceId"]] += 1
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Print nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()


def wait_until(is_so: Callable[[], bool], what: str) -> None:
    """Wait until a condition holds; end the benchmark if it takes too long."""
    deadline = time.monotonic() + TIMEOUT_S
    while not is_so():
        if time.monotonic() > deadline:
            raise SystemExit(f"After {TIMEOUT_S:.0f} s, this condition is still not met: {what}")
        time.sleep(LOOK_S / 4)


if __name__ == "__main__":
    sys.exit(main())
