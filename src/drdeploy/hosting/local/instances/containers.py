"""The model server as ``IMAGE serve`` in the container engine, as SageMaker starts it."""

from __future__ import annotations

import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from drdeploy.errors import EngineError
from drdeploy.hosting.engine import ContainerSpec, Mount
from drdeploy.hosting.engine.ports import LOOPBACK, free_port
from drdeploy.hosting.local.instances.instance import (
    STOP_GRACE_S,
    ImageUnavailable,
    InstanceSpec,
    Isolation,
    PlatformFailed,
)
from drdeploy.hosting.local.instances.processes import profile_of_image
from drdeploy.hosting.local.instances.service_folders import LABEL
from drdeploy.hosting.local.registry.ecr_uri import EcrUri
from drdeploy.hosting.local.registry.routes import PROFILE_VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.hosting.engine import Engine, RunningContainer
    from drdeploy.hosting.engine.spec import Network

from drdeploy.hosting.serving.settings import CONTAINER_PORT, MODEL_DIR

ALIVE_FOR_S = 1.0
"""An inspection takes milliseconds; a container that was alive is believed this long."""
MEMORY_FOR_S = 1.0
"""An engine takes up to a second to tell it; asked for each request, metrics would fall behind."""
LOG_TAIL_LINES = 20


class ContainerBackend:
    """Starts containers.

    Args:
        engine: Answers the Docker API.
        service: Labels the containers.
        registry: Host and port of the registry that stands in for ECR's.
    """

    isolation: Isolation = "container"

    def __init__(self, engine: Engine, service: str, registry: str = "") -> None:
        self._registry = registry
        self._engine = engine
        self._service = service
        self._network = engine.fastest_network
        self._own_images: set[str] = set()
        self._pulled_names: set[str] = set()

    def pin(self, image: str) -> str:
        """The image's id.

        An image of ECR's is pulled from the registry of this machine, where it holds it; any
        other that is named with a registry is also looked for without it.
        """
        image_id = self._pulled(image) or self._found(image)
        if self._is_own(image, image_id):
            self._own_images.add(image_id)
        return image_id

    def _pulled(self, image: str) -> str | None:
        stored = EcrUri.parse(image)
        if stored is None:
            return None
        repository = f"{self._registry}/{stored.name}"
        try:
            image_id = self._engine.pull(repository, stored.reference)
        except EngineError as err:
            if stored.reference.startswith("sha256:"):
                raise ImageUnavailable(
                    f"The image {image} cannot be pulled: {err.what}",
                    remedy="Push it with `drdeploy image push`, with an engine on this machine",
                ) from err
            return None
        separator = "@" if stored.reference.startswith("sha256:") else ":"
        self._pulled_names.add(f"{repository}{separator}{stored.reference}")
        return image_id

    def _found(self, image: str) -> str:
        for name in dict.fromkeys((image, image.rpartition("/")[2])):
            try:
                return self._engine.image_id(name)
            except EngineError:
                continue
        raise ImageUnavailable(
            f"The container engine has no image {image}",
            remedy="Build it with `drdeploy image build`, or pull it",
        )

    def _is_own(self, image: str, image_id: str) -> bool:
        if profile_of_image(image):
            return True
        variables = self._engine.image_config(image_id).get("Config", {}).get("Env") or ()
        return any(one.startswith(f"{PROFILE_VARIABLE}=") for one in variables)

    def start(self, spec: InstanceSpec) -> ContainerInstance:
        """See :class:`Backend`."""
        try:
            container = self._engine.run(self._container_spec(spec))
        except (EngineError, OSError) as err:
            reason = err.what if isinstance(err, EngineError) else str(err)
            raise PlatformFailed(f"The container cannot be started: {reason}") from err
        return ContainerInstance(spec, container)

    def close(self) -> None:
        """Remove whatever containers are still there, and the names that images were pulled by."""
        self._engine.remove_stale(f"{LABEL}={self._service}")
        while self._pulled_names:
            with suppress(EngineError):
                self._engine.untag(self._pulled_names.pop())

    def _container_spec(self, spec: InstanceSpec) -> ContainerSpec:
        network = self._network_for(spec.image)
        port = free_port() if network == "host" else CONTAINER_PORT
        return ContainerSpec(
            image=spec.image,
            env={
                **spec.environment,
                "SAGEMAKER_BIND_TO_PORT": str(port),
                "DRDEPLOY_CONTAINER_ID": spec.name,
                **({"DRDEPLOY_BIND_HOST": LOOPBACK} if network == "host" else {}),
            },
            mounts=(Mount(spec.model_dir, MODEL_DIR),),
            memory_mb=spec.memory_mb,
            cpus=spec.cpus,
            port=port,
            network=network,
            labels={LABEL: self._service},
            name=spec.name,
        )

    def _network_for(self, image: str) -> Network:
        # Only our own images are known to listen where they are told to.
        return self._network if image in self._own_images else "bridge"


class ContainerInstance:
    """A container; what is asked often is answered from memory."""

    def __init__(
        self,
        spec: InstanceSpec,
        container: RunningContainer,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = spec.name
        self._container = container
        self._clock = clock
        self._believed_until = 0.0
        self._share: float | None = None
        self._share_until = 0.0
        self._is_over = False
        self._is_stopped = False
        self._oom_killed = False
        self._stopping = threading.Lock()

    @property
    def port(self) -> int:
        """See :class:`Instance`."""
        return self._container.host_port or 0

    def is_alive(self) -> bool:
        """See :class:`Instance`."""
        if not self._is_over and self._clock() >= self._believed_until:
            self._look()
        return not self._is_over

    def look_again(self) -> None:
        """See :class:`Instance`."""
        self._believed_until = 0.0

    def ran_out_of_memory(self) -> bool:
        """See :class:`Instance`."""
        return self._oom_killed

    def memory_share(self) -> float | None:
        """See :class:`Instance`."""
        if self._is_over:
            return None
        if self._clock() >= self._share_until:
            self._share = self._memory_share_now()
            self._share_until = self._clock() + MEMORY_FOR_S
        return self._share

    def _memory_share_now(self) -> float | None:
        try:
            return self._container.stats().memory_utilization or None
        except EngineError:
            return None

    def log_tail(self) -> str:
        """See :class:`Instance`."""
        try:
            return self._container.logs(LOG_TAIL_LINES).strip()
        except EngineError:
            return ""

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """See :class:`Instance`."""
        with self._stopping:
            if self._is_stopped:
                return
            self._is_stopped = self._is_over = True
            try:
                if grace_s > 0:
                    self._container.stop(round(grace_s))
            finally:
                self._container.remove()

    def _look(self) -> None:
        try:
            state = self._container.exit_state()
        except EngineError:
            self._is_over = True
            return
        self._believed_until = self._clock() + ALIVE_FOR_S
        self._is_over = not state.is_running
        self._oom_killed = state.oom_killed
