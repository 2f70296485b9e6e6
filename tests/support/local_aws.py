"""boto3 clients of a local service, and the steps that most of its tests share."""

from __future__ import annotations

import io
import itertools
import json
import shutil
import sys
import tarfile
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FAKE_SERVER = (sys.executable, "-S", "-E", str(Path(__file__).with_name("fake_server.py")))
SETTLED_WITHIN_S = 300
"""An endpoint whose container starts on a busy machine takes a minute."""
ROLE = "arn:aws:iam::123456789012:role/drdeploy"


@contextmanager
def home_of_local_services() -> Iterator[Path]:
    """Use a new folder for the state of local services.

    Its path is short, because the Unix sockets below it must not have long names.
    """
    home = Path(tempfile.mkdtemp(prefix="drl-"))
    home.chmod(0o700)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DRDEPLOY_LOCAL_HOME", str(home))
        yield home
    shutil.rmtree(home, ignore_errors=True)  # a stopped service may still be removing its own


def refused(call: Callable[..., Any], **arguments: Any) -> tuple[str, str]:
    """Return the code and the message with which the service refuses a call."""
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    return caught.value.response["Error"]["Code"], caught.value.response["Error"]["Message"]


def client(
    service_name: str, url: str, region: str = "us-east-1", key: Any = None, **config: Any
) -> Any:
    return boto3.client(
        service_name,
        endpoint_url=url,
        region_name=region,
        aws_access_key_id=key.id if key else "test",
        aws_secret_access_key=key.secret if key else "test",
        config=Config(retries={"total_max_attempts": 1}, **config),
    )


def archive(marker: str = "one") -> bytes:
    """Return an archive that looks like a SavedModel without a manifest."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as tar:
        for name, data in (("1/saved_model.pb", marker.encode()), (f"1/{marker}", b"x")):
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


@dataclass
class Aws:
    """boto3 clients of one service, and the steps that most tests share."""

    url: str
    sagemaker: Any
    runtime: Any
    cloudwatch: Any
    s3: Any
    names: Any

    @classmethod
    def at(cls, url: str, key: Any = None) -> Aws:
        names = ("sagemaker", "cloudwatch", "s3")
        sagemaker, cloudwatch, s3 = (client(name, url, key=key) for name in names)
        runtime = client("sagemaker-runtime", url, key=key, max_pool_connections=50)
        return cls(url, sagemaker, runtime, cloudwatch, s3, itertools.count())

    def name(self) -> str:
        return f"e{next(self.names)}-{time.monotonic_ns() % 10**9}"

    def put_archive(self, data: bytes | None = None, key: str = "model.tar.gz") -> str:
        self.s3.create_bucket(Bucket="models")
        self.s3.put_object(Bucket="models", Key=key, Body=archive() if data is None else data)
        return f"s3://models/{key}"

    def model(self, name: str, *, image="drdeploy:lean", url=None, **environment: str) -> None:
        self.sagemaker.create_model(
            ModelName=name,
            ExecutionRoleArn=ROLE,
            PrimaryContainer={
                "Image": image,
                "ModelDataUrl": url or self.put_archive(),
                "Environment": environment,
            },
        )

    def config(self, name: str, *, model: str | None = None, **variant: Any) -> None:
        variant = variant or {"ServerlessConfig": {"MemorySizeInMB": 1024, "MaxConcurrency": 2}}
        self.sagemaker.create_endpoint_config(
            EndpointConfigName=name,
            ProductionVariants=[
                {"VariantName": "AllTraffic", "ModelName": model or name} | variant
            ],
        )

    def endpoint(self, *, environment=None, image="drdeploy:lean", url=None, **variant: Any) -> str:
        name = self.name()
        self.model(name, image=image, url=url, **(environment or {}))
        self.config(name, **variant)
        self.sagemaker.create_endpoint(EndpointName=name, EndpointConfigName=name)
        self.wait(name)
        return name

    def status(self, name: str) -> str:
        return self.sagemaker.describe_endpoint(EndpointName=name)["EndpointStatus"]

    def wait(self, name: str, status: str = "InService") -> None:
        waiter = {"Delay": 0.1, "MaxAttempts": 10 * SETTLED_WITHIN_S}
        if status == "InService":
            self.sagemaker.get_waiter("endpoint_in_service").wait(
                EndpointName=name, WaiterConfig=waiter
            )
        elif status == "Deleted":
            self.sagemaker.get_waiter("endpoint_deleted").wait(
                EndpointName=name, WaiterConfig=waiter
            )
        else:
            until(lambda: self.status(name) not in {"Creating", "Updating"}, SETTLED_WITHIN_S)
            assert self.status(name) == status

    def failure_reason(self, name: str) -> str:
        return self.sagemaker.describe_endpoint(EndpointName=name)["FailureReason"]

    def delete(self, name: str) -> None:
        self.sagemaker.delete_endpoint(EndpointName=name)
        self.wait(name, "Deleted")

    def metric(
        self, name: str, metric: str, *statistics: str, namespace: str = "AWS/SageMaker"
    ) -> list[dict[str, Any]]:
        """Return everything recorded so far, as one datapoint."""
        now = datetime.now(UTC)
        return self.cloudwatch.get_metric_statistics(
            Namespace=namespace,
            MetricName=metric,
            Dimensions=[
                {"Name": "EndpointName", "Value": name},
                {"Name": "VariantName", "Value": "AllTraffic"},
            ],
            StartTime=now - timedelta(hours=1),
            EndTime=now + timedelta(seconds=1),
            Period=7200,
            Statistics=list(statistics or ("Average", "SampleCount", "Sum")),
        )["Datapoints"]

    def invoke(self, name: str, body: bytes = b"photograph", **arguments: Any) -> dict[str, Any]:
        answer = self.runtime.invoke_endpoint(EndpointName=name, Body=body, **arguments)
        return json.loads(answer["Body"].read())


@dataclass(frozen=True)
class Hold:
    """Requests that stay in their containers until a test releases them.

    Usage: ``submit(aws.invoke, name, hold.body); hold.wait_for(1); …; hold.release()``.
    """

    folder: Path

    @property
    def body(self) -> bytes:
        """The body that makes the fake server hold a request."""
        return f"!hold {self.folder}".encode()

    def wait_for(self, count: int) -> None:
        """Wait until so many requests have reached a container."""
        until(lambda: len(list(self.folder.glob("*-*"))) >= count)

    def release(self) -> None:
        """Let the fake server answer them."""
        (self.folder / "go").touch()


def put_key(arn: str) -> None:
    """Put a key with this ARN into the KMS of the local services of this process.

    KMS chooses the ids of its keys, but what a policy allows is tabled with a known one.
    """
    from moto.kms.models import kms_backends

    _, _, _, region, account, name = arn.split(":")
    kms = kms_backends[account][region]
    key = kms.create_key("", "ENCRYPT_DECRYPT", "SYMMETRIC_DEFAULT", "", None)
    del kms.keys[key.id]
    key.id, key.arn = name.removeprefix("key/"), arn
    kms.keys[key.id] = key
