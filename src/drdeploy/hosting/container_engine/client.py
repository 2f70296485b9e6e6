"""Find a container engine, build and move images, and start containers."""

from __future__ import annotations

import os
import random
import socket
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import TYPE_CHECKING, Any, Self

from drdeploy.errors import EngineError, EngineUnavailable, ImageBuildFailed
from drdeploy.hosting.container_engine import distribution
from drdeploy.hosting.container_engine.connection import connect_to_engine
from drdeploy.hosting.container_engine.container import (
    RunningContainer,
    kill_and_remove_container,
    remove_volumes,
)
from drdeploy.hosting.container_engine.copies import (
    copy_folder_to_volume,
    remove_volumes_with_label,
)
from drdeploy.hosting.container_engine.credentials import collect_registry_credentials
from drdeploy.hosting.container_engine.events import ContainerEndEvents
from drdeploy.hosting.container_engine.failures import translate_engine_errors
from drdeploy.hosting.container_engine.network_namespace import may_enter_namespaces
from drdeploy.hosting.container_engine.ports import LOOPBACK, PORTS, find_free_port
from drdeploy.hosting.container_engine.spec import BRIDGE, NO_NETWORK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from drdeploy.hosting.container_engine.connection import EngineConnection
    from drdeploy.hosting.container_engine.credentials import RegistryCredentials
    from drdeploy.hosting.container_engine.spec import ContainerSpec, Mount

BUILD_TIMEOUT_S = 1800
LOG_TAIL_LINES = 30
PORT_ATTEMPTS = 5
MISSING_SOURCE_SIGNS = (
    "path does not exist",
    "Mounts denied",
    "mounts denied",
    "no such file or directory",
)
"""How Docker, Docker Desktop and Podman say that the source of a mount does not exist."""


@dataclass(frozen=True)
class ImageSummary:
    """An image in the container engine.

    Attributes:
        id: The digest of the image's configuration, ``sha256:…``.
        tags: The image's names with tags. The registry that an engine adds to local names, such as
            ``localhost/``, is left out.
        size_bytes: The image's size on disk, as the engine counts it.
        created_at: When the image was created, ISO 8601.
    """

    id: str
    tags: tuple[str, ...]
    size_bytes: int
    created_at: str


class ContainerEngine:
    """A running container engine; safe to use from several threads.

    Args:
        connection: The connection to the engine. The connection uses the low-level client of the
            Docker SDK. The high-level client inspects a container after every call, which would
            slow down a cold start.

    Attributes:
        location: The address of the engine, and where the address comes from.
        host: The address of the engine alone.
    """

    def __init__(self, connection: EngineConnection) -> None:
        self._api = connection.api
        self._connection = connection
        self.location = connection.location
        self.host = connection.location.url

    @classmethod
    def find(cls, environ: Mapping[str, str] = os.environ) -> Self | None:
        """Return the engine that Docker's command line would use, or None if no engine answers.

        Raises:
            EngineMisconfigured: The engine's address, context or certificate cannot be used.
            MissingExtra: The extra ``cloud`` is not installed.
        """
        try:
            return cls.find_or_raise(environ)
        except EngineUnavailable:
            return None

    @classmethod
    def find_or_raise(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Return the engine that Docker's command line would use.

        Raises:
            EngineMisconfigured: The engine's address, context or certificate cannot be used.
            EngineUnavailable: No engine answers.
            MissingExtra: The extra ``cloud`` is not installed.
        """
        return cls(connect_to_engine(environ))

    def close(self) -> None:
        """Close the idle connections to the engine; a later call opens a new one."""
        self._api.close()

    @property
    def version_and_address(self) -> str:
        """The engine's version, its address, and where the address comes from."""
        return f"{self.name_and_version} at {self.location}"

    @property
    def name_and_version(self) -> str:
        """The engine's name and version, for example ``Podman Engine 4.3.1``."""
        with translate_engine_errors("The engine does not report its version", where=self.host):
            answer = self._api.version()
        components = answer.get("Components") or [{}]
        return f"{components[0].get('Name', 'Engine')} {answer.get('Version', '')}".strip()

    @property
    def network_with_fastest_start(self) -> str:
        """The network on which drdeploy starts a container.

        Of the networks on which this process can reach a container, this is the one on which a
        container starts fastest.
        """
        return NO_NETWORK if self.can_enter_network_namespaces else BRIDGE

    @property
    def can_enter_network_namespaces(self) -> bool:
        """Whether this process can enter a container's network namespace to reach its server."""
        return may_enter_namespaces() and self.is_local

    @property
    def is_local(self) -> bool:
        """Whether the engine's containers are processes of this system.

        An engine with a socket on this machine may still run containers elsewhere. Docker Desktop,
        Colima and others run containers in a virtual machine, and an engine may itself run in a
        container. An engine therefore counts as local only if it also reports the kernel and the
        host name of this machine.
        """
        return self.location.unix_socket_path is not None and self._shares_kernel_with_this_machine

    @property
    def has_selinux(self) -> bool:
        """Whether SELinux confines the engine's containers."""
        options = self._host_info_of_engine.get("SecurityOptions") or []
        return any("selinux" in str(option) for option in options)

    @property
    def cpu_count(self) -> int:
        """The number of CPU cores of the machine on which containers run."""
        return int(self._host_info_of_engine.get("NCPU", 0)) or 1

    def build_image(
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
            context: The folder that is sent to the engine, without the files that its
                ``.dockerignore`` names.
            dockerfile: The path of the Dockerfile, relative to ``context``.
            tag: The name and tag of the image.
            build_args: The values for each ``ARG`` of the Dockerfile.
            network: The network that the steps of the build may use; ``host`` is the network of
                this machine.
            platform: The image's platform, for example ``linux/arm64``; None is the platform of
                the engine.
            log: Called with each line of the build's output.

        Returns:
            The image's id.

        Raises:
            ImageBuildFailed: The build failed; the message ends with the last lines of its output.
        """
        lines: list[str] = []
        credentials = self._send_credentials_with_builds()
        with translate_engine_errors(f"{tag} cannot be built", where=dockerfile):
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
                    reason = str(event["error"]).strip()
                    tail = "\n".join(lines[-LOG_TAIL_LINES:])
                    raise ImageBuildFailed(
                        f"The image {tag} cannot be built: {reason}",
                        where=dockerfile,
                        remedy=credentials.explain_refusal(reason)
                        or f"Read the end of the build's output:\n{tail}",
                    )
        return self.image_id(tag)

    def start_container(self, spec: ContainerSpec) -> RunningContainer:
        """Create and start a container, in two calls to the engine.

        Raises:
            EngineError: The image does not exist, or the engine refuses the container. No container
                is left after the error.
        """
        volumes: dict[str, str] = {}
        try:
            return self._start_container_with_copied_folders(spec, volumes)
        except BaseException:
            remove_volumes(self._api, volumes.values())
            raise

    def _start_container_with_copied_folders(
        self, spec: ContainerSpec, volumes: dict[str, str]
    ) -> RunningContainer:
        """Start a container; each folder that the engine cannot mount is copied to a volume."""
        for mount in spec.mounts:
            if self._must_copy_instead_of_mount(mount):
                self._copy_mounted_folder_to_volume(spec, mount, volumes)
        is_any_port = spec.host_port is None and spec.network != NO_NETWORK
        attempts = PORT_ATTEMPTS if is_any_port else 1
        while True:
            try:
                return self._start_container_on_port(spec, self._choose_host_port(spec), volumes)
            except EngineError as err:
                if missing := _find_mount_that_engine_misses(spec, volumes, err.what):
                    self._copy_mounted_folder_to_volume(spec, missing, volumes)
                    continue
                if "cannot assign requested address" in err.what:
                    raise EngineError(
                        "The engine's machine does not have the address "
                        f"{self._address_of_published_ports} on which the container's port should "
                        "be published",
                        where=str(self.location),
                        remedy="Connect to the engine by ssh://, which does not need this address",
                    ) from err
                # Another process may take the port between our search and the engine's bind.
                is_taken = "already in use" in err.what or "already allocated" in err.what
                attempts -= 1
                if not attempts or not is_taken:
                    raise

    def _copy_mounted_folder_to_volume(
        self, spec: ContainerSpec, mount: Mount, volumes: dict[str, str]
    ) -> None:
        volumes[mount.target] = copy_folder_to_volume(
            self._api, mount.source.resolve(), spec.image, spec.labels
        )

    def _choose_host_port(self, spec: ContainerSpec) -> int | None:
        if spec.port is None or spec.network == NO_NETWORK:
            return None
        if spec.host_port is None and self.location.is_on_another_machine:
            return random.SystemRandom().choice(PORTS)  # its free ports are not known
        return spec.host_port or find_free_port()

    @cached_property
    def _address_of_published_ports(self) -> str:
        """The address of the engine's machine on which ports are published.

        The server in a container has no password, so its port must not be published on every
        address of the machine. An engine on this machine, or one that is reached through ssh,
        publishes ports on the loopback address. Any other engine publishes them on the address at
        which this machine reaches the engine.
        """
        host = self.location.url_parts.hostname or ""
        if not self.location.is_on_another_machine or self._connection.tunnel is not None:
            return LOOPBACK
        try:
            return str(socket.getaddrinfo(host, None, socket.AF_INET)[0][4][0])
        except OSError as err:
            raise EngineError(
                f"The host name of the container engine has no IPv4 address: {err.strerror}",
                where=str(self.location),
                remedy="Give the engine's IPv4 address in DOCKER_HOST, or connect by ssh://",
            ) from err

    def list_images(self) -> tuple[ImageSummary, ...]:
        """Return a summary of each image that has a tag."""
        with translate_engine_errors("The engine does not list its images", where=self.host):
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
        """Return the id of the image that a tag names now.

        Raises:
            EngineError: There is no such image.
        """
        return str(self.image_config(image)["Id"])

    def image_config(self, image: str) -> dict[str, Any]:
        """Return an image's description as ``docker inspect`` prints it.

        Raises:
            EngineError: There is no such image.
        """
        with translate_engine_errors(f"{image} cannot be found", where=self.host):
            return dict(self._api.inspect_image(image))  # type: ignore[no-untyped-call]  # stubs

    def find_manifest_type(self, image: str) -> str:
        """Return the media type of the manifest with which the engine pushes an image.

        Raises:
            EngineError: There is no such image.
        """
        return distribution.find_manifest_type(
            self._api, self.image_config(image), is_podman=self._is_podman
        )

    def save_image(self, image: str) -> Iterator[bytes]:
        """Yield, in chunks, the tar file that ``docker image save`` would write for an image.

        Raises:
            EngineError: There is no such image.
        """
        with translate_engine_errors(f"{image} cannot be saved", where=self.host):
            yield from self._api.get_image(image)

    def export_files_of_image(self, image: str) -> Iterator[bytes]:
        """Yield a tar file, in chunks, with the files that a container of the image would see.

        A container is created, but not started, and then removed.

        Raises:
            EngineError: There is no such image.
        """
        with translate_engine_errors(f"The files of {image} cannot be read", where=self.host):
            # An image may lack a command, and without one no container can be created.
            created = self._api.create_container(image, command=["none"])
            try:
                yield from self._api.export(created["Id"])
            finally:
                kill_and_remove_container(self._api, str(created["Id"]))

    def push_image(
        self, image: str, repository: str, tag: str, *, credentials: Mapping[str, str] | None = None
    ) -> None:
        """Push an image to ``REPOSITORY:TAG``.

        ``REPOSITORY`` begins with the registry's host. The credentials are ``username`` and
        ``password``. For the push, the image also gets the name ``REPOSITORY:TAG`` in the engine.
        This name is removed afterwards.

        Raises:
            EngineError: The image does not exist, or the registry refuses it.
        """
        self._refuse_registry_out_of_reach(repository)
        with translate_engine_errors(f"{image} cannot be pushed", where=self.host):
            self._api.tag(image, repository, tag)
        try:
            distribution.push_image(self._api, repository, tag, credentials)
        finally:
            # The engine does not need the image's name in the registry any more.
            self.untag_image(f"{repository}:{tag}")

    def pull_image(
        self, repository: str, reference: str, *, credentials: Mapping[str, str] | None = None
    ) -> str:
        """Pull an image by digest or tag and return its id.

        Args:
            repository: The repository, which begins with the registry's host.
            reference: The digest or the tag of the image.
            credentials: The ``username`` and the ``password`` for the registry.

        Raises:
            EngineError: The registry or the engine refuses the request.
        """
        self._refuse_registry_out_of_reach(repository)
        return self.image_id(
            distribution.pull_image(
                self._api, repository, reference, credentials, is_podman=self._is_podman
            )
        )

    def untag_image(self, reference: str) -> None:
        """Remove a name from an image, and the image itself if that was its only name.

        Raises:
            EngineError: No image has the name, or a container still uses the image.
        """
        with translate_engine_errors(f"{reference} cannot be removed", where=self.host):
            self._api.remove_image(reference, noprune=True)

    def create_network(self, name: str, label: str) -> None:
        """Create a network in which containers can reach each other, and also other machines.

        The containers cannot reach containers in other networks. The label has the form
        ``name=value``; :meth:`remove_unused_networks` finds the network by its label.

        Raises:
            EngineError: The engine refuses, for example because it has no free addresses.
        """
        key, _, value = label.partition("=")
        # Docker isolates its networks from one another by default, and Podman only on request.
        options = {"isolate": "true"} if self._is_podman else {}
        with translate_engine_errors("The network cannot be made", where=name):
            self._api.create_network(name, driver="bridge", options=options, labels={key: value})

    def remove_network(self, name: str) -> bool:
        """Remove a network; return False if a container still uses the network."""
        from docker.errors import APIError, NotFound

        with translate_engine_errors("The network cannot be removed", where=name):
            try:
                self._api.remove_network(name)
            except NotFound:
                return True
            except APIError:
                return False
        return True

    def remove_unused_networks(self, label: str) -> None:
        """Remove every network that has the label and that no container uses."""
        with translate_engine_errors("The engine does not list its networks", where=self.host):
            found = self._api.networks(filters={"label": label})
        for network in found:
            self.remove_network(network["Name"])

    def list_container_ids(self, label: str) -> tuple[str, ...]:
        """Return the ids of all containers with a label, given as ``name`` or ``name=value``."""
        with translate_engine_errors("The engine does not list its containers", where=self.host):
            found = self._api.containers(all=True, filters={"label": label})
        return tuple(str(one["Id"]) for one in found)

    def remove_containers_with_label(self, label: str) -> tuple[str, ...]:
        """Kill and remove every container with a label, given as ``name`` or ``name=value``.

        Returns:
            The ids of the removed containers.
        """
        ids = self.list_container_ids(label)
        for container_id in ids:
            with translate_engine_errors(
                "A stale container cannot be removed", where=container_id[:12]
            ):
                kill_and_remove_container(self._api, container_id)
        with translate_engine_errors("Volumes cannot be removed", where=self.host):
            remove_volumes_with_label(self._api, label)
        return ids

    def open_container_end_events(self, label: str, since: datetime) -> ContainerEndEvents:
        """Return an iterable of the ids of containers that have the label and end after ``since``.

        Raises:
            EngineError: The engine refuses the request, or does not answer.
        """
        with translate_engine_errors("The engine's events cannot be read", where=self.host):
            stream = self._api.events(
                decode=True,
                since=int(since.timestamp()),
                filters={"type": ["container"], "label": [label]},
            )
        return ContainerEndEvents(stream, self.host)

    def _refuse_registry_out_of_reach(self, repository: str) -> None:
        if self.location.is_on_another_machine and distribution.is_on_loopback(repository):
            raise EngineError(
                "The container engine runs on another machine, and cannot reach the registry of "
                "this machine",
                where=f"{repository} from {self.location}",
                remedy="Give the tag of an image that the engine holds, or use an engine that "
                "runs on this machine",
            )

    def _send_credentials_with_builds(self) -> RegistryCredentials:
        """Let the SDK send the user's credentials with builds, and return the credentials.

        The SDK does not call the credential helpers itself, because a helper that fails or is
        missing would then make every build fail, even with a public base image.
        """
        from docker.auth import AuthConfig

        class KnownCredentials(AuthConfig):
            is_empty = False  # if True, the SDK reads the file itself

        found = collect_registry_credentials()
        api: Any = self._api
        api._auth_configs = KnownCredentials({"auths": found.by_registry})  # noqa: SLF001  see above
        return found

    @cached_property
    def _shares_kernel_with_this_machine(self) -> bool:
        """Whether the engine's kernel and host name are those of this system."""
        own = os.uname()
        return (
            own.sysname == "Linux"
            and "Docker Desktop" not in str(self._host_info_of_engine.get("OperatingSystem", ""))
            and (
                self._host_info_of_engine.get("Name"),
                self._host_info_of_engine.get("KernelVersion"),
            )
            == (own.nodename, own.release)
        )

    def _must_copy_instead_of_mount(self, mount: Mount) -> bool:
        """Whether a folder must be copied, because mounting it would fail or show wrong files."""
        if self.location.is_on_another_machine:
            return True
        # With SELinux, a mount is given as text, which a colon in the path would split wrongly.
        if self.has_selinux and ":" in str(mount.source.resolve()):
            return True
        # If a folder does not exist on the engine's machine, Docker refuses it, but Podman mounts
        # an empty folder.
        return self._is_podman and not self._shares_kernel_with_this_machine

    @cached_property
    def _is_podman(self) -> bool:
        return "podman" in self.name_and_version.lower()

    @cached_property
    def _host_info_of_engine(self) -> dict[str, Any]:
        with translate_engine_errors("The engine does not report what it runs on", where=self.host):
            return dict(self._api.info())

    def _start_container_on_port(
        self, spec: ContainerSpec, host_port: int | None, volumes: Mapping[str, str]
    ) -> RunningContainer:
        # Only a published port needs an address, and only a mount needs a label.
        address = LOOPBACK if host_port is None else self._address_of_published_ports
        config = spec.make_host_config(
            host_port,
            address=address,
            volumes=volumes,
            relabels=bool(spec.mounts) and self.has_selinux,
        )
        with translate_engine_errors("The container cannot be created", where=spec.image):
            created = self._api.create_container(
                spec.image,
                command=list(spec.command),
                entrypoint=None if spec.entrypoint is None else list(spec.entrypoint),
                environment=dict(spec.env),
                host_config=self._api.create_host_config(**config),
                labels=dict(spec.labels),
                name=spec.name,
                ports=None if spec.port is None else [spec.port],
                user=spec.user,
            )
        container = RunningContainer(
            str(created["Id"]),
            spec,
            host_port,
            self._api,
            address,
            self._connection.tunnel,
            tuple(volumes.values()),
            self._is_podman,
        )
        try:
            with translate_engine_errors("The container does not start", where=spec.image):
                self._api.start(container.id)
        except EngineError:
            # `remove` would also delete the copies of the mounted folders, which another attempt
            # may need.
            kill_and_remove_container(self._api, container.id)
            raise
        return container


def _find_mount_that_engine_misses(
    spec: ContainerSpec, volumes: Mapping[str, str], message: str
) -> Mount | None:
    """Return the mount whose folder or file does not exist on the engine's machine, if any."""
    if not any(sign in message for sign in MISSING_SOURCE_SIGNS):
        return None
    return next(
        (
            mount
            for mount in spec.mounts
            if mount.target not in volumes
            and mount.source.exists()
            and str(mount.source.resolve()) in message
        ),
        None,
    )
