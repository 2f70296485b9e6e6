"""``drdeploy endpoint``: deploy, list, invoke and delete endpoints, on AWS or locally."""

from __future__ import annotations

import mimetypes
import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from drdeploy.cli import endpoint_deploy
from drdeploy.cli.console import Column, Table, print_json, print_line
from drdeploy.cli.deployment import DeleteCapturedOption
from drdeploy.cli.options import EndpointUrlOption, JsonOption, RegionOption
from drdeploy.errors import InvalidInput, escape_control_characters
from drdeploy.hosting.sagemaker.s3_uris import S3_SCHEME
from drdeploy.units import MILLISECONDS_PER_S

ASYNCHRONOUS_WAIT_S = 1800.0

app = typer.Typer(no_args_is_help=True)
app.command()(endpoint_deploy.deploy)

EndpointNameArgument = Annotated[str, typer.Argument(help="The endpoint's name.")]


@app.command("list")
def list_endpoints(
    endpoint_url: EndpointUrlOption = None, region: RegionOption = None, as_json: JsonOption = False
) -> None:
    """List endpoints, newest first."""
    from drdeploy.hosting.sagemaker import (
        find_hosting_url,
        make_hosting_clients,
        translate_aws_errors,
    )

    sagemaker = make_hosting_clients(endpoint_url, region=region).sagemaker
    with translate_aws_errors("list the endpoints", find_hosting_url(endpoint_url) or "AWS"):
        pages = list(sagemaker.get_paginator("list_endpoints").paginate())
    endpoints = [
        {
            "name": endpoint["EndpointName"],
            "status": endpoint["EndpointStatus"],
            "created_at": endpoint["CreationTime"].isoformat(timespec="seconds"),
        }
        for page in pages
        for endpoint in page["Endpoints"]
    ]
    if as_json:
        print_json(endpoints)
        return
    table = Table([Column.of_names("endpoint"), Column("status"), Column("created")])
    for endpoint in endpoints:
        table.add_row(endpoint["name"], endpoint["status"], endpoint["created_at"])
    table.print()


@app.command()
def invoke(
    name: EndpointNameArgument,
    image: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A photograph.")],
    *,
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    content_type: Annotated[
        str | None,
        typer.Option(
            help="Content type of the photograph; by default, the content of the file decides."
        ),
    ] = None,
    asynchronous: Annotated[
        bool,
        typer.Option(
            "--asynchronous",
            help="Send the photograph to an asynchronous endpoint: store it in S3, and wait for "
            "the result.",
        ),
    ] = False,
    inputs: Annotated[
        str | None,
        typer.Option(
            metavar="S3-URI",
            help=(
                "With --asynchronous: folder in S3 for the photograph. By default, the folder "
                "inputs/ is used, which `endpoint deploy` made beside the folder of results."
            ),
        ),
    ] = None,
    timeout_s: Annotated[
        float | None,
        typer.Option(
            min=1,
            help=f"Seconds to wait for a result, with --asynchronous; {ASYNCHRONOUS_WAIT_S:.0f} by "
            "default. An endpoint that has no instances takes minutes to start one.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send a photograph to an endpoint and show the answer.

    With `--asynchronous`, the photograph and the result go through S3, and are deleted there as
    soon as the command has the answer.
    """
    from drdeploy.errors import EndpointError
    from drdeploy.grader.photograph_files import (
        find_content_type_of_photograph,
        read_photograph_bytes,
    )
    from drdeploy.hosting.sagemaker import Hosting

    data = read_photograph_bytes(image)
    guessed = mimetypes.guess_type(image.name)[0] or "application/octet-stream"
    kind = content_type or find_content_type_of_photograph(data) or guessed
    if asynchronous:
        started_s = time.monotonic()
        body = _invoke_asynchronously(
            name,
            data,
            kind,
            inputs,
            timeout_s=timeout_s or ASYNCHRONOUS_WAIT_S,
            endpoint_url=endpoint_url,
            region=region,
        )
        latency_s = time.monotonic() - started_s
    else:
        for option, value in (("--inputs", inputs), ("--timeout-s", timeout_s)):
            if value is not None:
                raise InvalidInput(
                    f"{option} is for asynchronous endpoints",
                    where=option,
                    remedy=f"Add --asynchronous, or omit {option}",
                )
        answer = Hosting.connect(endpoint_url, region=region).invoke(name, data, content_type=kind)
        if answer.outcome != "ok":
            raise EndpointError(answer.error, where=name)
        body, latency_s = answer.body, answer.latency_s
    if as_json:
        sys.stdout.write(body.decode(errors="replace").rstrip() + "\n")
    else:
        _print_answer_of_endpoint(body, latency_s)


@app.command()
def delete(
    name: EndpointNameArgument,
    *,
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    delete_captured: DeleteCapturedOption = False,
) -> None:
    """Delete an endpoint and everything that belongs to it.

    If `drdeploy endpoint deploy` created the endpoint, Terraform deletes it, and also its bucket,
    repository and role. The command then asks AWS whether any resource is left.

    If the bucket holds objects other than archives, for example captured photographs, the command
    keeps the bucket, and ends with an error that names it. The endpoint is deleted all the same.
    With --delete-captured, these objects and the bucket are deleted, too.

    If another tool created the endpoint, the command deletes the endpoint, and the configuration
    and the model that have the endpoint's name.
    """
    from drdeploy.errors import EndpointError
    from drdeploy.hosting.deployment.workspace import TerraformWorkspace
    from drdeploy.hosting.sagemaker import Hosting, find_hosting_url

    workspace = TerraformWorkspace.for_single_endpoint(name)
    if workspace.has_deployment_record and workspace.read_record().matches_target(
        find_hosting_url(endpoint_url), region
    ):
        report = endpoint_deploy.delete_deployment(workspace, others=delete_captured)
        endpoint_deploy.print_teardown_report(report)
        print_line(f"{name} is deleted")
        return
    if delete_captured:
        raise InvalidInput(
            "--delete-captured would have no effect, because `drdeploy endpoint deploy` did not "
            "create this endpoint from this folder, so its bucket is not known",
            where=name,
            remedy="Omit --delete-captured, or run the command in the folder of the deployment, "
            "with its --endpoint-url and --region",
        )
    hosting = Hosting.connect(endpoint_url, region=region)
    exists = hosting.exists(name)
    hosting.delete(name)  # a broken deployment may have left a configuration or a model
    if not exists:
        raise EndpointError(
            "The endpoint does not exist",
            where=name,
            remedy="List the endpoints with `drdeploy endpoint list`",
        )
    print_line(f"{name} is deleted")


def _invoke_asynchronously(
    name: str,
    data: bytes,
    content_type: str,
    inputs: str | None,
    *,
    timeout_s: float,
    endpoint_url: str | None,
    region: str | None,
) -> bytes:
    from drdeploy.errors import EndpointError
    from drdeploy.hosting.sagemaker import AsynchronousClient

    if inputs is not None and not inputs.startswith(S3_SCHEME):
        raise InvalidInput(
            f"{inputs} is not the address of a folder in S3",
            where="--inputs",
            remedy="Write the folder as s3://BUCKET/FOLDER",
        )
    client = AsynchronousClient.connect(endpoint_url, region=region)
    folder = f"{inputs.rstrip('/')}/" if inputs else client.find_inputs_uri(name)
    result = client.invoke_and_wait_for_result(
        name, folder, data, content_type, timeout_s=timeout_s
    )
    if result.is_failure:
        raise EndpointError(result.reason, where=name)
    return result.body


def _print_answer_of_endpoint(body: bytes, latency_s: float) -> None:
    from drdeploy.files import parse_json

    try:
        value = parse_json(body)
    except ValueError:
        text = body.decode(errors="replace")
        sys.stdout.write(escape_control_characters(text, keep="\r\n\t") + "\n")
        return
    if isinstance(value, dict) and {"grade", "label", "referable", "notice"} <= value.keys():
        referable = "yes" if value["referable"] else "no"
        print_line(f"grade {value['grade']} ({value['label']}), referable: {referable}")
        if "referable_rule" in value:
            print_line(f"referable: {value['referable_rule']}")
        if "unlike_training_message" in value:
            print_line(str(value["unlike_training_message"]))
        print_line(value["notice"])
    else:
        print_json(value)
    print_line(f"{latency_s * MILLISECONDS_PER_S:.1f} ms")
