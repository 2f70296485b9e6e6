"""``drdeploy endpoint deploy``, and the deletion of what it created: through Terraform."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.console import err, out, print_json
from drdeploy.cli.options import JsonOption, PricesOption, RegionOption
from drdeploy.cli.places import (
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
from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from drdeploy.hosting.deployment.account import Account
    from drdeploy.hosting.deployment.desired import DesiredEndpoints
    from drdeploy.hosting.deployment.provision import Provisioned
    from drdeploy.hosting.deployment.teardown import TeardownReport
    from drdeploy.hosting.deployment.variables import AnyConfig
    from drdeploy.hosting.deployment.workspace import Workspace
    from drdeploy.hosting.engine import Engine
    from drdeploy.hosting.sagemaker import Invocation


def deploy(
    name: Annotated[str, typer.Argument(help="Of the endpoint; begins every name of it.")],
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
        int, typer.Option(help="Of a serverless endpoint: 1024 to 6144 in steps of 1024.")
    ] = 2048,
    max_concurrency: Annotated[int, typer.Option(help="Of a serverless endpoint.")] = 5,
    provisioned_concurrency: Annotated[
        int | None, typer.Option(help="Containers kept warm; they cost money always.")
    ] = None,
    instance_type: Annotated[
        str | None,
        typer.Option(help="A real-time endpoint instead, always on: for example ml.m5.xlarge."),
    ] = None,
    instance_count: Annotated[int, typer.Option(help="Of a real-time endpoint.")] = 1,
    photograph: Annotated[
        Path | None,
        typer.Option(help="Sent when all is done; a painted one by default.", dir_okay=False),
    ] = None,
    target: TargetOption = None,
    endpoint_url: LocalUrlOption = None,
    region: RegionOption = None,
    prices: PricesOption = None,
    accept_unknown_prices: UnknownPricesOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Build, push, upload, plan, agree, apply, wait, try it out.

    Run it again with another image, archive or size: what changed becomes a new endpoint
    configuration, and the endpoint answers throughout. deployments/NAME keeps Terraform's state.
    """
    from drdeploy.hosting.deployment.configuration import ready_terraform
    from drdeploy.hosting.deployment.provision import Provisioner
    from drdeploy.hosting.deployment.variables import checked_prefix
    from drdeploy.hosting.deployment.workspace import Workspace

    config = _config(
        memory_mb, max_concurrency, provisioned_concurrency, instance_type, instance_count
    )
    body = _body(photograph)
    account = account_of(target, endpoint_url, region)
    workspace = Workspace.of_endpoint(checked_prefix(name))
    person = TerminalApprover(yes=yes, is_local=account.platform == "local")
    advice = f"the same command goes on, and `drdeploy endpoint delete {name}` deletes"
    with interruptible(advice):
        region = account.region_name()
        _refuse_another_place(workspace, account.endpoint_url, region)
        # Before the image is built, which takes minutes.
        terraform = ready_terraform("single-endpoint", workspace, account, person.note)
        engine = engine_for(account)
        tag = _image_tag(engine, image, config, account)
        wish = _wish(name, tag, artifact, config, region)
        provisioner = Provisioner(
            account=account,
            workspace=workspace,
            terraform=terraform,
            engine=engine,
            person=person,
            sheet=sheet_of(prices),
            accept_unknown_prices=accept_unknown_prices,
        )
        provisioned = provisioner.provision(wish)
        (endpoint,) = provisioned.endpoints.values()
        answer = provisioner.try_out(endpoint, *body)
    _report(endpoint, provisioned, answer, as_json=as_json)


def delete_deployed(workspace: Workspace) -> TeardownReport | None:
    """Delete what a deployment's folder tells of, and verify it by listing.

    Returns:
        None where it was in a local service that has ended: what it held ended with it.
    """
    from drdeploy.hosting.deployment.configuration import ready_terraform
    from drdeploy.hosting.deployment.teardown import sweep

    note = workspace.note()
    if note.endpoint_url is not None and not local_service_answers(note.endpoint_url):
        err.print(f"the local service at {note.endpoint_url} is gone, and everything in it")
        workspace.forget()
        return None
    person = TerminalApprover(yes=True, is_local=note.endpoint_url is not None)
    with interruptible("the same command goes on"):
        terraform = ready_terraform(note.environment, workspace, note.account, person.note)
        return sweep(note.account, workspace, terraform, person)


def show_swept(swept: TeardownReport | None) -> None:
    """What was deleted, and how that is known."""
    if swept is None:
        return
    out.print(f"deleted: {len(swept.deleted)} resources", highlight=False)
    for sentence in swept.verified:
        out.print(f"verified: {sentence}", markup=False, highlight=False)
    for sentence in swept.unverified:
        err.print(f"not verified: {sentence}", markup=False, highlight=False)


def _config(
    memory_mb: int,
    max_concurrency: int,
    provisioned_concurrency: int | None,
    instance_type: str | None,
    instance_count: int,
) -> AnyConfig:
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


def _image_tag(engine: Engine | None, image: str, config: AnyConfig, account: Account) -> str:
    """The image's tag in the engine, built if it is one of ours, for the right processor."""
    from drdeploy.hosting.deployment.architectures import fitting_tag
    from drdeploy.hosting.images import build_image, own_image, tag_of

    tag = tag_of(image)
    if account.platform == "aws":
        tag = fitting_tag(tag, config)
    own = own_image(tag)
    if own is not None and engine is not None:
        err.print(f"building {tag} (what did not change is cached)")
        build_image(engine, own.name, platform=own.platform)
    return tag


def _wish(
    name: str, tag: str, artifact: Path | None, config: AnyConfig, region: str
) -> DesiredEndpoints:
    from drdeploy.grader.box import box_artifact
    from drdeploy.hosting.deployment.desired import DesiredEndpoints, ModelSource
    from drdeploy.hosting.deployment.variables import EndpointVariables, Variables

    archive = artifact or box_artifact("fp32")
    return DesiredEndpoints(
        Variables("single-endpoint", name, region),
        {name: ModelSource(tag, archive)},
        {name: EndpointVariables(name, config)},
    )


def _refuse_another_place(workspace: Workspace, endpoint_url: str | None, region: str) -> None:
    """One folder is one deployment in one place."""
    if not workspace.exists:
        return
    note = workspace.note()
    is_aws = endpoint_url is None
    if (note.endpoint_url is None) != is_aws or note.region != region:
        place = "AWS" if note.endpoint_url is None else "the local service"
        raise InvalidInput(
            f"{note.prefix} is deployed in {note.region} on {place} already",
            where=str(workspace.folder),
            remedy="Delete it first, or choose another name",
        )


def _body(photograph: Path | None) -> tuple[bytes, str]:
    import mimetypes

    from drdeploy.grader.synthetic.photograph import synthetic_photograph

    if photograph is None:
        return synthetic_photograph(0), "image/jpeg"
    kind = mimetypes.guess_type(photograph.name)[0] or ""
    if not kind.startswith("image/"):
        raise InvalidInput(
            "Its name is not that of a photograph",
            where=str(photograph),
            remedy="Name a .jpg, .png or .tif, or leave --photograph out",
        )
    return photograph.read_bytes(), kind


def _report(endpoint: str, provisioned: Provisioned, answer: Invocation, *, as_json: bool) -> None:
    import json

    told = json.loads(answer.body)
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
                "answer": told,
            }
        )
        return
    out.print(f"endpoint {endpoint} is in service", markup=False, highlight=False)
    if isinstance(told, dict) and "grade" in told:
        out.print(f"it answers: grade {told['grade']} ({told['label']})", highlight=False)
        out.print(told["notice"], markup=False, highlight=False)
    for name, value in provisioned.outputs.items():
        if name != "endpoint":
            out.print(f"{name}: {value}", markup=False, highlight=False, soft_wrap=True)
    out.print(f"delete it with: drdeploy endpoint delete {endpoint}", highlight=False)
