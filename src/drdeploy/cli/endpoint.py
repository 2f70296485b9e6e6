"""``drdeploy endpoint``: deploy, list, invoke and delete endpoints, on AWS or locally."""

from __future__ import annotations

import mimetypes
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli import endpoint_deploy
from drdeploy.cli.console import Column, Table, print_json, print_line
from drdeploy.cli.options import EndpointUrlOption, JsonOption, RegionOption
from drdeploy.errors import printable

if TYPE_CHECKING:
    from drdeploy.hosting.sagemaker import Invocation

app = typer.Typer(no_args_is_help=True)
app.command()(endpoint_deploy.deploy)

NameArgument = Annotated[str, typer.Argument(help="The endpoint's name.")]


@app.command("list")
def list_endpoints(
    endpoint_url: EndpointUrlOption = None, region: RegionOption = None, as_json: JsonOption = False
) -> None:
    """List endpoints, newest first."""
    from drdeploy.hosting.sagemaker import connect, translated_errors

    sagemaker = connect(endpoint_url, region=region).sagemaker
    with translated_errors("list the endpoints", endpoint_url or "AWS"):
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
    table = Table([Column.name("endpoint"), Column("status"), Column("created")])
    for endpoint in endpoints:
        table.add(endpoint["name"], endpoint["status"], endpoint["created_at"])
    table.print()


@app.command()
def invoke(
    name: NameArgument,
    image: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A photograph.")],
    *,
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    content_type: Annotated[
        str | None,
        typer.Option(help="Content type of the photograph. By default, it follows from its name."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send a photograph to an endpoint and show the answer."""
    from drdeploy.errors import EndpointError
    from drdeploy.hosting.sagemaker import Hosting

    hosting = Hosting.connect(endpoint_url, region=region)
    guessed = mimetypes.guess_type(image.name)[0] or "application/octet-stream"
    answer = hosting.invoke(name, image.read_bytes(), content_type=content_type or guessed)
    if answer.outcome != "ok":
        raise EndpointError(answer.error, where=name)
    if as_json:
        sys.stdout.write(answer.body.decode(errors="replace").rstrip() + "\n")
    else:
        _show(answer)


@app.command()
def delete(
    name: NameArgument, endpoint_url: EndpointUrlOption = None, region: RegionOption = None
) -> None:
    """Delete an endpoint and all that belongs to it.

    What `drdeploy endpoint deploy` created is deleted through Terraform, with its bucket,
    repository and role, and listed afterwards to verify that it is gone. Of any other endpoint,
    the configuration and the model of the same name are deleted too.
    """
    from drdeploy.errors import EndpointError
    from drdeploy.hosting.deployment.workspace import Workspace
    from drdeploy.hosting.sagemaker import Hosting

    workspace = Workspace.of_endpoint(name)
    if workspace.exists and workspace.record().is_at(endpoint_url, region):
        endpoint_deploy.print_teardown(endpoint_deploy.delete_deployed(workspace))
        print_line(f"{name} is deleted")
        return
    hosting = Hosting.connect(endpoint_url, region=region)
    exists = hosting.exists(name)
    hosting.delete(name)  # a broken deployment may have left a configuration or a model
    if not exists:
        raise EndpointError(
            "There is no such endpoint",
            where=name,
            remedy="List the endpoints with `drdeploy endpoint list`",
        )
    print_line(f"{name} is deleted")


def _show(answer: Invocation) -> None:
    import json

    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        text = answer.body.decode(errors="replace")
        sys.stdout.write(printable(text, keep="\r\n\t") + "\n")
        return
    if isinstance(value, dict) and {"grade", "label", "referable", "notice"} <= value.keys():
        referable = "yes" if value["referable"] else "no"
        print_line(f"grade {value['grade']} ({value['label']}), referable: {referable}")
        print_line(value["notice"])
    else:
        print_json(value)
    print_line(f"{answer.latency_s * 1000:.1f} ms")
