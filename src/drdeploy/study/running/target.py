"""Where trials run: a local service that is started for the run, one that is running, or AWS."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.request import ProxyHandler, build_opener

from drdeploy.errors import EndpointError, EngineError, ImageBuildFailed, InvalidInput, StudyError
from drdeploy.hosting.engine import Engine, free_port
from drdeploy.hosting.images import build_image, own_image
from drdeploy.hosting.sagemaker import LOCAL_ROLE_ARN, Hosting, is_loopback
from drdeploy.study.design.scenarios import MAX_IN_FLIGHT

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from drdeploy.study.design.plan import Trial
    from drdeploy.study.measurements.measurement import Platform

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 45.0
"""SageMaker gives a container 30 s to stop; the service needs a little longer than that."""

STATUS_TIMEOUT_S = 60.0
"""The service asks its engine what still runs, and an engine under load answers slowly."""

LOCAL_BUCKET = "drdeploy-artifacts"
Isolation = Literal["auto", "container", "process"]


@dataclass(frozen=True)
class Target:
    """What a trial needs to know about the place where it runs.

    Attributes:
        hosting: The client for its SageMaker API.
        isolation: What holds a container to its memory and CPU there.
        bucket: For artifacts of endpoints that are created trial by trial.
        metrics_period_s: Resolution of its CloudWatch metrics.
        metrics_delay_s: How long a metric may take to appear.
        hosting_timeout_s: How long an endpoint may take until it is in service.
        facts: What ``environment.json`` records about it.
        endpoints: Names by trial, where endpoints were provisioned beforehand; a trial without
            one gets an endpoint of its own.
        trial_ended: Called after each trial, whether or not it had an error.
        endpoint_url: Of a local service; None is AWS.
    """

    hosting: Hosting
    platform: Platform
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


def local_target(endpoint_url: str, region: str | None = None) -> Target:
    """Return a target for a local service that is running.

    Raises:
        StudyError: The URL does not lead to this machine.
        EndpointError: Nothing answers, or something else does.
    """
    if not is_loopback(endpoint_url):
        raise StudyError("The local service is on this machine", where=endpoint_url)
    status = local_status(endpoint_url)
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
    )


def aws_target(region: str) -> Target:
    """Return a target for AWS, with the environment's credentials and endpoints by Terraform."""
    return Target(
        hosting=Hosting.connect(region=region, max_connections=MAX_IN_FLIGHT),
        platform="aws",
        isolation="managed",
        bucket="",
        role_arn="",
        metrics_period_s=60,
        metrics_delay_s=180.0,  # CloudWatch publishes SageMaker's metrics some minutes late
        hosting_timeout_s=1800.0,
        facts={"region": region},
    )


@contextmanager
def own_local_service(
    *,
    idle_s: float,
    isolation: Isolation,
    log: Path,
    note: Callable[[str], None],
    region: str | None = None,
) -> Iterator[Target]:
    """Start a local service, and stop it at the end.

    Raises:
        EndpointError: It does not get ready.
    """
    port = free_port()
    command = [sys.executable, "-c", "from drdeploy.cli import main; main()", "local", "up"]
    command += ["--port", str(port), "--idle-s", str(idle_s), "--isolation", isolation]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as log_file:
        # In a session of its own, so that Ctrl-C reaches this process alone, which deletes its
        # endpoints while the service still answers.  If this process is killed, the service's
        # standard input closes, and it stops too.
        service = subprocess.Popen(
            [*command, "--until-stdin-closes"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log_file,
            start_new_session=True,
        )
    try:
        _wait_ready(service, log)
        target = local_target(f"http://127.0.0.1:{port}", region)
        note(f"local service ready (isolation: {target.isolation})")
        yield target
    finally:
        _stop(service)


def choose_isolation(tags: Collection[str], note: Callable[[str], None]) -> Isolation:
    """Build the images of a study if a container engine answers, and say what to run them in.

    Returns:
        ``container``; ``process`` where no engine answers or an image cannot be built.
    """
    engine = Engine.find()
    if engine is None:
        note("no container engine answers: containers run as processes")
        return "process"
    try:
        build_images(engine, tags, note)
    except (EngineError, InvalidInput) as err:
        note(f"{err} Containers run as processes instead.")
        return "process"
    return "container"


def build_images(engine: Engine, tags: Collection[str], note: Callable[[str], None]) -> None:
    """Build those of the project's own images that are among these tags.

    An image that exists is built again, so that this checkout is measured and not an older one;
    what did not change comes from the engine's cache.

    Raises:
        ImageBuildFailed: An image does not build, and there is none from before.
    """
    for image in filter(None, map(own_image, sorted(tags))):  # others cannot be built here
        exists = image.tag in {known for one in engine.images() for known in one.tags}
        note(f"building image {image.tag}" + (" (what did not change is cached)" if exists else ""))
        try:
            build_image(engine, image.name, platform=image.platform)
        except ImageBuildFailed as err:
            if not exists:
                raise
            note(f"{err.what}: measuring the {image.tag} that exists, perhaps an older one")


def image_digests(tags: Collection[str]) -> dict[str, str]:
    """Return the ids of those of these images that the engine has; empty without an engine."""
    engine = Engine.find()
    if engine is None:
        return {}
    by_tag = {tag: image.id for image in engine.images() for tag in image.tags}
    return {tag: by_tag[tag] for tag in sorted(tags) if tag in by_tag}


def _wait_ready(service: subprocess.Popen[bytes], log: Path) -> None:
    # It prints one line once it takes connections.
    deadline = time.monotonic() + READY_TIMEOUT_S
    printed = b""
    with selectors.DefaultSelector() as selector:
        selector.register(service.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]  # a pipe was asked for
        while b"\n" not in printed:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise _not_ready(f"in {READY_TIMEOUT_S:.0f} s", log)
            piece = os.read(service.stdout.fileno(), 4096)  # type: ignore[union-attr]  # a pipe was asked for
            if not piece:
                raise _not_ready(f"and ended with status {service.wait()}", log)
            printed += piece


def _not_ready(how: str, log: Path) -> EndpointError:
    lines = log.read_text("utf-8", errors="replace").strip().splitlines()
    return EndpointError(
        f"The local service did not get ready {how}: {lines[-1] if lines else 'it said nothing'}",
        where=str(log),
        remedy="Read that log, or start one yourself with drdeploy local up",
    )


def _stop(service: subprocess.Popen[bytes]) -> None:
    service.send_signal(signal.SIGTERM)
    try:
        service.wait(STOP_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        service.kill()
        service.wait()
    for pipe in (service.stdin, service.stdout):
        if pipe:
            pipe.close()


def local_status(endpoint_url: str) -> dict[str, Any]:
    """Return the facts that a local service reports about itself.

    Raises:
        EndpointError: No local service answers at that URL.
    """
    # The service is on this machine, where a proxy that the environment names cannot reach it.
    opener = build_opener(ProxyHandler({}))
    try:
        with opener.open(f"{endpoint_url}/_drdeploy/status", timeout=STATUS_TIMEOUT_S) as answer:
            status: dict[str, Any] = json.load(answer)
    except (OSError, ValueError) as err:
        raise EndpointError(
            f"No local service answers: {err}",
            where=endpoint_url,
            remedy="Start one with drdeploy local up, or leave --endpoint-url out",
        ) from err
    return status
