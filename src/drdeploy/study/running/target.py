"""Connect to the place where trials run: a new local service, a running local service, or AWS."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.error import HTTPError
from urllib.request import ProxyHandler, build_opener

from drdeploy.errors import (
    EndpointError,
    EngineError,
    EngineUnavailable,
    ImageBuildFailed,
    InvalidInput,
    StudyError,
)
from drdeploy.files import parse_json
from drdeploy.hosting.container_engine import ContainerEngine, find_free_port
from drdeploy.hosting.images import build_image, find_own_image_by_tag
from drdeploy.hosting.sagemaker import (
    LOCAL_ROLE_ARN,
    AsynchronousClient,
    BatchTransform,
    Hosting,
    is_loopback_url,
)
from drdeploy.study.design.scenarios import MAX_IN_FLIGHT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from drdeploy.hosting.local.options import IsolationChoice
    from drdeploy.hosting.sagemaker.platforms import HostingPlatform
    from drdeploy.study.design.plan import Trial

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 45.0
"""The longest time that the local service may take to stop. The service gives its containers 30 s
to stop, as SageMaker does, and needs a little longer itself."""

STATUS_TIMEOUT_S = 60.0
"""The longest time that the local service may take to report its status. The service asks the
container engine, which may be slow under load."""

LOCAL_BUCKET = "drdeploy-artifacts"


@dataclass(frozen=True)
class Target:
    """The place where a run's trials are measured: a local service, or AWS.

    Attributes:
        isolation: What enforces the memory and CPU limits of an endpoint, for example
            ``container``.
        bucket: The bucket for transform jobs. It also holds the artifact of an endpoint that is
            created for a single trial. Empty on AWS if there are no transform jobs.
        role_arn: The role of transform jobs. An endpoint that is created for a single trial has the
            same role.
        metrics_period_s: The length of the periods for which CloudWatch reports metrics, in
            seconds.
        metrics_delay_s: The longest time, in seconds, after which CloudWatch shows the metric of an
            invocation.
        hosting_timeout_s: The longest time until an endpoint is in service, in seconds.
        facts: Facts about the target that ``environment.json`` records.
        endpoints: The names of endpoints that were created before the trials, by trial id. For a
            trial that is not in ``endpoints``, an endpoint is created when the trial begins.
        trial_ended: A function that is called after each trial, even after one that failed.
        endpoint_url: The address of the local service; None means AWS.
        region: The AWS region; None means the region in the user's configuration.
        images: On AWS, a dictionary from the tag of each container image to its URI in the
            registry. Empty for a local service.
    """

    hosting: Hosting
    platform: HostingPlatform
    isolation: str
    bucket: str
    role_arn: str
    metrics_period_s: int
    metrics_delay_s: float
    hosting_timeout_s: float
    facts: dict[str, Any]
    endpoints: Mapping[str, str] = field(default_factory=dict)
    trial_ended: Callable[[Trial], None] = lambda _trial: None
    endpoint_url: str | None = None
    region: str | None = None
    images: Mapping[str, str] = field(default_factory=dict)

    def connect_asynchronous_client(self) -> AsynchronousClient:
        """Return a client for asynchronous requests."""
        return AsynchronousClient.connect(self.endpoint_url, region=self.region)

    def connect_batch_client(self) -> BatchTransform:
        """Return a client for transform jobs."""
        return BatchTransform.connect(self.endpoint_url, region=self.region)


def connect_to_local_service(endpoint_url: str, region: str | None = None) -> Target:
    """Return a target for a local service that is already running.

    Raises:
        StudyError: The URL is not on this machine.
        EndpointError: No local service answers at the URL.
    """
    if not is_loopback_url(endpoint_url):
        raise StudyError(
            "The address of the local service is not on this machine",
            where=endpoint_url,
            remedy="Give the address that `drdeploy local up` prints",
        )
    status = fetch_local_service_status(endpoint_url)
    return Target(
        hosting=Hosting.connect(endpoint_url, region=region, max_connections=MAX_IN_FLIGHT),
        platform="local",
        isolation=str(status.get("isolation", "unknown")),
        bucket=LOCAL_BUCKET,
        role_arn=LOCAL_ROLE_ARN,
        metrics_period_s=1,
        metrics_delay_s=0.0,
        hosting_timeout_s=300.0,
        facts={"service": status},
        endpoint_url=endpoint_url,
        region=region,
    )


def connect_to_aws(region: str, *, batch_bucket: str = "", batch_role: str = "") -> Target:
    """Return a target for AWS, whose endpoints Terraform creates.

    Args:
        region: The AWS region.
        batch_bucket: The bucket of transform jobs; empty if the study has none.
        batch_role: The ARN of the role of transform jobs; empty if the study has none.
    """
    return Target(
        hosting=Hosting.connect(region=region, max_connections=MAX_IN_FLIGHT),
        platform="aws",
        isolation="managed",
        bucket=batch_bucket,
        role_arn=batch_role,
        metrics_period_s=60,
        metrics_delay_s=180.0,  # CloudWatch publishes SageMaker's metrics some minutes late
        hosting_timeout_s=1800.0,
        facts={"region": region},
        region=region,
    )


@contextmanager
def start_and_stop_local_service(
    *,
    idle_s: float,
    isolation: IsolationChoice,
    log: Path,
    note: Callable[[str], None],
    region: str | None = None,
) -> Iterator[Target]:
    """Start a local service, yield a target for it, and stop the service at the end.

    Raises:
        EndpointError: The local service does not become ready.
    """
    port = find_free_port()
    command = [sys.executable, "-c", "from drdeploy.cli import main; main()", "local", "up"]
    command += ["--port", str(port), "--idle-s", str(idle_s), "--isolation", isolation]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as log_file:
        # The service runs in a session of its own, so that Ctrl-C reaches only this process. This
        # process then deletes its endpoints while the service still answers. If this process is
        # killed, the standard input of the service closes, and the service stops too.
        service = subprocess.Popen(
            [*command, "--until-stdin-closes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log_file,
            start_new_session=True,
        )
    try:
        _wait_for_ready_line(service, log)
        target = connect_to_local_service(f"http://127.0.0.1:{port}", region)
        note(f"local service ready (isolation: {target.isolation})")
        yield target
    finally:
        _stop_local_service(service)
        if service.returncode < 0:
            # The service was killed, perhaps because memory ran out, and could not stop its
            # containers.
            from drdeploy.hosting.local import remove_stale_services

            remove_stale_services()


def build_images_and_choose_isolation(
    tags: Collection[str], note: Callable[[str], None]
) -> IsolationChoice:
    """Build a study's container images if possible; return whether to use containers.

    Returns:
        ``container``, or ``process`` if no container engine answers or an image cannot be built.

    Raises:
        EngineMisconfigured: The address, context or certificate of the user's container engine is
            unusable.
    """
    try:
        engine = ContainerEngine.find_or_raise()
    except EngineUnavailable as err:
        note(f"{err.what} ({err.where}), so endpoints run as processes")
        return "process"
    note(f"container engine: {engine.version_and_address}")
    try:
        build_own_images(engine, tags, note)
    except (EngineError, InvalidInput) as err:
        note(f"{err} Endpoints run as processes instead of containers.")
        return "process"
    return "container"


def build_own_images(
    engine: ContainerEngine, tags: Collection[str], note: Callable[[str], None]
) -> None:
    """Build those of the given container images that belong to this project.

    An existing container image is built again, so that the current checkout is measured; unchanged
    layers come from the engine's cache.

    Raises:
        ImageBuildFailed: An image cannot be built, and no older image with its tag exists.
    """
    for image in filter(
        None, map(find_own_image_by_tag, sorted(tags))
    ):  # others cannot be built here
        exists = image.tag in {known for one in engine.list_images() for known in one.tags}
        cached = " (unchanged layers come from the cache)" if exists else ""
        note(f"building image {image.tag}{cached}")
        try:
            build_image(engine, image.name, platform=image.platform)
        except ImageBuildFailed as err:
            if not exists:
                raise
            note(
                f"{err.what}: the existing image {image.tag} is measured instead. It may have been "
                "built from older code"
            )


def look_up_image_ids(tags: Collection[str]) -> dict[str, str]:
    """Return the ids of the images with the given tags, by tag.

    Tags that the container engine does not know are left out. Without an engine, the result is
    empty.
    """
    engine = ContainerEngine.find()
    if engine is None:
        return {}
    by_tag = {tag: image.id for image in engine.list_images() for tag in image.tags}
    return {tag: by_tag[tag] for tag in sorted(tags) if tag in by_tag}


def _wait_for_ready_line(service: subprocess.Popen[bytes], log: Path) -> None:
    # The service prints one line as soon as it accepts connections.
    deadline = time.monotonic() + READY_TIMEOUT_S
    printed = b""
    with selectors.DefaultSelector() as selector:
        selector.register(service.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]  # a pipe was asked for
        while b"\n" not in printed:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise _make_not_ready_error(how=f"within {READY_TIMEOUT_S:.0f} s", log=log)
            piece = os.read(service.stdout.fileno(), 4096)  # type: ignore[union-attr]  # a pipe was asked for
            if not piece:
                raise _make_not_ready_error(how=f"and ended with status {service.wait()}", log=log)
            printed += piece


def _make_not_ready_error(*, how: str, log: Path) -> EndpointError:
    lines = log.read_text("utf-8", errors="replace").strip().splitlines()
    return EndpointError(
        f"The local service did not become ready {how}: {lines[-1] if lines else 'no output'}",
        where=str(log),
        remedy="Read that log file, or start a local service yourself with `drdeploy local up`",
    )


def _stop_local_service(service: subprocess.Popen[bytes]) -> None:
    service.send_signal(signal.SIGTERM)
    try:
        service.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        service.kill()
        service.wait()
    for pipe in (service.stdin, service.stdout):
        if pipe:
            pipe.close()


def fetch_local_service_status(endpoint_url: str) -> dict[str, Any]:
    """Return the facts that a local service reports about itself.

    Raises:
        EndpointError: No local service answers at the URL.
    """
    # Proxies are ignored: the service is on this machine, and a proxy from the environment
    # variables could not reach it.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(f"{endpoint_url}/_drdeploy/status", timeout=STATUS_TIMEOUT_S) as answer:
            status: dict[str, Any] = parse_json(answer.read())
    except HTTPError as err:
        raise EndpointError(
            f"The program at this address refuses to report its status (HTTP status {err.code})",
            where=endpoint_url,
            remedy="Start a local service with `drdeploy local up`, without --shared",
        ) from err
    except (OSError, ValueError) as err:
        reason = getattr(err, "reason", None) or err
        raise EndpointError(
            f"The local service does not answer: {getattr(reason, 'strerror', '') or reason}",
            where=endpoint_url,
            remedy="Start a local service with `drdeploy local up`, or leave out --endpoint-url",
        ) from err
    return status
