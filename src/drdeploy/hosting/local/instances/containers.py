"""Start instances as containers, restricted as on SageMaker or even more.

The developer guide ("Custom Inference Code with Hosting Services") says how SageMaker runs a
container. The container is started with the argument ``serve``, and listens on port 8080. The model
is in ``/opt/ml/model``, which is read-only. To stop the container, SageMaker sends SIGTERM, and
SIGKILL 30 s later.

A container of a real-time endpoint runs as the user of its image, with a writable root file system
and the engine's usual capabilities. The developer guide even says that SageMaker "expects all
containers to run with root users". A container of a serverless endpoint runs without capabilities,
as a user that no image defines. It can write to its root file system only where the file modes
allow every user to write. The developer guide (Serverless Inference, "Troubleshooting") advises
``chmod o+rwX``. If the service was started with ``--strict``, every container has the restrictions
that are the defaults of :class:`~drdeploy.hosting.container_engine.ContainerSpec`.

No container uses the host's network, and containers of two endpoints never share a network. To
reach a container without a network, the service enters the container's network namespace, which
only root may do. A container has no network in three cases:

- The model asks for network isolation.
- The image has the label ``NETWORK_LABEL``, like the images of this project, and the service runs
  as root on the machine of the container engine.
- Other users share the machine. They could otherwise reach the container's port.

All other containers are on a network that belongs to their endpoint and leads to the outside, as on
AWS.
"""

from __future__ import annotations

import bisect
import itertools
import tempfile
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from drdeploy.errors import EngineError, InvalidInput
from drdeploy.hosting.container_engine import (
    NO_NETWORK,
    ContainerEngine,
    ContainerSpec,
    Mount,
    RunningContainer,
)
from drdeploy.hosting.local.instances.container_end_events import ContainerEndListener
from drdeploy.hosting.local.instances.instance import (
    STOP_GRACE_S,
    ImageUnavailable,
    InstanceSpec,
    Isolation,
    LogLine,
    ModelRefused,
    PinnedImage,
    PlatformFailed,
    ResourceUse,
    read_disk_share,
)
from drdeploy.hosting.local.instances.service_folders import LABEL
from drdeploy.hosting.local.registry.ecr_uri import EcrUri
from drdeploy.hosting.local.registry.server_profiles import find_profile_in_image_config
from drdeploy.hosting.sagemaker.container_contract import BIND_TO_PORT_LABEL, UNPRIVILEGED_USER
from drdeploy.hosting.sagemaker.gpu_hosts import parse_image_variables
from drdeploy.hosting.serving.settings import CONTAINER_PORT, MODEL_DIR
from drdeploy.units import MILLISECONDS_PER_S

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Mapping

NETWORK_LABEL = "org.drdeploy.network"
"""The label of an image that needs no network.

The value of the label is ``none``. If the service runs as root on the machine of the container
engine, the containers of an image with this label have no network.
"""
PORT_VARIABLE = "SAGEMAKER_BIND_TO_PORT"

MEMORY_KNOWN_S = 1.0
"""Seconds for which a container's measured memory is kept before it is measured again. A
measurement takes the engine up to a second. If every reading were a new measurement, the metrics
would fall behind the requests.
"""
LOG_TAIL_LINES = 20
LOG_LINES = 5000


class ContainerBackend:
    """Starts instances as containers.

    Args:
        engine: The container engine.
        service: The name of the local service. A label of each container has this name as its
            value.
        registry: The host and port of the local registry, from which images of ECR are pulled.
        has_image: A function that takes the name of a repository, and a tag or digest. It returns
            whether the local registry has this image.
        credentials: A function that returns the ``username`` and the ``password`` for the local
            registry, or None if it needs none.
        shared: Whether other users share this machine. On a shared machine, no container may
            publish a port.
        is_strict: Whether containers are restricted more than on SageMaker.

    Raises:
        InvalidInput: The machine is shared, and the service cannot reach containers without a port.
    """

    isolation: Isolation = "container"

    def __init__(
        self,
        engine: ContainerEngine,
        service: str,
        registry: str = "",
        *,
        has_image: Callable[[str, str], bool] = lambda _name, _reference: False,
        credentials: Callable[[], Mapping[str, str] | None] = lambda: None,
        shared: bool = False,
        is_strict: bool = False,
    ) -> None:
        self._registry = registry
        self._has_image = has_image
        self._credentials = credentials
        self._engine = engine
        self._service = service
        self._shared = shared
        self._ends = ContainerEndListener(
            lambda since: engine.open_container_end_events(f"{LABEL}={service}", since)
        )
        self._is_strict = is_strict
        self._pulled_names: set[str] = set()
        self._network_numbers = itertools.count(1)
        self._unused_networks: set[str] = set()
        if shared and not engine.can_enter_network_namespaces:
            raise InvalidInput(
                "Every user of this machine could send requests to the containers",
                where="--shared",
                remedy=(
                    "Choose --isolation process, or start the service as root, because only "
                    "root can reach containers that have no port"
                ),
            )

    def check_model(self, environment: Mapping[str, str], *, isolated: bool) -> None:
        """Refuse a model that chooses its port, or needs network isolation that is impossible."""
        if environment.get(PORT_VARIABLE, str(CONTAINER_PORT)) != str(CONTAINER_PORT):
            raise ModelRefused(
                f"Environment sets {PORT_VARIABLE}, but the service chooses the port"
            )
        if isolated and not self._engine.can_enter_network_namespaces:
            raise ModelRefused(
                "EnableNetworkIsolation needs root on the machine of the container engine, "
                "because only root can reach a container without a network"
            )

    def check_image(self, image: str) -> None:
        """Check that the local registry or the engine has an image, without pulling it."""
        uri = EcrUri.parse(image)
        if uri is not None and self._has_image(uri.name, uri.reference):
            return
        if uri is not None and uri.reference.startswith("sha256:"):
            raise _make_unpulled_error(image, "the local registry does not have the image")
        self._find_image_id(image)

    def find_image_variables(self, image: str) -> Mapping[str, str]:
        """Return the environment variables of an image; empty if the image is not pulled yet."""
        try:
            config = self._engine.image_config(self._find_image_id(image)).get("Config") or {}
        except (EngineError, ImageUnavailable):
            return {}
        return parse_image_variables(config.get("Env"))

    def pin_image_and_network(self, image: str, *, isolated: bool) -> PinnedImage:
        """Return the image's id and a network for its instances.

        An image that has a name in ECR is pulled from the local registry. If the registry lacks it,
        and the name has no digest, the image is looked up in the engine: first by its full name,
        and then by the part of the name after the last slash. A model that names an image in ECR
        can therefore run a local image such as ``drdeploy:lean``.
        """
        image_id = self._pull_image(image) or self._find_image_id(image)
        config = self._engine.image_config(image_id).get("Config") or {}
        labels = config.get("Labels") or {}
        is_own = find_profile_in_image_config(config) is not None
        accepts_port = labels.get(BIND_TO_PORT_LABEL) == "true"
        needs_none = (
            labels.get(NETWORK_LABEL) == NO_NETWORK and self._engine.can_enter_network_namespaces
        )
        if isolated or needs_none or self._shared:
            return PinnedImage(image_id, NO_NETWORK, is_own, accepts_port)
        network = f"{self._service}-network-{next(self._network_numbers)}"
        try:
            self._engine.create_network(network, f"{LABEL}={self._service}")
        except EngineError as err:
            raise PlatformFailed(err.what) from err
        return PinnedImage(image_id, network, is_own, accepts_port)

    def release_network(self, image: PinnedImage) -> None:
        """Remove the endpoint's network, now or as soon as the last container has left it."""
        if image.network != NO_NETWORK:
            self._unused_networks.add(image.network)
            self._remove_unused_networks()

    def start_instance(self, spec: InstanceSpec) -> ContainerInstance:
        """Start a container, and return without waiting for its server."""
        # A stranger's server gets no variable that AWS would not set.
        own = {"DRDEPLOY_CONTAINER_ID": spec.name} if spec.image.is_own else {}
        port = {PORT_VARIABLE: str(CONTAINER_PORT)} if spec.image.accepts_port else {}
        is_open = not spec.is_serverless and not self._is_strict
        container = ContainerSpec(
            image=spec.image.name,
            env={**own, **spec.environment, **port},
            mounts=() if spec.model_dir is None else (Mount(spec.model_dir, MODEL_DIR),),
            memory_mb=spec.memory_mb,
            cpus=spec.cpus,
            port=CONTAINER_PORT,
            network=spec.image.network,
            read_only=self._is_strict,
            drop_capabilities=not is_open,
            may_gain_privileges=is_open,
            user=UNPRIVILEGED_USER if spec.is_serverless and not self._is_strict else None,
            labels={LABEL: self._service},
            name=spec.name,
        )
        try:
            started = self._engine.start_container(container)
        except (EngineError, OSError) as err:
            reason = err.what if isinstance(err, EngineError) else str(err)
            raise PlatformFailed(f"The container cannot be started: {reason}") from err
        return ContainerInstance(spec, started, self._ends, self._remove_unused_networks)

    def close(self) -> None:
        """Remove the service's containers and networks, and untag the images that it pulled."""
        self._ends.close()
        self._engine.remove_containers_with_label(f"{LABEL}={self._service}")
        self._engine.remove_unused_networks(f"{LABEL}={self._service}")
        while self._pulled_names:
            with suppress(EngineError):
                self._engine.untag_image(self._pulled_names.pop())

    def _pull_image(self, image: str) -> str | None:
        uri = EcrUri.parse(image)
        if uri is None:
            return None
        repository = f"{self._registry}/{uri.name}"
        is_digest = uri.reference.startswith("sha256:")
        try:
            image_id = self._engine.pull_image(
                repository, uri.reference, credentials=self._credentials()
            )
        except EngineError as err:
            if is_digest:  # another image of this name would not have the digest
                raise _make_unpulled_error(image, err.what) from err
            return None
        self._pulled_names.add(f"{repository}{'@' if is_digest else ':'}{uri.reference}")
        return image_id

    def _remove_unused_networks(self) -> None:
        for network in tuple(self._unused_networks):
            if self._engine.remove_network(network):
                self._unused_networks.discard(network)

    def _find_image_id(self, image: str) -> str:
        for name in dict.fromkeys((image, image.rpartition("/")[2])):
            with suppress(EngineError):
                return self._engine.image_id(name)
        raise ImageUnavailable(
            f"The container engine has no image {image}",
            remedy="Build the image with `drdeploy image build`, or pull it from its registry",
        )


class ContainerInstance:
    """A running container; its state is cached until the engine reports a change."""

    has_line_times: ClassVar[bool] = True

    def __init__(
        self,
        spec: InstanceSpec,
        container: RunningContainer,
        ends: ContainerEndListener,
        on_removal: Callable[[], None],
    ) -> None:
        self.name = spec.name
        self._container = container
        # The archive is extracted into model_dir. A model without an archive has no folder, so the
        # temporary folder stands for the disk.
        self._disk_folder = spec.model_dir or Path(tempfile.gettempdir())
        self._ends = ends
        self._on_removal = on_removal
        # The engine has just started the container. Asking for its state now would only lengthen
        # every cold start.
        self._started_at = self._asked_at = time.monotonic()
        self._has_news = False
        self._memory_share: float | None = None
        self._memory_known_until = 0.0
        self._has_ended = False
        self._is_stopped = False
        self._oom_killed = False
        self._stopping = threading.Lock()
        self._reading = threading.Lock()
        self._read_until_s = 0
        self._lines_in_second = 0
        self._unread_lines: list[LogLine] = []
        ends.register_container(container.id, self.forget_cached_state)

    def connect(self, timeout_s: float) -> socket.socket:
        """Return a connection to the server in the container."""
        try:
            return self._container.connect(timeout_s)
        except ConnectionRefusedError:
            raise
        except EngineError as err:
            self.forget_cached_state()
            raise ConnectionRefusedError(err.what) from err

    def is_alive(self) -> bool:
        """Return whether the container runs."""
        if not self._has_ended and (
            self._has_news or self._ends.must_ask_engine_for_state(self._asked_at)
        ):
            self._has_news = False  # first, so that a report during the request counts
            self._asked_at = time.monotonic()
            try:
                state = self._container.exit_state()
            except EngineError:  # the container or the engine is gone
                self._has_ended = True
            else:
                self._has_ended = not state.is_running
                self._oom_killed = state.oom_killed
        return not self._has_ended

    def forget_cached_state(self) -> None:
        """Forget whether the container runs, so that :meth:`is_alive` asks the engine next time."""
        self._has_news = True

    def ran_out_of_memory(self) -> bool:
        """Return whether the engine reported that the container ran out of memory."""
        return self._oom_killed

    def read_memory_share(self) -> float | None:
        """Return the memory in use as a share of the limit, or None if unknown."""
        if self._has_ended:
            return None
        if time.monotonic() >= self._memory_known_until:
            try:
                self._memory_share = self._container.read_stats().memory_utilization or None
            except EngineError:
                self._memory_share = None
            self._memory_known_until = time.monotonic() + MEMORY_KNOWN_S
        return self._memory_share

    def read_resource_use(self) -> ResourceUse | None:
        """Return the CPU time and memory that the container has used, or None if unknown."""
        if self._has_ended:
            return None
        try:
            stats = self._container.read_stats()
        except EngineError:
            self.forget_cached_state()  # its end may not have been reported
            return None
        return ResourceUse(
            time.monotonic() - self._started_at,
            stats.cpu_s,
            stats.memory_utilization or None,
            read_disk_share(self._disk_folder),
        )

    def read_log_tail(self) -> str:
        """Return the last lines of the container's log."""
        return self._read_log_lines(LOG_TAIL_LINES).strip()

    def read_log(self) -> str:
        """Return the container's log, or its last 5,000 lines."""
        return self._read_log_lines(LOG_LINES)

    def _read_log_lines(self, lines: int) -> str:
        try:
            return self._container.read_logs(lines)
        except EngineError:
            return ""

    def read_new_lines(self) -> list[LogLine]:
        """Return the lines written since the last call, each with its time from the engine."""
        with self._reading:
            if not self._is_stopped:
                self._fetch_new_log_lines()
            lines, self._unread_lines = self._unread_lines, []
        return lines

    def _fetch_new_log_lines(self) -> None:
        """Ask the engine for the lines that are newer than the last line that it returned.

        Podman 4.3 writes times in whole seconds. The engine is therefore asked again for all lines
        from the second in which the last known line was written. Lines that are known already are
        left out.
        """
        try:
            lines = self._container.read_timed_lines(self._read_until_s)
        except EngineError:
            return
        seconds = [int(at) for at, _ in lines]
        same = self._read_until_s
        first_new = bisect.bisect_left(seconds, same) + self._lines_in_second
        self._unread_lines += [
            LogLine(int(at * MILLISECONDS_PER_S), text) for at, text in lines[first_new:]
        ]
        if seconds:
            self._read_until_s = max(seconds)
            self._lines_in_second = seconds.count(self._read_until_s)

    def stop(self, grace_s: float = STOP_GRACE_S) -> None:
        """Stop and remove the container; a second call does nothing."""
        with self._stopping:
            if self._is_stopped:
                return
            self._is_stopped = self._has_ended = True
            self._ends.forget_container(self._container.id)
            try:
                if grace_s > 0:
                    self._container.stop(round(grace_s))
                else:
                    self._container.kill()
            finally:
                with self._reading:
                    self._fetch_new_log_lines()
                self._container.remove()
                self._on_removal()


def _make_unpulled_error(image: str, reason: str) -> ImageUnavailable:
    return ImageUnavailable(
        f"The image {image} cannot be pulled: {reason}",
        remedy="Push the image with `drdeploy image push`, on a machine with a container engine",
    )
