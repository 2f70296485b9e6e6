"""``drdeploy local``: the SageMaker-compatible service on this machine."""

from __future__ import annotations

import os
import signal
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drdeploy.cli.console import print_facts, print_json, print_line
from drdeploy.cli.end_event import make_end_event
from drdeploy.cli.options import IsolationOption, JsonOption, check_option_is_finite

if TYPE_CHECKING:
    from drdeploy.hosting.local import LocalService

app = typer.Typer(no_args_is_help=True)

DEFAULT_PORT = 8765
STOP_S = 60.0
POLL_S = 0.05

OF_OPEN = (
    "drdeploy local: every program and every user of this machine may use this service. To admit "
    "only clients that have a key, start the service with --shared\n"
)
OF_SHARED = (
    "drdeploy local: shared with other users. Set the three variables below wherever a client "
    "runs. The key is valid until the service stops\n"
)

PortOption = Annotated[
    int,
    typer.Option(
        "--port", min=0, max=65535, help="Port on 127.0.0.1; with `local up`, 0 takes a free port."
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
            "--idle-s",
            min=0.0,
            help="Seconds until an idle serverless worker is stopped. Managed instance "
            "scaling also stops an instance that has had no copy of an inference component for "
            "this time.",
        ),
    ] = 300.0,
    vcpu_per_gb: Annotated[
        float,
        typer.Option(
            "--vcpu-per-gb",
            min=0.01,
            callback=check_option_is_finite,
            help=(
                "vCPUs for each GB of memory of a serverless endpoint. By default, as many as AWS "
                "Lambda gives."
            ),
        ),
    ] = 1024 / 1769,
    shared: Annotated[
        bool,
        typer.Option(
            "--shared",
            help=(
                "For a machine that other people use too: print an access key, and require every "
                "request to be signed with this key."
            ),
        ),
    ] = False,
    strict: Annotated[
        bool,
        typer.Option(
            "--strict",
            help=(
                "Restrict containers more than AWS does: they get no capabilities, and can "
                "write only to /tmp."
            ),
        ),
    ] = False,
    trial_start: Annotated[
        bool,
        typer.Option(
            help="Start a container once when a serverless endpoint is created, as a test."
        ),
    ] = True,
    until_stdin_closes: Annotated[
        bool, typer.Option("--until-stdin-closes", help="Stop when standard input closes.")
    ] = False,
) -> None:
    """Serve the SageMaker API on this machine until SIGTERM or Ctrl-C.

    When the service is ready, the command prints its address in one line on standard output. With
    `--shared`, three more lines follow: shell commands that set the address and the access key.
    Without `--shared`, all users of this machine and all their programs can use the service. Web
    pages in a browser cannot.
    """
    from drdeploy.hosting.local import LocalService, ServiceOptions

    over = make_end_event(until_stdin_closes=until_stdin_closes)
    mb_per_vcpu = round(1024 / vcpu_per_gb, 3)  # 1769.0, not 1768.9999
    options = ServiceOptions(
        idle_s=idle_s,
        mb_per_vcpu=mb_per_vcpu,
        trial_start=trial_start,
        strict_containers=strict,
    )
    service = LocalService(port, isolation=isolation, options=options, shared=shared)
    try:
        service.start()
        sys.stderr.write(OF_SHARED if shared else OF_OPEN)
        if service.engine is not None:
            sys.stderr.write(f"drdeploy local: container engine: {service.engine}\n")
        ready = f"drdeploy local: ready at {service.url} (isolation={service.isolation})"
        sys.stdout.write("".join(f"{line}\n" for line in (ready, *_list_shell_exports(service))))
        sys.stdout.flush()
        over.wait()
    finally:
        service.stop()


@app.command()
def status(port: PortOption = DEFAULT_PORT, as_json: JsonOption = False) -> None:
    """Show facts about a local service, and list its endpoints."""
    facts = _fetch_status_of_service(port)
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
        raise _make_no_service_error(port)
    os.kill(service.pid, signal.SIGTERM)
    deadline = time.monotonic() + STOP_S
    while service.is_running():
        if time.monotonic() >= deadline:
            raise EndpointTimeout(
                f"The local service did not stop within {STOP_S:g} s",
                where=f"process {service.pid}",
                remedy="Wait until the work in progress has ended, and run the command again",
            )
        time.sleep(POLL_S)
    print_line(f"drdeploy local: stopped the service on port {port}")


def _list_shell_exports(service: LocalService) -> tuple[str, ...]:
    """Return shell commands that set a service's address and key; none if it is not shared."""
    key = service.access_key
    if key is None:
        return ()
    variables = {
        "AWS_ENDPOINT_URL": service.url,
        "AWS_ACCESS_KEY_ID": key.id,
        "AWS_SECRET_ACCESS_KEY": key.secret,
    }
    return tuple(f"export {name}={value}" for name, value in variables.items())


def _fetch_status_of_service(port: int) -> dict[str, Any]:
    """Return the facts that a service reports about itself.

    A shared service answers only requests that are signed with its key. If another user started the
    service, the environment must hold this key.
    """
    from urllib.error import HTTPError
    from urllib.request import ProxyHandler, Request, build_opener

    from drdeploy.errors import InvalidInput
    from drdeploy.files import parse_json
    from drdeploy.hosting.local.api.router import STATUS_PATH

    url = f"http://127.0.0.1:{port}{STATUS_PATH}"
    try:
        # Proxies from the environment variables are ignored, because the service is on this
        # machine.
        request = Request(url, headers=_make_signed_headers_of_get(url, port))
        with build_opener(ProxyHandler({})).open(request, timeout=10) as answer:
            facts: dict[str, Any] = parse_json(answer.read())
    except HTTPError as err:
        if err.code not in {400, 403}:
            raise _make_no_service_error(port) from err
        raise InvalidInput(
            f"The service on port {port} is shared, and refuses your access key",
            where="AWS_ACCESS_KEY_ID",
            remedy="Set the variables that `drdeploy local up --shared` printed",
        ) from err
    except (OSError, ValueError) as err:  # URLError is an OSError
        raise _make_no_service_error(port) from err
    return facts


def _make_signed_headers_of_get(url: str, port: int) -> dict[str, str]:
    """Return the headers of a signed GET request to a local service.

    The request is signed with the access key of the service. If this user has no record of that
    key, the request is signed with the access key in the environment variables.
    """
    from botocore.auth import SigV4Auth
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    from drdeploy.hosting.local.instances.service_folders import find_service, read_access_key
    from drdeploy.hosting.sagemaker import DEFAULT_REGION, choose_local_credentials

    record = find_service(port)
    key = None if record is None else read_access_key(record)
    pair = (key.id, key.secret) if key else tuple(choose_local_credentials().values())
    request = AWSRequest("GET", url)
    SigV4Auth(Credentials(*pair), "sagemaker", DEFAULT_REGION).add_auth(request)
    return dict(request.headers.items())


def _make_no_service_error(port: int) -> Exception:
    from drdeploy.errors import InvalidInput

    return InvalidInput(
        f"No local service answers on port {port}",
        where="--port",
        remedy="Start a service with `drdeploy local up`, or give the port of a running service",
    )
