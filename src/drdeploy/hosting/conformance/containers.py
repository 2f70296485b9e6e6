"""Starts containers of the image under check as SageMaker does, and removes them."""

from __future__ import annotations

import shutil
import tempfile
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.errors import EngineError, TruncatedArchive
from drdeploy.grader.artifacts import ArchiveLimits, read_archive
from drdeploy.hosting.conformance.client import ProbeAnswer, ask
from drdeploy.hosting.engine import ContainerSpec, Mount
from drdeploy.hosting.serving.gateway import INVOCATIONS
from drdeploy.hosting.serving.settings import CONTAINER_PORT, MODEL_DIR

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Self

    from drdeploy.hosting.conformance.bodies import ProbePhotograph
    from drdeploy.hosting.conformance.contract import Contract
    from drdeploy.hosting.engine import Engine, ExitState, RunningContainer

LABEL = "drdeploy.conformance"
"""Label of every container that is started here; its value identifies the check."""
POLL_S = 0.02
SETTLED_WITHIN_S = 1.0
"""By then an engine has noticed that a container has ended."""
PATIENCE_S = 3.0
PATIENCE_RATIO = 3.0
"""A later start is given up after three times the first one, and 3 s: long enough for a machine
that is busy meanwhile, and mostly far below the three minutes that SageMaker waits."""
ALSO_READ_ONLY = ("/run", "/var/tmp")  # noqa: S108  the container's own
"""Podman keeps these writable where the root file system is not; SageMaker promises neither."""
LOG_LINE_CHARS = 120


@dataclass(frozen=True)
class Conditions:
    """How one container is started; the defaults are an ordinary ``docker run IMAGE serve``.

    Attributes:
        port: Port that the server is to listen on.
        env: Environment variables.
        read_only: Whether the root file system is read-only.
        user: ``uid:gid``; None is the image's own.
        model: Folder to mount instead of the artifact.
        cpuset: Cores that it is bound to; None is all.
        mounts: Further files of this machine.
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
    """A container of the image under check.

    Attributes:
        running: The container in the engine.
        contract: Limits for its answers.
    """

    running: RunningContainer
    contract: Contract

    @property
    def port(self) -> int:
        """The port on this machine that it answers on."""
        return self.running.host_port or 0

    def ping(self) -> ProbeAnswer:
        """Send ``GET /ping``."""
        return ask(self.port, "GET", "/ping", timeout_s=self.contract.ping_s)

    def invoke(
        self, body: bytes, headers: Mapping[str, str], timeout_s: float | None = None
    ) -> ProbeAnswer:
        """Send a body to ``POST /invocations``."""
        timeout_s = timeout_s or self.contract.answer_s
        return ask(self.port, "POST", INVOCATIONS, body, headers, timeout_s=timeout_s)

    def grade(self, photograph: ProbePhotograph) -> ProbeAnswer:
        """Send a photograph to ``POST /invocations``."""
        return self.invoke(photograph.data, photograph.headers)

    def exit_state(self) -> ExitState | None:
        """Return how it ended; None while it runs."""
        state = self.running.exit_state()
        return None if state.is_running else state

    def exit_state_after(self, answer: ProbeAnswer) -> ExitState | None:
        """Return how it ended by an answer; if there was none, the engine may not know yet."""
        deadline = time.monotonic() + SETTLED_WITHIN_S
        while (state := self.exit_state()) is None and not answer.status:
            if time.monotonic() > deadline:
                break
            time.sleep(POLL_S)
        return state

    def last_log_line(self) -> str:
        """Return the last line of its log, shortened."""
        lines = self.running.logs(tail=5).strip().splitlines() or ["nothing in its log"]
        text = " ".join(lines[-1].split())
        return text if len(text) <= LOG_LINE_CHARS else f"{text[: LOG_LINE_CHARS - 1]}…"


@dataclass(frozen=True)
class ContainerStart:
    """How far a container got that was started.

    Attributes:
        container: None if the engine could not start it.
        ready_s: Seconds from the start to the first ping answered with 200; None if none was.
        first: The answer to the photograph that was sent at that moment.
        served_s: Seconds from the start until a photograph was answered; None if none was.
        trouble: Why it is not ready.
    """

    container: ContainerUnderTest | None
    ready_s: float | None = None
    first: ProbeAnswer | None = None
    served_s: float | None = None
    trouble: str = ""

    @property
    def is_serving(self) -> bool:
        """Whether it got ready and answered a photograph."""
        return self.served_s is not None

    def __str__(self) -> str:
        if self.ready_s is None:
            return f"never ready: {self.trouble}"
        return f"ready after {self.ready_s:.2f} s, a photograph then: {self.first}"


def patience_s(ready_s: float) -> float:
    """Return how long to wait for another start, when the first took so long (seconds)."""
    return PATIENCE_S + PATIENCE_RATIO * ready_s


class Host:
    """Starts containers of one image; ``with`` removes them all, whatever happens.

    Args:
        engine: Runs the containers.
        image: Name and tag, or id.
        artifact: A ``model.tar.gz`` of any kind.
        photograph: Sent to each container that gets ready.
        contract: The contract's limits.
        memory_mb: Memory limit of each container, MiB.
        cpus: CPU limit of each container.

    Attributes:
        is_model_writable: Whether each container gets a copy of the model that it may write to,
            for an image that does not start otherwise.
    """

    def __init__(
        self,
        engine: Engine,
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
        self._name = uuid.uuid4().hex[:12]

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="drdeploy-conform-"))
        try:
            unpack(self._artifact, self.folder / "model")
        except BaseException:
            self._clear()
            raise
        return self

    def __exit__(self, *exc_info: object) -> None:
        try:
            self.engine.remove_stale(f"{LABEL}={self._name}")
        finally:
            self._clear()

    @property
    def model(self) -> Path:
        """The artifact's files, as SageMaker extracts them."""
        return self.folder / "model"

    def start(self, conditions: Conditions) -> ContainerUnderTest:
        """Start a container and do not wait for it.

        Raises:
            EngineError: The engine cannot start it.
        """
        return ContainerUnderTest(self.engine.run(self._spec(conditions)), self.contract)

    def start_and_wait(self, conditions: Conditions, patience_s: float) -> ContainerStart:
        """Start a container, wait until it is ready, and send the photograph at that moment."""
        began = time.monotonic()
        try:
            container = self.start(conditions)
        except EngineError as err:
            return ContainerStart(None, trouble=err.what)
        return self.wait_until_ready(container, began, patience_s)

    def wait_until_ready(
        self, container: ContainerUnderTest, began: float, patience_s: float
    ) -> ContainerStart:
        """Ping a container until it answers 200, then send the photograph at once.

        Args:
            container: It was just started.
            began: When, on the monotonic clock.
            patience_s: Seconds since then after which it will not get ready any more.
        """
        while (waited_s := time.monotonic() - began) < patience_s:
            ping = container.ping()
            if ping.status == 200:
                return self._wait_for_answer(container, began)
            if (state := container.exit_state()) is not None:
                how = "out of memory" if state.oom_killed else f"status {state.exit_code}"
                ended = f"it ended after {waited_s:.1f} s ({how}): {container.last_log_line()}"
                return ContainerStart(container, trouble=ended)
            time.sleep(POLL_S)  # short: it is part of what is reported as the start's duration
        return ContainerStart(
            container, trouble=f"no ping was answered with 200 within {patience_s:.0f} s: {ping}"
        )

    def _wait_for_answer(self, container: ContainerUnderTest, began: float) -> ContainerStart:
        """Send the photograph at the moment that a ping said ready, and until it is answered."""
        ready_s = time.monotonic() - began
        first = answer = container.grade(self.photograph)
        while not answer.is_success and time.monotonic() - began < ready_s + patience_s(ready_s):
            if container.exit_state() is not None:
                break
            time.sleep(POLL_S)
            answer = container.grade(self.photograph)
        served_s = answer.ended_at - began if answer.is_success else None
        return ContainerStart(container, ready_s, first, served_s)

    def _spec(self, conditions: Conditions) -> ContainerSpec:
        model = Mount(conditions.model or self.model, MODEL_DIR)
        if self.is_model_writable and conditions.model is None:
            model = Mount(self._writable_model(), MODEL_DIR, read_only=False)
        empty = self.folder / "empty"
        empty.mkdir(exist_ok=True)
        empty.chmod(0o755)
        closed = tuple(Mount(empty, path) for path in ALSO_READ_ONLY)
        env = dict(conditions.env)
        # SageMaker sets this variable only where it chooses the port.
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
            # Only together with the user: an image that starts as root may need its capabilities
            # to become another user.
            drop_capabilities=conditions.user is not None,
            labels={LABEL: self._name},
            user=conditions.user,
        )

    def _writable_model(self) -> Path:
        copy = Path(tempfile.mkdtemp(dir=self.folder)) / "model"
        shutil.copytree(self.model, copy)
        for path in (copy, *copy.rglob("*")):
            path.chmod(0o777)  # which user the image runs as is not known here
        return copy

    def _clear(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)


def unpack(archive: Path, folder: Path) -> None:
    """Extract an archive so that any user may read its files, whatever they are.

    Raises:
        ArtifactError: It is not a readable ``.tar.gz``, or would write outside its folder.
    """
    folder.mkdir(parents=True)
    for member in read_archive(archive, ArchiveLimits()):
        path = folder / member.name
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("xb") as file:
            for chunk in member.chunks():
                file.write(chunk)
        path.chmod(0o644)  # the image's user is not the one who extracts
    if not any(folder.iterdir()):
        raise TruncatedArchive("The archive holds no file", where=str(archive))
    for path in (folder, *folder.rglob("*/")):
        path.chmod(0o755)
