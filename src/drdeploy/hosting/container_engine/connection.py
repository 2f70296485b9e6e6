"""Connect to the engine at a location, and say why an engine cannot be reached."""

from __future__ import annotations

import os
import socket
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from drdeploy.errors import (
    EngineMisconfigured,
    EngineUnavailable,
    one_line_error_message,
    turn_import_error_into_missing_extra,
)
from drdeploy.hosting.container_engine.failures import (
    UNAVAILABLE_REMEDY,
    make_engine_unavailable_error,
)
from drdeploy.hosting.container_engine.location import (
    WELL_KNOWN_SOCKETS,
    list_engine_locations,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from docker import APIClient

    from drdeploy.hosting.container_engine.location import EngineLocation, TlsFiles
    from drdeploy.hosting.container_engine.ssh import SshTunnel

PROBE_TIMEOUT_S = 15.0
VERSION_TIMEOUT_S = 60.0
"""How long an engine may take to report its version. Podman took 18 s on a busy machine."""
CALL_TIMEOUT_S = 120
TLS_REMEDY = (
    "If the engine speaks TLS, set DOCKER_TLS_VERIFY=1, and set DOCKER_CERT_PATH to the folder "
    "with ca.pem, cert.pem and key.pem"
)
HANG_UP_SIGNS = ("BadStatusLine", "RemoteDisconnected", "Connection reset")


@dataclass(frozen=True)
class EngineConnection:
    """A connection to an engine that answered.

    Attributes:
        api: The low-level client of the SDK.
        location: The address of the engine, and where the address comes from.
        tunnel: The SSH connection to the engine's machine, which also reaches its ports; None if
            the engine is reached without SSH.
    """

    api: APIClient
    location: EngineLocation
    tunnel: SshTunnel | None = None


def connect_to_engine(environ: Mapping[str, str] = os.environ) -> EngineConnection:
    """Connect to the engine that :func:`list_engine_locations` chooses.

    Raises:
        EngineMisconfigured: The address, the context or a certificate cannot be used.
        EngineUnavailable: No engine answers; the message says why.
        MissingExtra: The extra ``cloud`` is not installed.
    """
    with turn_import_error_into_missing_extra("cloud", "A container engine"):
        import docker  # noqa: F401
    failures: list[EngineUnavailable] = []
    for location in list_engine_locations(environ):
        try:
            return _connect_and_negotiate_version(location)
        except EngineUnavailable as err:
            failures.append(err)
    if len(failures) == 1:
        raise failures[0]
    if failures:
        reasons = "; ".join(f"{err.where}: {err.what}" for err in failures)
        raise make_engine_unavailable_error(reasons)
    raise make_engine_unavailable_error(
        "/var/run/docker.sock and the sockets of "
        + ", ".join(dict.fromkeys(program for program, _ in WELL_KNOWN_SOCKETS))
    )


def _connect_and_negotiate_version(location: EngineLocation) -> EngineConnection:
    if location.unix_socket_path is not None:
        _refuse_unusable_socket(location, location.unix_socket_path)
    # If a version is given, the SDK does not contact the engine yet. An error here is therefore an
    # error of the set-up.
    connection = _make_client(location, "1.24")
    api: Any = connection.api
    api.timeout = (PROBE_TIMEOUT_S, VERSION_TIMEOUT_S)
    try:
        version = api.version(api_version=False)["ApiVersion"]
    except Exception as err:  # the SDK, requests, urllib3 and json each raise their own
        raise _make_error_of_failed_connection(connection, err) from err
    finally:
        api.close()
    connection = _make_client(location, version)
    # A call may have to wait until the engine has finished others.
    connection.api.timeout = CALL_TIMEOUT_S
    return connection


def _make_client(location: EngineLocation, version: str) -> EngineConnection:
    from docker import APIClient
    from requests.utils import get_environ_proxies

    class Client(APIClient):
        """The SDK's client, changed so that it does not read credentials from ``config.json``.

        If a value in this file has an unexpected type, the SDK fails in many ways, although
        Docker's command line accepts the file. The module
        :mod:`drdeploy.hosting.container_engine.credentials` reads the credentials instead.
        """

        @property
        def _general_configs(self) -> dict[str, Any]:
            return {"auths": {}}

        @_general_configs.setter
        def _general_configs(self, _: object) -> None:
            pass

    is_ssh = location.url_parts.scheme == "ssh"
    try:
        api = Client(
            # The SDK's own SSH transport needs another package, and ignores the configuration of
            # ssh.
            base_url="unix:///over/ssh" if is_ssh else location.url,
            version=version,
            timeout=int(PROBE_TIMEOUT_S),
            tls=_make_tls_config(location.tls) if location.tls else False,
        )
    except Exception as err:
        # For example, a certificate file holds no certificate.
        raise EngineMisconfigured(
            f"The Docker SDK cannot use this address: {one_line_error_message(err)}",
            where=str(location),
            remedy="Correct the engine's address or its TLS certificates",
        ) from err
    if is_ssh:
        from drdeploy.hosting.container_engine.ssh import SshAdapter, SshTunnel

        tunnel = SshTunnel(location.url_parts)
        api.mount("http+docker://", SshAdapter(tunnel, CALL_TIMEOUT_S))
        return EngineConnection(api, location, tunnel)
    if location.url_parts.scheme == "tcp":
        # Otherwise REQUESTS_CA_BUNDLE would replace the certificate authority of the engine.
        api.trust_env = False
        api.proxies = get_environ_proxies(api.base_url, no_proxy=None)
    return EngineConnection(api, location)


def _make_tls_config(files: TlsFiles) -> Any:
    from docker.tls import TLSConfig

    pair = (str(files.cert), str(files.key)) if files.cert and files.key else None
    ca = str(files.ca) if files.ca else None
    return TLSConfig(client_cert=pair, ca_cert=ca, verify=files.verify)


def _refuse_unusable_socket(location: EngineLocation, path: Path) -> None:
    """Refuse a socket that is missing, that the user may not open, or on which nobody listens."""
    try:
        if not stat.S_ISSOCK(path.stat().st_mode):
            raise EngineUnavailable(
                "The path of the container engine is not a socket",
                where=str(location),
                remedy=UNAVAILABLE_REMEDY,
            )
        with socket.socket(socket.AF_UNIX) as probe:
            probe.settimeout(PROBE_TIMEOUT_S)
            probe.connect(str(path))
    except FileNotFoundError as err:
        raise EngineUnavailable(
            "No container engine answers: the socket does not exist",
            where=str(location),
            remedy=UNAVAILABLE_REMEDY,
        ) from err
    except PermissionError as err:
        raise EngineUnavailable(
            "You may not open the socket of the container engine: permission denied",
            where=str(location),
            remedy=_describe_permission_remedy(path),
        ) from err
    except OSError as err:
        raise EngineUnavailable(
            f"No container engine answers: {err.strerror or err}",
            where=str(location),
            remedy=UNAVAILABLE_REMEDY,
        ) from err


def _describe_permission_remedy(path: Path) -> str:
    try:
        group = path.group()
    except (OSError, KeyError):
        group = "docker"
    group = "docker" if group == "root" else group
    return (
        f"Join the group {group} with `sudo usermod -aG {group} $USER` and log in again; the "
        "members of this group have the rights of root. Or use a rootless engine and set "
        "DOCKER_HOST to its socket, for example unix://$XDG_RUNTIME_DIR/docker.sock"
    )


def _make_error_of_failed_connection(
    connection: EngineConnection, err: Exception
) -> EngineUnavailable:
    """Return the error that says why an engine did not report its version."""
    location, text = connection.location, one_line_error_message(err)
    remedy = UNAVAILABLE_REMEDY
    is_plain = location.url_parts.scheme == "tcp" and location.tls is None
    if connection.tunnel is not None:
        said = connection.tunnel.newest_error_output or text
        reason = f"ssh to {location.url_parts.hostname} failed: {said}"
        remedy = (
            f"Check that `ssh {location.url_parts.hostname} docker version` works without a "
            "password; the other machine needs the docker command line"
        )
    elif "WRONG_VERSION_NUMBER" in text or "wrong version number" in text:
        reason = "the engine does not speak TLS"
        remedy = "Unset DOCKER_TLS_VERIFY and DOCKER_TLS, or use a context without certificates"
    elif "CERTIFICATE_VERIFY_FAILED" in text or "doesn't match" in text:
        detail = text.partition("CERTIFICATE_VERIFY_FAILED]")[2].partition("(_ssl")[0].strip()
        reason = f"the engine's certificate is not trusted ({detail or text})"
        used = _describe_ca_certificate(location)
        remedy = f"Use the ca.pem that signed the engine's certificate, and not {used}"
    elif is_plain and "HTTP request to an HTTPS server" in text:
        reason = "the engine speaks TLS, but this client was not told to use TLS"
        remedy = TLS_REMEDY
    elif is_plain and any(sign in text for sign in HANG_UP_SIGNS):
        reason = "the server closed the connection, as a server that speaks TLS does"
        remedy = TLS_REMEDY
    elif "alert" in text and ("certificate" in text or "handshake" in text):
        reason = "the engine refuses this client's certificate"
        remedy = "Use a cert.pem and key.pem that the engine's certificate authority signed"
    elif "SSLEOFError" in text:
        reason = (
            "the server ended the TLS handshake, as a server that asks for a client's "
            "certificate does"
        )
        remedy = "Give a cert.pem and key.pem that the engine's certificate authority signed"
    else:
        reason = _find_reason_in_exception_causes(err, text)
    return EngineUnavailable(
        f"No container engine answers: {reason}", where=str(location), remedy=remedy
    )


def _describe_ca_certificate(location: EngineLocation) -> str:
    return (
        str(location.tls.ca)
        if location.tls and location.tls.ca
        else "this machine's own certificates"
    )


def _find_reason_in_exception_causes(err: BaseException, text: str) -> str:
    """Find the operating system's reason among an error's causes, or return the error's text."""
    cause: BaseException | None = err
    while cause is not None:
        if isinstance(cause, TimeoutError):
            return "the engine did not answer in time"
        if isinstance(cause, OSError) and cause.strerror:
            return cause.strerror
        cause = cause.__cause__ or cause.__context__
    return text
