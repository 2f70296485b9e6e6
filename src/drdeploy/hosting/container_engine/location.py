"""Decide which container engine to use, by the same rules as Docker's command line.

=================================  ================================================================
what is set                        what is used
=================================  ================================================================
``DOCKER_HOST``                    that address, with TLS if ``DOCKER_TLS_VERIFY`` or ``DOCKER_TLS``
                                   is set (certificates from ``DOCKER_CERT_PATH``)
``DOCKER_CONTEXT``                 the Docker context of that name
``currentContext`` in              the Docker context of that name
``config.json``
nothing, or the context            the default socket ``/var/run/docker.sock``; if it does not
``default``                        exist, the sockets of :data:`WELL_KNOWN_SOCKETS`
=================================  ================================================================

The first row of this table that applies decides. ``config.json`` and the contexts are in
``DOCKER_CONFIG``, or in ``~/.docker``. A named context that cannot be read is an error, because
containers would otherwise run in an engine that the user does not expect.
"""

from __future__ import annotations

import hashlib
import ipaddress
import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import SplitResult, urlsplit

from drdeploy.errors import EngineMisconfigured, one_line_error_message
from drdeploy.files import parse_json

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

log = logging.getLogger(__name__)

DEFAULT_SOCKET = Path("/var/run/docker.sock")
DEFAULT_CONTEXT = "default"
TCP_PORT, TLS_PORT = 2375, 2376

WELL_KNOWN_SOCKETS = (
    # https://docs.docker.com/engine/security/rootless/
    ("rootless Docker", "$XDG_RUNTIME_DIR/docker.sock"),
    # https://docs.podman.io/en/latest/markdown/podman-system-service.1.html
    ("Podman", "/run/podman/podman.sock"),
    ("rootless Podman", "$XDG_RUNTIME_DIR/podman/podman.sock"),
    # https://docs.docker.com/desktop/setup/install/linux/ and
    # https://docs.docker.com/desktop/setup/install/mac-permission-requirements/
    ("Docker Desktop", "$HOME/.docker/desktop/docker.sock"),
    ("Docker Desktop", "$HOME/.docker/run/docker.sock"),
    # https://github.com/abiosoft/colima/blob/main/docs/FAQ.md (a folder for each version)
    ("Colima", "$COLIMA_HOME/default/docker.sock"),
    ("Colima", "$HOME/.colima/default/docker.sock"),
    ("Colima", "$XDG_CONFIG_HOME/colima/default/docker.sock"),
    ("Colima", "$HOME/.config/colima/default/docker.sock"),
    ("Colima", "$HOME/.colima/docker.sock"),
    # https://docs.rancherdesktop.io/how-to-guides/using-testcontainers/
    ("Rancher Desktop", "$HOME/.rd/docker.sock"),
    # https://docs.orbstack.dev/docker/
    ("OrbStack", "$HOME/.orbstack/run/docker.sock"),
    # https://docs.podman.io/en/latest/markdown/podman-machine-start.1.html (5, 4 and before)
    ("Podman machine", "$TMPDIR/podman/podman-machine-default-api.sock"),
    ("Podman machine", "$HOME/.local/share/containers/podman/machine/podman.sock"),
    ("Podman machine", "$HOME/.local/share/containers/podman/machine/qemu/podman.sock"),
    # https://github.com/lima-vm/lima/blob/master/templates/docker.yaml
    ("Lima", "$HOME/.lima/docker/sock/docker.sock"),
)
"""The sockets that are tried in this order, each with the program that makes it."""


@dataclass(frozen=True)
class TlsFiles:
    """The certificates for an engine that speaks TLS.

    Attributes:
        ca: The file of the certificate authority that signed the engine's certificate. None means
            the authorities that this machine trusts.
        cert: The file of this client's certificate; None if the engine asks for no certificate.
        key: The file of the private key that belongs to the client's certificate.
        verify: Whether the engine's certificate is checked.
    """

    ca: Path | None
    cert: Path | None
    key: Path | None
    verify: bool


@dataclass(frozen=True)
class EngineLocation:
    """The address of a container engine.

    Attributes:
        url: The address, ``unix:///PATH``, ``tcp://HOST:PORT`` or ``ssh://[USER@]HOST[:PORT]``.
        source: Where the address comes from, for example ``DOCKER_HOST``.
        tls: The certificates, or None if the engine speaks no TLS.
    """

    url: str
    source: str
    tls: TlsFiles | None = None

    @property
    def unix_socket_path(self) -> Path | None:
        """The path of the engine's Unix socket; None if the engine is reached over TCP or SSH."""
        scheme, _, path = self.url.partition("://")
        return Path(path) if scheme == "unix" else None

    @property
    def url_parts(self) -> SplitResult:
        """The parts of the address, such as scheme, host and port."""
        return urlsplit(self.url)

    @property
    def is_on_another_machine(self) -> bool:
        """Whether the address names another machine: ``ssh``, or a TCP address of another host."""
        if self.url_parts.scheme == "ssh":
            return True
        return self.url_parts.scheme == "tcp" and not _is_address_of_this_machine(
            self.url_parts.hostname or ""
        )

    def __str__(self) -> str:
        return f"{self.url} ({self.source})"


def list_engine_locations(environ: Mapping[str, str] = os.environ) -> tuple[EngineLocation, ...]:
    """Return the addresses of engines to try, in the order in which to try them.

    The first engine that answers is the one to use. If the user configured an engine, or if the
    default socket exists, there is only one address. Otherwise, the addresses are the existing
    sockets of :data:`WELL_KNOWN_SOCKETS`.

    Raises:
        EngineMisconfigured: The address is invalid, or the context or a certificate cannot be read.
    """
    if host := environ.get("DOCKER_HOST", "").strip():
        return (_locate_by_environment(host, environ),)
    name, source = _choose_docker_context(environ)
    if name != DEFAULT_CONTEXT:
        return (_read_engine_of_context(name, source, environ),)
    if os.path.lexists(DEFAULT_SOCKET):
        return (EngineLocation(f"unix://{DEFAULT_SOCKET}", "the default socket"),)
    return tuple(_find_well_known_sockets(environ))


def get_config_folder(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the folder that holds Docker's ``config.json`` and the Docker contexts."""
    named = environ.get("DOCKER_CONFIG")
    return Path(named).absolute() if named else _get_home_folder(environ) / ".docker"


def read_docker_config(environ: Mapping[str, str] = os.environ) -> dict[str, Any]:
    """Return the content of Docker's ``config.json``; empty if there is no readable file.

    A file that cannot be read causes a warning, as with Docker's command line.
    """
    path = get_config_folder(environ) / "config.json"
    try:
        config = parse_json(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as err:
        log.warning("%s cannot be read and is not used: %s", path, one_line_error_message(err))
        return {}
    if not isinstance(config, dict):
        log.warning("%s does not hold a JSON object, and so is not used", path)
        return {}
    return config


def _locate_by_environment(host: str, environ: Mapping[str, str]) -> EngineLocation:
    source = "DOCKER_HOST"
    # As for Docker's command line, every text but the empty one means yes, even `0`.
    verify = bool(environ.get("DOCKER_TLS_VERIFY"))
    has_tls = verify or bool(environ.get("DOCKER_TLS"))
    url = _parse_engine_address(host, source, has_tls=has_tls)
    if not has_tls or not url.startswith("tcp://"):
        return EngineLocation(url, source)
    named = environ.get("DOCKER_CERT_PATH")
    folder = Path(named).absolute() if named else get_config_folder(environ)
    remedy = (
        "Set DOCKER_CERT_PATH to the folder that holds ca.pem, cert.pem and key.pem. If the "
        "engine does not speak TLS, unset DOCKER_TLS_VERIFY and DOCKER_TLS"
    )
    ca = folder / "ca.pem"
    pair = (folder / "cert.pem", folder / "key.pem")
    for file in (*([ca] if verify else []), *(pair if any(map(os.path.lexists, pair)) else [])):
        _refuse_unreadable_file(file, "A certificate or key that TLS needs", remedy)
    cert, key = pair if pair[0].exists() else (None, None)
    return EngineLocation(url, source, TlsFiles(ca if verify else None, cert, key, verify))


def _choose_docker_context(environ: Mapping[str, str]) -> tuple[str, str]:
    """Return the name of the context to use, and where the name comes from."""
    if name := environ.get("DOCKER_CONTEXT"):
        return name, "DOCKER_CONTEXT"
    current = read_docker_config(environ).get("currentContext")
    path = get_config_folder(environ) / "config.json"
    if current is not None and not isinstance(current, str):
        log.warning("currentContext in %s is not text, and so is not used", path)
        current = None
    return current or DEFAULT_CONTEXT, f"currentContext in {path}"


def _read_engine_of_context(name: str, source: str, environ: Mapping[str, str]) -> EngineLocation:
    """Return the engine of a Docker context.

    Raises:
        EngineMisconfigured: The context does not exist or is damaged.
    """
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
    folder = get_config_folder(environ) / "contexts"
    path = folder / "meta" / digest / "meta.json"
    other = (
        "choose another with `docker context use` or DOCKER_CONTEXT, or set DOCKER_HOST to the "
        "engine's address"
    )
    mend = f"Create the context again with `docker context create`, {other}"
    try:
        meta = parse_json(path.read_text(encoding="utf-8"))
    except FileNotFoundError as err:
        raise EngineMisconfigured(
            f"{source} names the Docker context {name}, which does not exist",
            where=str(path),
            remedy=f"`docker context ls` lists the contexts; {other}",
        ) from err
    except (OSError, ValueError) as err:
        raise EngineMisconfigured(
            f"The Docker context {name} cannot be read: {one_line_error_message(err)}",
            where=str(path),
            remedy=mend,
        ) from err
    endpoint = _get_docker_endpoint(meta)
    if endpoint is None:
        raise EngineMisconfigured(
            f"The Docker context {name} names no Docker engine: it has no Endpoints.docker",
            where=str(path),
            remedy=mend,
        )
    context = f"the Docker context {name}, from {source}"
    tls = _read_context_tls(
        folder / "tls" / digest / "docker", bool(endpoint.get("SkipTLSVerify")), mend
    )
    host = str(endpoint.get("Host") or f"unix://{DEFAULT_SOCKET}")
    url = _parse_engine_address(host, f"{path}: Host", has_tls=tls is not None)
    return EngineLocation(url, context, tls if url.startswith("tcp://") else None)


def _get_docker_endpoint(meta: object) -> dict[str, Any] | None:
    endpoints = meta.get("Endpoints") if isinstance(meta, dict) else None
    endpoint = endpoints.get("docker") if isinstance(endpoints, dict) else None
    return endpoint if isinstance(endpoint, dict) else None


def _read_context_tls(folder: Path, skips_verification: bool, remedy: str) -> TlsFiles | None:
    """Return the certificates of a context, or None if the context uses no TLS."""
    files = [folder / name for name in ("ca.pem", "cert.pem", "key.pem")]
    ca, cert, key = (file if os.path.lexists(file) else None for file in files)
    for file in filter(None, (ca, cert, key)):
        _refuse_unreadable_file(file, "The context's certificate", remedy)
    if ca is None and cert is None and key is None and not skips_verification:
        return None
    if (cert is None) != (key is None):
        missing = files[1] if cert is None else files[2]
        _refuse_unreadable_file(missing, "The context's certificate", remedy)
    return TlsFiles(ca, cert, key, verify=not skips_verification)


def _refuse_unreadable_file(file: Path, what: str, remedy: str) -> None:
    try:
        with file.open("rb"):
            pass
    except OSError as err:
        raise EngineMisconfigured(
            f"{what} cannot be read: {err.strerror}", where=str(file), remedy=remedy
        ) from err


def _parse_engine_address(text: str, where: str, *, has_tls: bool) -> str:
    """Add the missing parts of an engine's address, for example the port, and check it.

    Raises:
        EngineMisconfigured: The text is not the address of an engine.
    """
    text = text.strip()
    scheme, separator, rest = text.partition("://")
    if not separator:
        scheme, rest = "tcp", text
    if scheme == "unix":
        # To Docker's command line, a path without a leading `/` is relative to the current folder.
        return f"unix://{Path(rest).absolute() if rest else DEFAULT_SOCKET}"
    if scheme in {"tcp", "ssh"}:
        try:
            parts = urlsplit(f"{scheme}://{rest}")
            host, port, path = parts.hostname or "", parts.port, parts.path
        except ValueError:
            raise _make_address_error(text, where) from None
        shown = f"[{host}]" if ":" in host else host
        if scheme == "tcp" and path in {"", "/"} and not parts.query and not parts.username:
            return f"tcp://{shown or 'localhost'}:{port or (TLS_PORT if has_tls else TCP_PORT)}"
        # A password would be visible to every user, so Docker's command line refuses it too.
        if scheme == "ssh" and host and not parts.query and not parts.password:
            user = f"{parts.username}@" if parts.username else ""
            port_part = f":{port}" if port else ""
            return f"ssh://{user}{shown}{port_part}{path.rstrip('/')}"
    raise _make_address_error(text, where)


def _make_address_error(text: str, where: str) -> EngineMisconfigured:
    return EngineMisconfigured(
        f"{text!r} is not the address of a container engine",
        where=where,
        remedy="Give unix:///PATH, tcp://HOST:PORT or ssh://USER@HOST, for example "
        f"unix://{DEFAULT_SOCKET}",
    )


def _find_well_known_sockets(environ: Mapping[str, str]) -> Iterator[EngineLocation]:
    variables = {
        "XDG_RUNTIME_DIR": f"/run/user/{os.getuid()}",
        **environ,
        "HOME": str(_get_home_folder(environ)),
    }
    seen = set()
    for program, pattern in WELL_KNOWN_SOCKETS:
        first, _, rest = pattern.partition("/")
        if first.startswith("$"):
            folder = variables.get(first[1:])
            if not folder:
                continue
            path = Path(folder) / rest
        else:
            path = Path(pattern)
        if path in seen or not path.exists():
            continue
        seen.add(path)
        yield EngineLocation(f"unix://{path}", f"the socket of {program}")


def _get_home_folder(environ: Mapping[str, str]) -> Path:
    return Path(environ["HOME"]) if environ.get("HOME") else Path.home()


def _is_address_of_this_machine(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    # Other addresses in 127.0.0.0/8 may be used by forwarders to other machines.
    return address in {ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")}
