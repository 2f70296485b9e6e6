"""Finds a container engine, builds and moves images with it, starts containers."""

from __future__ import annotations

import os
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from drdeploy.errors import EngineError, ImageBuildFailed, requires_extra
from drdeploy.hosting.engine import distribution
from drdeploy.hosting.engine.container import RunningContainer, kill_and_remove
from drdeploy.hosting.engine.failures import engine_errors, engine_unavailable
from drdeploy.hosting.engine.ports import free_port

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from docker import APIClient

    from drdeploy.hosting.engine.spec import ContainerSpec, Network

PROBE_TIMEOUT_S = 15.0
CALL_TIMEOUT_S = 120
BUILD_TIMEOUT_S = 1800
LOG_TAIL_LINES = 30
PORT_ATTEMPTS = 5


@dataclass(frozen=True)
class ImageSummary:
    """An image that the engine holds.

    Attributes:
        id: ``sha256:…`` of its configuration.
        tags: Names with tags, without the registry name that an engine gives to local images.
        size_bytes: On disk, as the engine counts.
        created_at: ISO 8601.
    """

    id: str
    tags: tuple[str, ...]
    size_bytes: int
    created_at: str


class Engine:
    """A container engine that answers; safe to use from several threads.

    Args:
        api: The SDK's low-level client.  The high-level one inspects a container after every
            call, and a cold start would pay for these round trips.
        host: URL of the engine's socket.
    """

    def __init__(self, api: APIClient, host: str) -> None:
        self._api = api
        self.host = host

    @classmethod
    def find(cls, environ: Mapping[str, str] = os.environ) -> Self | None:
        """Return the engine at ``DOCKER_HOST``, else at a usual socket; None if none answers."""
        for host in _candidates(environ):
            if (api := _connect(host)) is not None:
                return cls(api, host)
        return None

    @classmethod
    def require(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Return the engine at ``DOCKER_HOST``, else at a usual socket.

        Raises:
            EngineUnavailable: No engine answers.
        """
        engine = cls.find(environ)
        if engine is None:
            raise engine_unavailable(environ.get("DOCKER_HOST", ""))
        return engine

    @property
    def version(self) -> str:
        """The engine's name and version, for example ``Podman Engine 4.3.1``."""
        with engine_errors("The engine does not report its version", where=self.host):
            answer = self._api.version()
        components = answer.get("Components") or [{}]
        return f"{components[0].get('Name', 'Engine')} {answer.get('Version', '')}".strip()

    @property
    def fastest_network(self) -> Network:
        """The network that starts fastest: ``host`` if the engine is local, else ``bridge``.

        A container on the host's network needs the host's loopback to be this machine's.
        """
        return "host" if self.is_local else "bridge"

    @property
    def is_local(self) -> bool:
        """Whether its containers are processes of this system.

        Those of a remote engine are not, and Docker Desktop runs them in a virtual machine, behind
        what looks like a local socket.
        """
        has_socket = self.host.startswith("unix://") and os.uname().sysname == "Linux"
        return has_socket and "Docker Desktop" not in str(self._info.get("OperatingSystem", ""))

    @property
    def cores(self) -> int:
        """CPU cores of the machine that containers run on."""
        return int(self._info.get("NCPU", 0)) or 1

    def build(
        self,
        context: Path,
        dockerfile: str,
        tag: str,
        build_args: Mapping[str, str] | None = None,
        *,
        network: str = "host",
        platform: str | None = None,
        log: Callable[[str], None] | None = None,
    ) -> str:
        """Build an image, reusing the layers in the engine's cache.

        Args:
            context: Folder that is sent to the engine, without what its ``.dockerignore`` names.
            dockerfile: Path relative to ``context``.
            tag: Name and tag of the image.
            build_args: Values for the Dockerfile's ``ARG``.
            network: Network of the build's steps; ``host`` reaches whatever this machine reaches.
            platform: For example ``linux/arm64``; None is the engine's own.
            log: Called with each line of the build's output.

        Returns:
            The image's id.

        Raises:
            ImageBuildFailed: The message ends with the last lines of the log.
        """
        lines: list[str] = []
        with engine_errors(f"{tag} cannot be built", where=dockerfile):
            events = self._api.build(
                path=str(context),
                dockerfile=dockerfile,
                tag=tag,
                buildargs=dict(build_args or {}),
                network_mode=network,
                platform=platform,
                rm=True,
                decode=True,
                timeout=BUILD_TIMEOUT_S,
            )
            for event in events:
                for line in str(event.get("stream", "")).splitlines():
                    lines.append(line)
                    if log is not None:
                        log(line)
                if "error" in event:
                    tail = "\n".join(lines[-LOG_TAIL_LINES:])
                    raise ImageBuildFailed(
                        f"{tag} does not build: {str(event['error']).strip()}",
                        where=dockerfile,
                        remedy=f"The end of its log:\n{tail}",
                    )
        return self.image_id(tag)

    def run(self, spec: ContainerSpec) -> RunningContainer:
        """Create and start a container, in two calls to the engine.

        Raises:
            EngineError: There is no such image, or the engine refuses; no container is left.
        """
        attempts = PORT_ATTEMPTS if spec.host_port is None and spec.network == "bridge" else 1
        for attempt in range(attempts):
            try:
                return self._run_on(spec, _host_port(spec))
            except EngineError as err:
                # Another process may take the port between our search and the engine's bind.
                is_taken = "already in use" in err.what or "already allocated" in err.what
                if attempt + 1 == attempts or not is_taken:
                    raise
        raise EngineError("There is no free port for the container", where=spec.image)

    def images(self) -> tuple[ImageSummary, ...]:
        """List the images that have a tag."""
        with engine_errors("The engine does not list its images", where=self.host):
            return tuple(
                ImageSummary(
                    id=str(image["Id"]),
                    # Podman writes `localhost/drdeploy:lean`, Docker `docker.io/library/…`.
                    tags=tuple(
                        tag.removeprefix("docker.io/library/").removeprefix("localhost/")
                        for tag in image["RepoTags"]
                    ),
                    size_bytes=int(image["Size"]),
                    created_at=datetime.fromtimestamp(int(image["Created"]), tz=UTC).isoformat(),
                )
                for image in self._api.images()
                if image.get("RepoTags")
            )

    def image_id(self, image: str) -> str:
        """Return the id that a tag stands for now.

        Raises:
            EngineError: There is no such image.
        """
        return str(self.image_config(image)["Id"])

    def image_config(self, image: str) -> dict[str, Any]:
        """Return an image's description as ``docker inspect`` prints it.

        Raises:
            EngineError: There is no such image.
        """
        with engine_errors(f"{image} cannot be found", where=self.host):
            return dict(self._api.inspect_image(image))  # type: ignore[no-untyped-call]  # stubs

    def save(self, image: str) -> Iterator[bytes]:
        """Yield an image as ``docker image save`` writes it: a tar file in chunks.

        Raises:
            EngineError: There is no such image.
        """
        with engine_errors(f"{image} cannot be saved", where=self.host):
            yield from self._api.get_image(image)

    def push(
        self, image: str, repository: str, tag: str, *, credentials: Mapping[str, str] | None = None
    ) -> None:
        """Push an image to ``REPOSITORY:TAG``; the local image does not keep that name.

        Args:
            image: Tag or id of a local image.
            repository: With the registry's host.
            tag: The image's tag in the registry.
            credentials: ``username`` and ``password`` for the registry.

        Raises:
            EngineError: There is no such image, or the registry refuses.
        """
        with engine_errors(f"{image} cannot be pushed", where=self.host):
            self._api.tag(image, repository, tag)
        try:
            distribution.push(self._api, repository, tag, credentials)
        finally:
            # The name of an ECR repository is long-lived there, and only clutter here.
            self.untag(f"{repository}:{tag}")

    def pull(self, repository: str, reference: str) -> str:
        """Pull an image by digest or tag and return its id.

        Raises:
            EngineError: The registry or the engine refuses.
        """
        is_podman = "podman" in self.version.lower()
        distribution.pull(self._api, repository, reference, is_podman=is_podman)
        separator = "@" if reference.startswith("sha256:") else ":"
        return self.image_id(f"{repository}{separator}{reference}")

    def untag(self, reference: str) -> None:
        """Remove a name from an image, and the image itself if that was its only name.

        Raises:
            EngineError: There is no such name, or a container still uses it.
        """
        with engine_errors(f"{reference} cannot be removed", where=self.host):
            self._api.remove_image(reference, noprune=True)

    def containers(self, label: str) -> tuple[str, ...]:
        """Return the ids of all containers with a label, given as ``name`` or ``name=value``."""
        with engine_errors("The engine does not list its containers", where=self.host):
            found = self._api.containers(all=True, filters={"label": label})
        return tuple(str(one["Id"]) for one in found)

    def remove_stale(self, label: str) -> tuple[str, ...]:
        """Kill and remove every container with a label, given as ``name`` or ``name=value``.

        Returns:
            The ids of the removed containers.
        """
        ids = self.containers(label)
        for container_id in ids:
            with engine_errors("A stale container cannot be removed", where=container_id[:12]):
                kill_and_remove(self._api, container_id)
        return ids

    @cached_property
    def _info(self) -> dict[str, Any]:
        with engine_errors("The engine does not report what it runs on", where=self.host):
            return dict(self._api.info())

    def _run_on(self, spec: ContainerSpec, host_port: int | None) -> RunningContainer:
        with engine_errors("The container cannot be created", where=spec.image):
            created = self._api.create_container(
                spec.image,
                command=list(spec.command),
                entrypoint=None if spec.entrypoint is None else list(spec.entrypoint),
                environment=dict(spec.env),
                host_config=self._api.create_host_config(**spec.host_config(host_port)),
                labels=dict(spec.labels),
                name=spec.name,
                ports=None if spec.port is None else [spec.port],
                user=spec.user,
            )
        container = RunningContainer(str(created["Id"]), spec, host_port, self._api)
        try:
            with engine_errors("The container does not start", where=spec.image):
                self._api.start(container.id)
        except EngineError:
            container.remove()
            raise
        return container


def _candidates(environ: Mapping[str, str]) -> Iterator[str]:
    if environ.get("DOCKER_HOST"):
        yield environ["DOCKER_HOST"]
        return
    sockets = [Path("/var/run/docker.sock"), Path("/run/podman/podman.sock")]
    if environ.get("XDG_RUNTIME_DIR"):
        sockets.append(Path(environ["XDG_RUNTIME_DIR"]) / "podman" / "podman.sock")
    sockets.append(Path.home() / ".docker" / "run" / "docker.sock")
    yield from (f"unix://{path}" for path in sockets if path.exists())


def _connect(host: str) -> APIClient | None:
    with requires_extra("cloud", "A container engine"):
        import requests
        from docker import APIClient
        from docker.errors import DockerException

    try:
        api = APIClient(base_url=host, version="auto", timeout=int(PROBE_TIMEOUT_S))
    except (DockerException, requests.RequestException, OSError, ValueError):
        return None
    # A probe should fail soon; a call may wait behind others that the engine has begun.
    api.timeout = CALL_TIMEOUT_S
    return api


def _host_port(spec: ContainerSpec) -> int | None:
    if spec.port is None or spec.network == "none":
        return None
    if spec.network == "host":
        return spec.port
    return spec.host_port or free_port()
