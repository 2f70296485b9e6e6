"""Serve the provider from this process, to every Terraform that is started meanwhile.

>>> with provider_of(endpoint_url="http://127.0.0.1:8765") as environment:
...     subprocess.run(["terraform", "apply"], env=os.environ | environment)

Terraform attaches to a provider that runs already (``TF_REATTACH_PROVIDERS``): it starts no
process for each command and asks no registry, and a test can watch the calls that are made.
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from typing import TYPE_CHECKING

from aws_provider.aws import Aws
from aws_provider.plugin import PROVIDER_PROTOCOL, SOURCE
from aws_provider.server import provider_server
from aws_provider.servicer import Servicer

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextlib.contextmanager
def provider_of(*, endpoint_url: str) -> Iterator[dict[str, str]]:
    """Run the provider as long as the context lasts.

    Yields:
        What Terraform's environment must hold besides the ordinary one.

    Raises:
        InvalidInput: ``endpoint_url`` is not of this machine.
    """
    servicer = Servicer(Aws(endpoint_url))
    with tempfile.TemporaryDirectory(prefix="drdeploy-") as folder:
        socket = f"{folder}/provider.sock"
        server = provider_server(servicer, socket)
        server.start()
        try:
            with _dummy_process() as pid:
                attach = _reattach(socket, pid)
                yield {"TF_REATTACH_PROVIDERS": attach, "CHECKPOINT_DISABLE": "1"}
        finally:
            server.stop(grace=None).wait()


@contextlib.contextmanager
def _dummy_process() -> Iterator[int]:
    """A process that Terraform may kill, named to it as the provider's.

    Terraform kills the provider's process where the provider no longer answers, which would be
    the program that runs this.  This one does nothing, and ends with us: its input closes.
    """
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.DEVNULL) as process:
        yield process.pid


def _reattach(socket: str, pid: int) -> str:
    plugin = {
        "Protocol": "grpc",
        "ProtocolVersion": PROVIDER_PROTOCOL,
        "Pid": pid,
        "Test": True,  # Terraform leaves it running
        "Addr": {"Network": "unix", "String": socket},
    }
    return json.dumps({SOURCE: plugin})
