"""The provider as a program that Terraform installs, starts and ends like any other.

Terraform starts a provider with a magic cookie in its environment and reads one line from its
standard output: the versions of both protocols, the socket, and the certificate that it must find
there (HashiCorp's go-plugin with AutoMTLS).  It ends the provider through the same socket.

>>> config_file = install_provider(folder)
>>> subprocess.run(["terraform", "init"], env=os.environ | {"TF_CLI_CONFIG_FILE": config_file})
"""

from __future__ import annotations

import base64
import json
import os
import shlex
import signal
import sys
import tempfile
import threading
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import grpc

from aws_provider.aws import Aws
from aws_provider.server import provider_server
from aws_provider.servicer import Servicer
from drdeploy.errors import DrdeployError

if TYPE_CHECKING:
    from pathlib import Path

SOURCE = "registry.terraform.io/hashicorp/aws"
VERSION = "6.25.0"

COOKIE_NAME = "TF_PLUGIN_MAGIC_COOKIE"
COOKIE = "d602bf8f470bc67ca7faa0386276bbdd4330efaf76d1a219cb4d6991ca9872b2"
"""Not a secret: it distinguishes Terraform from a person who runs a provider by hand."""

CORE_PROTOCOL, PROVIDER_PROTOCOL = 1, 6
ORPHANED_AFTER_S = 1.0


def install_provider(folder: Path) -> Path:
    """Write a mirror that holds this provider, and Terraform's settings to take it from there.

    Returns:
        The CLI configuration file, for ``TF_CLI_CONFIG_FILE``.
    """
    mirror = folder / "mirror"
    package = mirror / SOURCE / VERSION / _platform()
    package.mkdir(parents=True)
    program = package / f"terraform-provider-aws_v{VERSION}"
    path = os.pathsep.join(entry for entry in sys.path if entry)
    program.write_text(
        "#!/bin/sh\n"
        f"PYTHONPATH={shlex.quote(path)} exec {shlex.quote(sys.executable)} -m aws_provider\n"
    )
    program.chmod(0o755)
    config = folder / "terraform.tfrc"
    config.write_text(
        "provider_installation {\n"
        "  filesystem_mirror {\n"
        f"    path    = {json.dumps(str(mirror))}\n"
        f"    include = [{json.dumps(SOURCE)}]\n"
        "  }\n"
        "}\n"
    )
    return config


def _platform() -> str:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]
    return f"{sys.platform}_{machine}"


def main() -> int:
    """Serve Terraform until it ends the provider; return the exit status."""
    if os.environ.get(COOKIE_NAME) != COOKIE:
        sys.stderr.write("This program is a Terraform provider; Terraform starts it by itself.\n")
        return 1
    try:
        servicer = Servicer(Aws(os.environ.get("AWS_ENDPOINT_URL", "")))
    except DrdeployError as err:
        sys.stderr.write(f"{err}\n")
        return 1
    # Ctrl-C in a terminal reaches this process too.  But Terraform first finishes what it is doing,
    # for which it needs the provider, and then ends it.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    terraform, over = os.getppid(), threading.Event()
    with tempfile.TemporaryDirectory(prefix="drdeploy-provider-") as folder:
        socket = f"{folder}/provider.sock"
        key, certificate, line = _certificate()
        # Terraform presents a certificate too, on a curve (P-521) that gRPC's BoringSSL does not
        # accept, so it is not asked for: the folder keeps everybody else from the socket.
        server = provider_server(
            servicer, socket, grpc.ssl_server_credentials([(key, certificate)])
        )
        server.add_generic_rpc_handlers((_controller(over),))
        server.start()
        handshake = (CORE_PROTOCOL, PROVIDER_PROTOCOL, "unix", socket, "grpc", line)
        sys.stdout.write("|".join(str(part) for part in handshake) + "\n")
        sys.stdout.flush()
        while not over.wait(ORPHANED_AFTER_S):
            if os.getppid() != terraform:  # it was killed, and will not send Shutdown
                break
        server.stop(grace=1).wait()
    return 0


def _certificate() -> tuple[bytes, bytes, str]:
    """Make a key and a certificate for this run; return them for gRPC and for the handshake."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    der = certificate.public_bytes(serialization.Encoding.DER)
    # Without padding, as go-plugin reads it.
    line = base64.b64encode(der).decode().rstrip("=")
    return private, certificate.public_bytes(serialization.Encoding.PEM), line


def _controller(over: threading.Event) -> Any:
    """Return the handler of go-plugin's own service, through which Terraform ends a provider."""

    def shutdown(_request: bytes, _context: Any) -> bytes:
        over.set()
        return b""  # an empty message

    return grpc.method_handlers_generic_handler(
        "plugin.GRPCController", {"Shutdown": grpc.unary_unary_rpc_method_handler(shutdown)}
    )
