"""Where trials run: a local service of the study's own, one that is there, or AWS."""

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

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping
    from pathlib import Path

    from drdeploy.hosting.images import OwnImage
    from drdeploy.study.design.plan import Trial
    from drdeploy.study.measurements.measurement import Platform

READY_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 45.0
"""SageMaker gives a container 30 s to stop; the service needs a little longer."""

STATUS_TIMEOUT_S = 60.0
"""The service asks its engine what still runs, and engines under load are slow to say."""

LOCAL_BUCKET = "drdeploy-artifacts"
Isolation = Literal["auto", "container", "process"]


@dataclass(frozen=True)
class Target:
    """Everything that a trial needs to know of the place where it runs.

    Attributes:
        endpoint_url: Of the local service; None is AWS.
        isolation: What holds a container to its size there.
        metrics_period_s: Resolution of its CloudWatch metrics.
        metrics_delay_s: How long a metric may take to appear.
        hosting_timeout_s: Within which an endpoint must be in service.
        facts: Whatever else it says of itself.
        endpoints: Names by trial, where they were provisioned beforehand; where a trial has none,
            it is given one of its own.
        trial_ended: Told of each trial that was measured, with or without an error.
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
    """A local service that is there already.

    Raises:
        StudyError: The URL does not lead to this machine.
        EndpointError: Nothing answers, or something else does.
    """
    if not is_loopback(endpoint_url):
        raise StudyError("The local service is on this machine", where=endpoint_url)
    status = local_status(endpoint_url)
    return Target(
        hosting=Hosting.connect(endpoint_url, region=region, max_connections=256),
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
    """AWS, with the credentials of the environment; the endpoints are Terraform's."""
    return Target(
        hosting=Hosting.connect(region=region, max_connections=256),
        platform="aws",
        isolation="managed",
        bucket="",
        role_arn="",
        metrics_period_s=60,
        metrics_delay_s=180.0,
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

    It ends with this process whatever becomes of it: its standard input closes then.

    Raises:
        EndpointError: It does not get ready.
    """
    port = free_port()
    command = [sys.executable, "-c", "from drdeploy.cli import main; main()", "local", "up"]
    command += ["--port", str(port), "--idle-s", str(idle_s), "--isolation", isolation]
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("ab") as log_file:
        # In a session of its own: Ctrl-C reaches us alone, and we stop it when we are done.
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


def prepare_isolation(tags: Collection[str], note: Callable[[str], None]) -> Isolation:
    """Build the images that a study uses, where there is an engine to build them with.

    An image that is there is built again: what did not change comes from the engine's cache,
    and what is measured is this checkout.

    Returns:
        ``container``; ``process`` where no engine answers or an image cannot be had.
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
    """Build those of the project's own images that are among these.

    Raises:
        ImageBuildFailed: One does not build and is not there from before.
    """
    for image in filter(None, map(own_image, sorted(tags))):
        _bring_up_to_date(engine, image, note)


def _bring_up_to_date(engine: Engine, image: OwnImage, note: Callable[[str], None]) -> None:
    tag = image.tag
    is_there = tag in {known for one in engine.images() for known in one.tags}
    note(f"building image {tag}" + (" (what did not change is cached)" if is_there else ""))
    try:
        build_image(engine, image.name, platform=image.platform)
    except ImageBuildFailed as err:
        if not is_there:
            raise
        note(f"{err.what}: measuring the {tag} that is there, perhaps an older one")


def image_digests(tags: Collection[str]) -> dict[str, str]:
    """Ids of the images that the engine has; empty without an engine."""
    engine = Engine.find()
    if engine is None:
        return {}
    by_tag = {tag: image.id for image in engine.images() for tag in image.tags}
    return {tag: by_tag[tag] for tag in sorted(tags) if tag in by_tag}


def _wait_ready(service: subprocess.Popen[bytes], log: Path) -> None:
    """Until it has printed its one line."""
    deadline = time.monotonic() + READY_TIMEOUT_S
    said = b""
    with selectors.DefaultSelector() as selector:
        selector.register(service.stdout, selectors.EVENT_READ)  # type: ignore[arg-type]  # a pipe was asked for
        while b"\n" not in said:
            if not selector.select(max(0.0, deadline - time.monotonic())):
                raise _not_ready(f"in {READY_TIMEOUT_S:.0f} s", log)
            piece = os.read(service.stdout.fileno(), 4096)  # type: ignore[union-attr]  # a pipe was asked for
            if not piece:
                raise _not_ready(f"and ended with status {service.wait()}", log)
            said += piece


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
    """What a local service tells of itself.

    Raises:
        EndpointError: None answers.
    """
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
