"""``drdeploy endpoint``: deploy, list, invoke and delete endpoints, on AWS or locally."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drdeploy.cli import endpoint_deploy
from drdeploy.cli.console import out, print_json
from drdeploy.cli.options import EndpointUrlOption, JsonOption, RegionOption

if TYPE_CHECKING:
    from drdeploy.hosting.sagemaker import Invocation

app = typer.Typer(no_args_is_help=True)
app.command()(endpoint_deploy.deploy)

NameArgument = Annotated[str, typer.Argument(help="The endpoint's name.")]


@app.command("list")
def list_endpoints(
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """List endpoints, newest first."""
    endpoints = _endpoints(endpoint_url, region)
    if as_json:
        print_json(endpoints)
        return
    from rich.table import Table

    table = Table("endpoint", "status", "created")
    for endpoint in endpoints:
        table.add_row(endpoint["name"], endpoint["status"], endpoint["created_at"])
    out.print(table)


@app.command()
def invoke(
    name: NameArgument,
    image: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="A photograph.")],
    *,
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
    content_type: Annotated[
        str | None, typer.Option(help="Of the photograph; told from its name by default.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Send a photograph to an endpoint and print its answer."""
    from drdeploy.hosting.sagemaker import Hosting

    hosting = Hosting.connect(endpoint_url, region=region)
    kind = content_type or _content_type(image)
    answer = hosting.invoke(name, image.read_bytes(), content_type=kind)
    if answer.outcome != "ok":
        raise _failure(name, answer)
    if as_json:
        sys.stdout.write(answer.body.decode(errors="replace").rstrip() + "\n")
    else:
        _show(answer)


@app.command()
def delete(
    name: NameArgument,
    endpoint_url: EndpointUrlOption = None,
    region: RegionOption = None,
) -> None:
    """Delete an endpoint with all that belongs to it, and verify by listing that it is gone.

    What `drdeploy endpoint deploy` created is deleted through Terraform, with its bucket,
    repository and role; of any other the configuration and the model of the same name.
    """
    from drdeploy.errors import EndpointError
    from drdeploy.hosting.deployment.workspace import Workspace
    from drdeploy.hosting.sagemaker import Hosting

    workspace = Workspace.of_endpoint(name)
    if workspace.exists and workspace.note().is_at(endpoint_url, region):
        endpoint_deploy.show_swept(endpoint_deploy.delete_deployed(workspace))
        out.print(f"{name} is deleted", markup=False, highlight=False)
        return
    hosting = Hosting.connect(endpoint_url, region=region)
    there_was_one = hosting.exists(name)
    hosting.delete(name)  # a configuration or a model may be left of one
    if not there_was_one:
        raise EndpointError(
            "There is no such endpoint",
            where=name,
            remedy="`drdeploy endpoint list` shows those that there are",
        )
    out.print(f"{name} is deleted", markup=False, highlight=False)


def _endpoints(endpoint_url: str | None, region: str | None) -> list[dict[str, Any]]:
    from drdeploy.hosting.sagemaker import connect, translated_errors

    sagemaker = connect(endpoint_url, region=region).sagemaker
    with translated_errors("list the endpoints", endpoint_url or "AWS"):
        pages = list(sagemaker.get_paginator("list_endpoints").paginate())
    return [
        {
            "name": endpoint["EndpointName"],
            "status": endpoint["EndpointStatus"],
            "created_at": endpoint["CreationTime"].isoformat(timespec="seconds"),
        }
        for page in pages
        for endpoint in page["Endpoints"]
    ]


def _show(answer: Invocation) -> None:
    import json

    try:
        value = json.loads(answer.body)
    except ValueError:
        sys.stdout.write(answer.body.decode(errors="replace") + "\n")
        return
    if isinstance(value, dict) and "grade" in value:
        out.print(f"grade {value['grade']} ({value['label']}), referable: {value['referable']}")
        out.print(value["notice"], markup=False, highlight=False)
    else:
        print_json(value)
    out.print(f"{answer.latency_s * 1000:.1f} ms", highlight=False)


def _failure(name: str, answer: Invocation) -> Exception:
    from drdeploy.errors import EndpointError

    return EndpointError(answer.error, where=name)


def _content_type(image: Path) -> str:
    import mimetypes

    return mimetypes.guess_type(image.name)[0] or "application/octet-stream"
