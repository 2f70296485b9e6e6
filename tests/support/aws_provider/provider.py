"""Answer Terraform, from threads of this process, on a socket of its own.

>>> with provider_of(endpoint_url="http://127.0.0.1:8765") as environment:
...     subprocess.run(["terraform", "apply"], env=os.environ | environment)

Terraform attaches to a provider that runs already (``TF_REATTACH_PROVIDERS``), so that nothing
is installed and ``terraform init`` asks no registry.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import grpc

from aws_provider.aws import Aws
from aws_provider.servicer import Servicer
from aws_provider.wire import METHODS, PACKAGE, message

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = "registry.terraform.io/hashicorp/aws"
THREADS = 48
"""One waits for each endpoint that is being created."""


@contextlib.contextmanager
def provider_of(*, endpoint_url: str) -> Iterator[dict[str, str]]:
    """Run the provider as long as the context lasts.

    Yields:
        What Terraform's environment must hold besides the ordinary one.

    Raises:
        InvalidInput: ``endpoint_url`` is not of this machine.
    """
    servicer = Servicer(Aws(endpoint_url))
    server = grpc.server(ThreadPoolExecutor(THREADS), options=[("grpc.so_reuseport", 0)])
    server.add_generic_rpc_handlers((_handlers(servicer),))
    with tempfile.TemporaryDirectory(prefix="drdeploy-") as folder:
        socket = f"{folder}/provider.sock"
        server.add_insecure_port(f"unix://{socket}")
        server.start()
        try:
            with _bystander() as pid:
                attach = _reattach(socket, pid)
                yield {"TF_REATTACH_PROVIDERS": attach, "CHECKPOINT_DISABLE": "1"}
        finally:
            server.stop(grace=None).wait()


@contextlib.contextmanager
def _bystander() -> Iterator[int]:
    """A process for Terraform to kill.

    It kills the provider that it is told of where that no longer answers, which would be the
    program that runs this.  This one does nothing, and ends with us: its input closes.
    """
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        yield process.pid


def _handlers(servicer: Servicer) -> Any:
    methods = {
        name: grpc.unary_unary_rpc_method_handler(
            getattr(servicer, name),
            request_deserializer=message(request).FromString,
            response_serializer=message(response).SerializeToString,
        )
        for name, (request, response) in METHODS.items()
    }
    return grpc.method_handlers_generic_handler(f"{PACKAGE}.Provider", methods)


def _reattach(socket: str, pid: int) -> str:
    plugin = {
        "Protocol": "grpc",
        "ProtocolVersion": 6,
        "Pid": pid,
        "Test": True,  # Terraform leaves it running
        "Addr": {"Network": "unix", "String": socket},
    }
    return json.dumps({SOURCE: plugin})
