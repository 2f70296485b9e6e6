"""Start containers of the checked image as SageMaker starts them, and remove them."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import EngineError
from drdeploy.grader.artifacts import unpack_archive
from drdeploy.hosting.conformance.client import ProbeAnswer, send_request_and_read_answer
from drdeploy.hosting.container_engine import ContainerSpec, Mount
from drdeploy.hosting.serving.gateway import INVOCATIONS
from drdeploy.hosting.serving.settings import CONTAINER_PORT, MODEL_DIR

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping
    from typing import Self

    from drdeploy.hosting.conformance.contract import Contract
    from drdeploy.hosting.conformance.request_bodies import ProbePhotograph
    from drdeploy.hosting.container_engine import ContainerEngine, ExitState, RunningContainer

LABEL = "drdeploy.conformance"
"""Label of every container that a check starts; the label's value identifies the check."""
POLL_S = 0.02
SETTLED_WITHIN_S = 1.0
"""Seconds within which an engine notices that a container has ended."""
LATER_START_EXTRA_S = 10.0
LATER_START_RATIO = 3.0
"""A later start may take 10 s plus this many times the duration of the first start. This limit is
long enough even if the machine has become busy in the meantime. If the first start takes less than
56 s, the limit is shorter than SageMaker's three minutes.
"""
ALSO_READ_ONLY = ("/run", "/var/tmp")  # noqa: S108  the container's own
"""Folders that Podman keeps writable when the root file system is read-only. The check makes them
read-only too, because SageMaker does not promise that they are writable.
"""
LOG_LINE_CHARS = 120


@dataclass(frozen=True)
class Conditions:
    """The options for starting a container; the defaults are those of ``docker run IMAGE serve``.

    Attributes:
        port: The port that the server must listen on.
        env: Environment variables of the container.
        read_only: Whether the root file system is read-only.
        user: The user as ``uid:gid``; None means the user that the image names.
        model: The folder to mount as the model; None means the folder of the checked model.
        cpuset: The cores that the container may use; None means all cores.
        mounts: Further files of this machine to mount.
    """

    port: int = CONTAINER_PORT
    env: Mapping[str, str] = field(default_factory=dict)
    read_only: bool = False
    user: str | None = None
    model: Path | None = None
    cpuset: str | None = None
    mounts: tuple[Mount, ...] = ()


@dataclass(frozen=True)
class ContainerUnderTest:
    """A container of the checked image, and the contract that its answers must meet."""

    running: RunningContainer
    contract: Contract

    def connect(self, timeout_s: float) -> socket.socket:
        """Return a connection to the server in the container."""
        return self.running.connect(timeout_s)

    def send_ping(self) -> ProbeAnswer:
        """Send ``GET /ping``."""
        return send_request_and_read_answer(
            self.connect, "GET", "/ping", timeout_s=self.contract.ping_s
        )

    def post_to_invocations(
        self, body: bytes, headers: Mapping[str, str], timeout_s: float | None = None
    ) -> ProbeAnswer:
        """Send a body to ``POST /invocations``."""
        timeout_s = timeout_s or self.contract.answer_s
        return send_request_and_read_answer(
            self.connect, "POST", INVOCATIONS, body, headers, timeout_s=timeout_s
        )

    def post_photograph(self, photograph: ProbePhotograph) -> ProbeAnswer:
        """Send a photograph to ``POST /invocations``."""
        return self.post_to_invocations(photograph.data, photograph.request_headers)

    def exit_state(self) -> ExitState | None:
        """Return the exit state of the container; None while it runs."""
        state = self.running.exit_state()
        return None if state.is_running else state

    def read_exit_state_after_answer(self, answer: ProbeAnswer) -> ExitState | None:
        """Return how the container ended, if it ended during a request; None if it still runs.

        If the request got no answer, the container may have ended without the engine knowing it
        yet. The method therefore waits up to a second for the container's end.
        """
        deadline = time.monotonic() + SETTLED_WITHIN_S
        while (state := self.exit_state()) is None and not answer.status:
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
        return state

    def read_last_log_line(self) -> str:
        """Return the last line of the container's log, shortened."""
        lines = self.running.read_logs(tail=5).strip().splitlines() or ["nothing in its log"]
        text = " ".join(lines[-1].split())
        return text if len(text) <= LOG_LINE_CHARS else f"{text[: LOG_LINE_CHARS - 1]}…"


@dataclass(frozen=True)
class ContainerStart:
    """A container's start, and how far it got.

    Attributes:
        container: The container, or None if the engine could not start one.
        ready_s: Seconds from the start to the first ping answered with 200, or None if the
            container never became ready.
        first: The answer to the photograph that was sent right after that ping.
        served_s: Seconds from the start to the first answered photograph, or None.
        trouble: Why the container did not become ready; empty if it did.
    """

    container: ContainerUnderTest | None
    ready_s: float | None = None
    first: ProbeAnswer | None = None
    served_s: float | None = None
    trouble: str = ""

    @property
    def is_serving(self) -> bool:
        """Whether the container became ready and answered a photograph."""
        return self.served_s is not None

    def __str__(self) -> str:
        if self.ready_s is None:
            return f"never ready: {self.trouble}"
        return f"ready after {self.ready_s:.2f} s; a photograph sent then: {self.first}"


def compute_later_start_timeout_s(ready_s: float) -> float:
    """Return the timeout for a later start of the image, given how long its first start took."""
    return LATER_START_EXTRA_S + LATER_START_RATIO * ready_s


class ModelHost:
    """Starts containers of the checked image, all with the same model.

    Use a model host in a ``with`` statement, which removes all containers at the end.

    Args:
        engine: The container engine that runs the containers.
        image: The image's name and tag, or its id.
        artifact: The ``model.tar.gz`` that the containers serve.
        photograph: The photograph that is sent to each container that becomes ready.
        contract: The time and size limits of the contract.
        memory_mb: Memory limit of each container, MiB.
        cpus: CPU limit of each container.

    Attributes:
        is_model_writable: Whether each container gets a writable copy of its model. This becomes
            true if the image did not start with a read-only model.
    """

    def __init__(
        self,
        engine: ContainerEngine,
        image: str,
        artifact: Path,
        *,
        photograph: ProbePhotograph,
        contract: Contract,
        memory_mb: int,
        cpus: float,
    ) -> None:
        self.engine = engine
        self.image = image
        self.photograph = photograph
        self.contract = contract
        self.memory_mb = memory_mb
        self.cpus = cpus
        self.is_model_writable = False
        self._artifact = artifact
        # The label names the process, so that a leftover container can be told from one in use.
        self._name = f"{os.getpid()}-{uuid.uuid4().hex[:12]}"

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="drdeploy-conform-"))
        try:
            unpack_archive(self._artifact, self.folder / "model")
        except BaseException:
            self._remove_temporary_folder()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.engine.remove_containers_with_label(f"{LABEL}={self._name}")
        finally:
            self._remove_temporary_folder()

    @property
    def model_folder(self) -> Path:
        """The folder with the extracted files of the model's archive."""
        return self.folder / "model"

    def start_container(self, conditions: Conditions) -> ContainerUnderTest:
        """Start a container without waiting for the server.

        Raises:
            EngineError: The engine cannot start the container.
        """
        return ContainerUnderTest(
            self.engine.start_container(self._make_container_spec(conditions)), self.contract
        )

    def start_container_and_wait(self, conditions: Conditions, timeout_s: float) -> ContainerStart:
        """Start a container, wait until it is ready, and then send the photograph at once."""
        began = time.monotonic()
        try:
            container = self.start_container(conditions)
        except EngineError as err:
            return ContainerStart(None, trouble=err.what)
        return self.wait_until_container_ready(container, began, timeout_s)

    def wait_until_container_ready(
        self, container: ContainerUnderTest, began: float, timeout_s: float
    ) -> ContainerStart:
        """Ping a container until it answers 200, then send the photograph at once.

        ``began`` is the time on the monotonic clock at which the engine was asked to start the
        container; reported times count from it. The timeout of ``timeout_s`` seconds counts from
        this call, so that the image is not blamed for a slow engine.
        """
        deadline = time.monotonic() + timeout_s
        while True:
            ping = container.send_ping()
            if ping.status == 200:
                return self._send_photograph_until_answered(container, began)
            if (state := container.exit_state()) is not None:
                how = "out of memory" if state.oom_killed else f"status {state.exit_code}"
                waited_s = time.monotonic() - began
                ended = f"it ended after {waited_s:.1f} s ({how}): {container.read_last_log_line()}"
                return ContainerStart(container, trouble=ended)
            if time.monotonic() >= deadline:
                late = f"no ping was answered with 200 within {timeout_s:.0f} s: {ping}"
                return ContainerStart(container, trouble=late)
            time.sleep(POLL_S)  # short, because it adds to the reported start time

    def _send_photograph_until_answered(
        self, container: ContainerUnderTest, began: float
    ) -> ContainerStart:
        """Send the photograph to a ready server, again and again until it is answered."""
        ready_s = time.monotonic() - began
        first = answer = container.post_photograph(self.photograph)
        while (
            not answer.is_success
            and time.monotonic() - began < ready_s + compute_later_start_timeout_s(ready_s)
        ):
            if container.exit_state() is not None:
                break
            time.sleep(POLL_S)
            answer = container.post_photograph(self.photograph)
        served_s = answer.ended_at - began if answer.is_success else None
        return ContainerStart(container, ready_s, first, served_s)

    def _make_container_spec(self, conditions: Conditions) -> ContainerSpec:
        folder = conditions.model or self.model_folder
        model = Mount(folder, MODEL_DIR)
        if self.is_model_writable:
            model = Mount(self._make_writable_copy(folder), MODEL_DIR, read_only=False)
        empty = self.folder / "empty"
        empty.mkdir(exist_ok=True)
        empty.chmod(0o755)
        closed = tuple(Mount(empty, path) for path in ALSO_READ_ONLY)
        env = dict(conditions.env)
        # SageMaker sets this variable only if it chooses the port.
        if conditions.port != CONTAINER_PORT:
            env["SAGEMAKER_BIND_TO_PORT"] = str(conditions.port)
        return ContainerSpec(
            self.image,
            env=env,
            mounts=(model, *conditions.mounts, *(closed if conditions.read_only else ())),
            memory_mb=self.memory_mb,
            cpus=self.cpus,
            cpuset=conditions.cpuset,
            port=conditions.port,
            read_only=conditions.read_only,
            # An image that starts as root may need its capabilities to become another user, so they
            # are dropped only if the user is given.
            drop_capabilities=conditions.user is not None,
            labels={LABEL: self._name},
            user=conditions.user,
        )

    def _make_writable_copy(self, model: Path) -> Path:
        copy = Path(tempfile.mkdtemp(dir=self.folder)) / "model"
        shutil.copytree(model, copy)
        for path in (copy, *copy.rglob("*")):
            path.chmod(0o777)  # the user of the image is not known here
        return copy

    def _remove_temporary_folder(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
