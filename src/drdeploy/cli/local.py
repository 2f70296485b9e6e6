"""``drdeploy local``: the SageMaker-compatible service on this machine."""

from __future__ import annotations

import os
import signal
import sys
import threading
from typing import Annotated

import typer

from drdeploy.cli.console import print_facts, print_json, print_line
from drdeploy.cli.options import IsolationOption, JsonOption

app = typer.Typer(no_args_is_help=True)

DEFAULT_PORT = 8765
STOP_S = 60.0
POLL_S = 0.05

PortOption = Annotated[
    int,
    typer.Option(
        "--port", min=0, max=65535, help="Port on 127.0.0.1. With `up`, 0 takes a free one."
    ),
]


@app.command()
def up(
    *,
    port: PortOption = DEFAULT_PORT,
    isolation: IsolationOption = "auto",
    idle_s: Annotated[
        float,
        typer.Option(
            "--idle-s", min=0.0, help="Seconds after which an idle serverless endpoint is stopped."
        ),
    ] = 300.0,
    vcpu_per_gb: Annotated[
        float,
        typer.Option(
            "--vcpu-per-gb",
            min=0.01,
            help="vCPUs for each GB of a serverless endpoint. AWS Lambda's share by default.",
        ),
    ] = 1024 / 1769,
    trial_start: Annotated[
        bool, typer.Option(help="Try a serverless endpoint's container once, when it is created.")
    ] = True,
    until_stdin_closes: Annotated[
        bool, typer.Option("--until-stdin-closes", help="Stop when standard input closes.")
    ] = False,
) -> None:
    """Serve the SageMaker API on this machine until SIGTERM or Ctrl-C.

    One line on standard output says when it is ready, and at which address.
    """
    from drdeploy.hosting.local import LocalService, ServiceOptions

    over = _end_signal(until_stdin_closes)
    mb_per_vcpu = round(1024 / vcpu_per_gb, 3)  # 1769.0, not 1768.9999
    options = ServiceOptions(idle_s=idle_s, mb_per_vcpu=mb_per_vcpu, trial_start=trial_start)
    service = LocalService(port, isolation=isolation, options=options)
    try:
        service.start()
        ready = f"drdeploy local: ready at {service.url} (isolation={service.isolation})"
        sys.stdout.write(f"{ready}\n")
        sys.stdout.flush()
        over.wait()
    finally:
        service.stop()


@app.command()
def status(port: PortOption = DEFAULT_PORT, as_json: JsonOption = False) -> None:
    """Show the service on a port and its endpoints."""
    import json
    from urllib.request import ProxyHandler, build_opener

    from drdeploy.hosting.local.api.router import STATUS_PATH

    url = f"http://127.0.0.1:{port}{STATUS_PATH}"
    try:
        # A proxy of the environment must not be asked about this machine.
        with build_opener(ProxyHandler({})).open(url, timeout=10) as answer:
            facts = json.load(answer)
    except (OSError, ValueError) as err:  # URLError is an OSError
        raise _no_service(port) from err
    if as_json:
        print_json(facts)
        return
    print_facts((name, str(value)) for name, value in facts.items() if name != "endpoints")
    for endpoint in facts["endpoints"]:
        print_line(f"endpoint {endpoint['name']} ({endpoint['region']}): {endpoint['status']}")


@app.command()
def down(port: PortOption = DEFAULT_PORT) -> None:
    """Stop the service on a port, and wait until it has ended."""
    import time

    from drdeploy.errors import EndpointTimeout
    from drdeploy.hosting.local.instances.service_folders import find_service

    service = find_service(port)
    if service is None:
        raise _no_service(port)
    os.kill(service.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while service.is_running():
        if time.monotonic() >= deadline:
            raise EndpointTimeout(
                f"The service still runs {STOP_S:g} s after it was told to stop",
                where=f"process {service.pid}",
            )
        time.sleep(POLL_S)
    print_line(f"drdeploy local: stopped the service on port {port}")


def _end_signal(until_stdin_closes: bool) -> threading.Event:
    """An event that SIGTERM, Ctrl-C or the end of standard input sets."""
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: over.set())
    if until_stdin_closes:
        threading.Thread(target=_set_at_end_of_input, args=(over,), daemon=True).start()
    return over


def _set_at_end_of_input(over: threading.Event) -> None:
    while os.read(sys.stdin.fileno(), 4096):
        pass
    over.set()


def _no_service(port: int) -> Exception:
    from drdeploy.errors import InvalidInput

    return InvalidInput(
        f"No local service answers on port {port}",
        where="--port",
        remedy="Start one with `drdeploy local up`, or name its port",
    )
