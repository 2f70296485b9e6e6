"""Instances as containers, started as SageMaker starts them and confined more tightly.

The contract is the developer guide's, "Custom Inference Code with Hosting Services": the argument
``serve``, the model in ``/opt/ml/model``, answers on port 8080, SIGKILL 30 s after SIGTERM.  The
confinement comes with :class:`~drdeploy.hosting.engine.ContainerSpec`: a read-only root with a
small ``/tmp`` in memory, no capabilities, no new privileges, a bound on processes, and no swap.
SageMaker asks for less, so a server that works here needs nothing that SageMaker could withhold.
"""

from __future__ import annotations

import threading
import time
from contextlib import suppress

from drdeploy.errors import EngineError
from drdeploy.hosting.engine import ContainerSpec, Engine, Mount, RunningContainer
from drdeploy.hosting.engine.ports import LOOPBACK, free_port
from drdeploy.hosting.local.instances.instance import (
    STOP_GRACE_S,
    ImageUnavailable,
    InstanceSpec,
    Isolation,
    PlatformFailed,
)
from drdeploy.hosting.local.instances.service_folders import LABEL
from drdeploy.hosting.local.registry.ecr_uri import EcrUri
from drdeploy.hosting.local.registry.server_profiles import profile_of_environment, profile_of_tag
from drdeploy.hosting.serving.settings import CONTAINER_PORT, MODEL_DIR

BELIEVED_ALIVE_S = 1.0
"""How long a container that was found alive is taken to be: asking the engine costs milliseconds,
and every request would ask."""
MEMORY_KNOWN_S = 1.0
"""How long a reading of memory is used again: a new one takes an engine up to a second, and the
metrics would fall behind the requests."""
LOG_TAIL_LINES = 20


class ContainerBackend:
    """Starts instances as containers.

    Args:
        engine: The container engine.
        service: Name of the local service, with which its containers are labelled.
        registry: Host and port of the local registry, from which ECR's images are pulled.
    """

    isolation: Isolation = "container"

    def __init__(self, engine: Engine, service: str, registry: str = "") -> None:
        self._registry = registry
        self._engine = engine
        self._service = service
        self._fastest_network = engine.fastest_network
        self._own_images: set[str] = set()
        self._pulled_names: set[str] = set()

    def pin(self, image: str) -> str:
        """Return the id of the image, after pulling it from the local registry if it is there.

        Otherwise the engine's own images are searched, under the full name and under the name
        without its registry, so that a model written for AWS finds ``drdeploy:lean`` here.
        """
        image_id = self._pull(image) or self._image_id_of(image)
        variables = self._engine.image_config(image_id).get("Config", {}).get("Env") or ()
        if profile_of_tag(image) or profile_of_environment(variables):
            self._own_images.add(image_id)
        return image_id

    def start(self, spec: InstanceSpec) -> ContainerInstance:
        """Start a container; returns without waiting for its server."""
        # Sharing the host's network starts a container some 130 ms sooner, but its server must
        # then take the port that it is given.  Only our own images are known to obey
        # SAGEMAKER_BIND_TO_PORT; any other gets a network of its own and the contract's port.
        network = self._fastest_network if spec.image in self._own_images else "bridge"
        port = free_port() if network == "host" else CONTAINER_PORT
        container = ContainerSpec(
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
        try:
            return ContainerInstance(spec, self._engine.run(container))
        except (EngineError, OSError) as err:
            reason = err.what if isinstance(err, EngineError) else str(err)
            raise PlatformFailed(f"The container cannot be started: {reason}") from err

    def close(self) -> None:
        """Remove the containers that are left, and the names under which images were pulled."""
        self._engine.remove_stale(f"{LABEL}={self._service}")
        while self._pulled_names:
            with suppress(EngineError):
                self._engine.untag(self._pulled_names.pop())

    def _pull(self, image: str) -> str | None:
        uri = EcrUri.parse(image)
        if uri is None:
            return None
        repository = f"{self._registry}/{uri.name}"
        is_digest = uri.reference.startswith("sha256:")
        try:
            image_id = self._engine.pull(repository, uri.reference)
        except EngineError as err:
            if is_digest:  # a digest names this very image: one of the same name will not do
                raise ImageUnavailable(
                    f"The image {image} cannot be pulled: {err.what}",
                    remedy="Push it with `drdeploy image push`, with an engine on this machine",
                ) from err
            return None
        self._pulled_names.add(f"{repository}{'@' if is_digest else ':'}{uri.reference}")
        return image_id

    def _image_id_of(self, image: str) -> str:
        for name in dict.fromkeys((image, image.rpartition("/")[2])):
            with suppress(EngineError):
                return self._engine.image_id(name)
        raise ImageUnavailable(
            f"The container engine has no image {image}",
            remedy="Build it with `drdeploy image build`, or pull it",
        )


class ContainerInstance:
    """A running container; answers that are asked for often are remembered for a moment."""

    def __init__(self, spec: InstanceSpec, container: RunningContainer) -> None:
        self.name = spec.name
        self.port = container.host_port or 0
        self._container = container
        self._believed_until = 0.0
        self._memory_share: float | None = None
        self._memory_known_until = 0.0
        self._has_ended = False
        self._is_stopped = False
        self._oom_killed = False
        self._stopping = threading.Lock()

    def is_alive(self) -> bool:
        """Return whether the container runs."""
        if not self._has_ended and time.monotonic() >= self._believed_until:
            try:
                state = self._container.exit_state()
            except EngineError:  # it is gone, or the engine is
                self._has_ended = True
            else:
                self._believed_until = time.monotonic() + BELIEVED_ALIVE_S
                self._has_ended = not state.is_running
                self._oom_killed = state.oom_killed
        return not self._has_ended

    def refresh(self) -> None:
        """Ask the engine the next time, whatever it said a moment ago."""
        self._believed_until = 0.0

    def ran_out_of_memory(self) -> bool:
        """Return whether the engine has reported that the kernel killed it for want of memory."""
        return self._oom_killed

    def memory_share(self) -> float | None:
        """Return memory in use over its limit; None where the engine does not report it."""
        if self._has_ended:
            return None
        if time.monotonic() >= self._memory_known_until:
            try:
                self._memory_share = self._container.stats().memory_utilization or None
            except EngineError:
                self._memory_share = None
            self._memory_known_until = time.monotonic() + MEMORY_KNOWN_S
        return self._memory_share

    def log_tail(self) -> str:
        """Return the last lines that it wrote."""
        try:
            return self._container.logs(LOG_TAIL_LINES).strip()
        except EngineError:
            return ""

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Stop and remove the container; does nothing the second time."""
        with self._stopping:
            if self._is_stopped:
                return
            self._is_stopped = self._has_ended = True
            try:
                if grace_s > 0:
                    self._container.stop(round(grace_s))
            finally:
                self._container.remove()
