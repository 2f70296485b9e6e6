"""Commands that create an endpoint with Terraform, and delete what they created."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import err, print_json, print_line
from drdeploy.cli.deployment import (
    LocalUrlOption,
    TargetOption,
    TerminalApprover,
    UnknownPricesOption,
    YesOption,
    account_of,
    engine_for,
    interruptible,
    local_service_answers,
    sheet_of,
)
from drdeploy.cli.options import JsonOption, PricesOption, RegionOption
from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from drdeploy.hosting.deployment.account import Account
    from drdeploy.hosting.deployment.provision import Provisioned
    from drdeploy.hosting.deployment.teardown import TeardownReport
    from drdeploy.hosting.deployment.workspace import Workspace
    from drdeploy.hosting.engine import Engine
    from drdeploy.hosting.sagemaker import EndpointConfig, Invocation


def deploy(
    name: Annotated[
        str, typer.Argument(help="Name of the endpoint; every name that belongs to it begins so.")
    ],
    *,
    artifact: Annotated[
        Path | None,
        typer.Option("--artifact", "-a", help="A model.tar.gz; the grader in the box by default."),
    ] = None,
    image: Annotated[
        str,
        typer.Option(help="lean, minimal, reduced, … (built if need be), or a tag in the engine."),
    ] = "lean",
    memory_mb: Annotated[
        int, typer.Option(help="Memory of a serverless endpoint: 1024 to 6144 in steps of 1024.")
    ] = 2048,
    max_concurrency: Annotated[
        int, typer.Option(help="Requests at once that a serverless endpoint takes.")
    ] = 5,
    provisioned_concurrency: Annotated[
        int | None, typer.Option(help="Containers kept warm, paid around the clock.")
    ] = None,
    instance_type: Annotated[
        str | None,
        typer.Option(help="A real-time endpoint instead, always on: for example ml.m5.xlarge."),
    ] = None,
    instance_count: Annotated[int, typer.Option(help="Instances of a real-time endpoint.")] = 1,
    photograph: Annotated[
        Path | None,
        typer.Option(
            help="Photograph to try the endpoint out with; a synthetic one by default.",
            dir_okay=False,
        ),
    ] = None,
    target: TargetOption = None,
    endpoint_url: LocalUrlOption = None,
    region: RegionOption = None,
    prices: PricesOption = None,
    accept_unknown_prices: UnknownPricesOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Deploy a grader to an endpoint, on AWS or on this machine.

    The image is built and pushed, the artifact uploaded, and the plan shown with its cost. Once
    approved, it is applied, and the endpoint is tried out with a photograph.

    Run it again with another image, archive or size: what changed becomes a new endpoint
    configuration, and the endpoint answers throughout. deployments/NAME keeps Terraform's state.
    """
    from drdeploy.grader.box import box_artifact
    from drdeploy.hosting.deployment.configuration import prepare_terraform
    from drdeploy.hosting.deployment.desired import DesiredEndpoints, ModelSource
    from drdeploy.hosting.deployment.provision import Provisioner
    from drdeploy.hosting.deployment.variables import EndpointVariables, Variables, checked_prefix
    from drdeploy.hosting.deployment.workspace import Workspace

    config = _config(
        memory_mb, max_concurrency, provisioned_concurrency, instance_type, instance_count
    )
    body = _body(photograph)
    account = account_of(target, endpoint_url, region)
    workspace = Workspace.of_endpoint(checked_prefix(name))
    approver = TerminalApprover(yes=yes, is_local=account.platform == "local")
    advice = f"the same command goes on, and `drdeploy endpoint delete {name}` deletes"
    with interruptible(advice):
        region = account.region_name()
        _refuse_another_place(workspace, account.endpoint_url, region)
        # Before the image is built, which takes minutes: a provider that is missing ends it all.
        terraform = prepare_terraform("single-endpoint", workspace, account, approver.note)
        engine = engine_for(account)
        tag = _image_tag(engine, image, config, account)
        desired = DesiredEndpoints(
            Variables("single-endpoint", name, region),
            {name: ModelSource(tag, artifact or box_artifact("fp32"))},
            {name: EndpointVariables(name, config)},
        )
        provisioner = Provisioner(
            account=account,
            workspace=workspace,
            terraform=terraform,
            engine=engine,
            approver=approver,
            sheet=sheet_of(prices),
            accept_unknown_prices=accept_unknown_prices,
        )
        provisioned = provisioner.provision(desired)
        (endpoint,) = provisioned.endpoints.values()
        answer = provisioner.try_out(endpoint, *body)
    _report(endpoint, provisioned, answer, as_json=as_json)


def delete_deployed(workspace: Workspace) -> TeardownReport | None:
    """Delete a deployment and verify by listing that nothing of it is left.

    Returns:
        What was deleted and verified; None where the deployment was in a local service that has
        ended, and everything in it with the service.
    """
    from drdeploy.hosting.deployment.configuration import prepare_terraform
    from drdeploy.hosting.deployment.teardown import tear_down

    record = workspace.record()
    if record.endpoint_url is not None and not local_service_answers(record.endpoint_url):
        print_line(
            f"the local service at {record.endpoint_url} has ended, with everything in it", to=err
        )
        workspace.delete()
        return None
    approver = TerminalApprover(yes=True, is_local=record.endpoint_url is not None)
    with interruptible("the same command goes on"):
        terraform = prepare_terraform(record.environment, workspace, record.account, approver.note)
        return tear_down(record.account, workspace, terraform, approver)


def print_teardown(report: TeardownReport | None) -> None:
    """Print what was deleted, and for which kinds AWS lists nothing any more."""
    if report is None:
        return
    print_line(f"deleted: {len(report.deleted)} resources")
    for sentence in report.verified:
        print_line(f"verified: {sentence}")
    for sentence in report.unverified:
        print_line(f"not verified: {sentence}", to=err)


def _config(
    memory_mb: int,
    max_concurrency: int,
    provisioned_concurrency: int | None,
    instance_type: str | None,
    instance_count: int,
) -> EndpointConfig:
    from pydantic import ValidationError

    from drdeploy.hosting.sagemaker import RealTimeConfig, ServerlessConfig

    try:
        if instance_type:
            return RealTimeConfig(
                instance_type=instance_type, initial_instance_count=instance_count
            )
        return ServerlessConfig(
            memory_mb=memory_mb,
            max_concurrency=max_concurrency,
            provisioned_concurrency=provisioned_concurrency,
        )
    except ValidationError as error:
        first = error.errors()[0]
        place = "--" + "-".join(str(part) for part in first["loc"]).replace("_", "-")
        raise InvalidInput(
            first["msg"].removeprefix("Value error, "),
            where=place.removesuffix("-") or "--provisioned-concurrency",
        ) from error


def _image_tag(engine: Engine | None, image: str, config: EndpointConfig, account: Account) -> str:
    """Return the tag of the image to deploy; one of this project's images is built first."""
    from drdeploy.hosting.deployment.architectures import fitting_tag
    from drdeploy.hosting.images import build_image, own_image, tag_of

    tag = tag_of(image)
    if account.platform == "aws":
        tag = fitting_tag(tag, config)
    own = own_image(tag)
    if own is not None and engine is not None:
        print_line(f"building {tag} (what did not change is cached)", to=err)
        build_image(engine, own.name, platform=own.platform)
    return tag


def _refuse_another_place(workspace: Workspace, endpoint_url: str | None, region: str) -> None:
    """Refuse to deploy elsewhere from a folder whose state is about another account.

    Terraform would look for everything in the new place, find nothing there, and lose what runs
    in the old one.
    """
    if not workspace.exists:
        return
    record = workspace.record()
    is_aws = endpoint_url is None
    if (record.endpoint_url is None) != is_aws or record.region != region:
        place = "AWS" if record.endpoint_url is None else "the local service"
        raise InvalidInput(
            f"{record.prefix} is deployed in {record.region} on {place} already",
            where=str(workspace.folder),
            remedy="Delete it first, or choose another name",
        )


def _body(photograph: Path | None) -> tuple[bytes, str]:
    """Return the bytes to try the endpoint out with, and their content type."""
    import mimetypes

    from drdeploy.grader.synthetic.photograph import synthetic_photograph

    if photograph is None:
        return synthetic_photograph(0), "image/jpeg"
    kind = mimetypes.guess_type(photograph.name)[0] or ""
    if not kind.startswith("image/"):
        raise InvalidInput(
            "The name of the file is not that of a photograph",
            where=str(photograph),
            remedy="Name a .jpg, .png or .tif, or leave --photograph out",
        )
    return photograph.read_bytes(), kind


def _report(endpoint: str, provisioned: Provisioned, answer: Invocation, *, as_json: bool) -> None:
    import json

    grading = json.loads(answer.body)
    if as_json:
        images = {tag: image.uri for tag, image in provisioned.images.items()}
        archives = {
            str(path): {"uri": one.uri, "version_id": one.version_id, "sha256": one.sha256}
            for path, one in provisioned.archives.items()
        }
        print_json(
            {
                "endpoint": endpoint,
                "changes": provisioned.changes.summary,
                "images": images,
                "archives": archives,
                "outputs": provisioned.outputs,
                "answer": grading,
            }
        )
        return
    print_line(f"endpoint {endpoint} is in service")
    if isinstance(grading, dict) and "grade" in grading:
        print_line(f"it answers: grade {grading['grade']} ({grading['label']})")
        print_line(grading["notice"])
    for name, value in provisioned.outputs.items():
        if name != "endpoint":
            print_line(f"{name}: {value}")
    print_line(f"delete it with: drdeploy endpoint delete {endpoint}")
