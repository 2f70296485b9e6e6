"""Deploy an endpoint with Terraform, and delete a deployment."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from drdeploy.cli.console import err, print_json, print_line
from drdeploy.cli.deployment import (
    BoundaryOption,
    KmsKeyOption,
    LocalUrlOption,
    TargetOption,
    TerminalApprover,
    UnknownPricesOption,
    YesOption,
    find_engine_for_account,
    make_account_from_options,
)
from drdeploy.cli.interruption import exit_cleanly_on_interruption
from drdeploy.cli.options import (
    JsonOption,
    PricesOption,
    RegionOption,
    refuse_options_replaced_by_variables_file,
    refuse_options_without_effect,
)
from drdeploy.errors import InvalidInput, format_count

if TYPE_CHECKING:
    from drdeploy.hosting.container_engine import ContainerEngine
    from drdeploy.hosting.deployment.account import AwsAccount
    from drdeploy.hosting.deployment.provision import Provisioned
    from drdeploy.hosting.deployment.teardown import TeardownReport
    from drdeploy.hosting.deployment.workspace import TerraformWorkspace
    from drdeploy.hosting.sagemaker import DeployableConfig


DESCRIBED_BY_VARIABLES = (
    *("memory_mb", "max_concurrency", "provisioned_concurrency", "instance_type"),
    *("instance_count", "inference_ami_version", "asynchronous", "max_instances"),
)
"""The parameters that --variables replaces."""


def deploy(
    context: typer.Context,
    name: Annotated[
        str, typer.Argument(help="Name of the endpoint; the names of its resources begin with it.")
    ],
    *,
    artifact: Annotated[
        Path | None,
        typer.Option(
            "--artifact",
            "-a",
            dir_okay=False,
            help="A model.tar.gz; the packaged grader by default.",
        ),
    ] = None,
    image: Annotated[
        str,
        typer.Option(
            help="The name of a drdeploy image to build, for example lean; or the tag of an image "
            "in the container engine."
        ),
    ] = "lean",
    memory_mb: Annotated[
        int, typer.Option(help="Memory of a serverless endpoint: 1024 to 6144 in steps of 1024.")
    ] = 2048,
    max_concurrency: Annotated[
        int, typer.Option(help="Requests that a serverless endpoint handles at once.")
    ] = 5,
    provisioned_concurrency: Annotated[
        int | None,
        typer.Option(help="Number of containers to keep warm. They cost money day and night."),
    ] = None,
    instance_type: Annotated[
        str | None,
        typer.Option(
            help=(
                "Deploy a real-time endpoint, which is always on, on the given instance type, "
                "for example ml.m5.xlarge."
            )
        ),
    ] = None,
    instance_count: Annotated[
        int, typer.Option(help="Instances that a real-time or asynchronous endpoint starts with.")
    ] = 1,
    inference_ami_version: Annotated[
        str | None,
        typer.Option(
            help="For instances with a GPU: the AMI version, which decides the GPU driver, for "
            "example "
            "al2023-ami-sagemaker-inference-gpu-4-1 for the image cuda."
        ),
    ] = None,
    asynchronous: Annotated[
        bool,
        typer.Option(
            "--asynchronous",
            help=(
                "Deploy an asynchronous endpoint on the given instance type. Requests wait in "
                "a queue, and results are written to S3. While no request waits, no instance "
                "runs."
            ),
        ),
    ] = False,
    max_instances: Annotated[
        int | None,
        typer.Option(
            min=1,
            help="Largest number of instances of an asynchronous endpoint; "
            "--instance-count by default.",
        ),
    ] = None,
    variables: Annotated[
        Path | None,
        typer.Option(
            help="Deploy the endpoint described in this file, which `drdeploy recommend --tfvars` "
            "wrote. The file replaces the options for the kind and size of the endpoint.",
            dir_okay=False,
            exists=True,
        ),
    ] = None,
    photograph: Annotated[
        Path | None,
        typer.Option(
            help="Photograph to test the endpoint with; by default, a synthetic photograph.",
            dir_okay=False,
        ),
    ] = None,
    target: TargetOption = None,
    endpoint_url: LocalUrlOption = None,
    region: RegionOption = None,
    kms_key: KmsKeyOption = None,
    permissions_boundary: BoundaryOption = None,
    prices: PricesOption = None,
    accept_unknown_prices: UnknownPricesOption = False,
    yes: YesOption = False,
    as_json: JsonOption = False,
) -> None:
    """Deploy a grader to an endpoint, on AWS or on this machine.

    The command builds and pushes the image, uploads the artifact, and shows a plan with its cost.
    If you approve the plan, Terraform applies it. As a test, the command then sends a photograph to
    the endpoint.

    If you deploy again with another image, archive or size, the endpoint gets a new configuration,
    and answers requests during the change. The folder deployments/NAME keeps Terraform's state.
    """
    from drdeploy.grader.box import box_artifact
    from drdeploy.hosting.deployment.configuration import prepare_terraform_folder
    from drdeploy.hosting.deployment.endpoint_variables_file import (
        read_endpoint_variables_from_file,
    )
    from drdeploy.hosting.deployment.provision import Provisioner
    from drdeploy.hosting.deployment.safeguards import Safeguards
    from drdeploy.hosting.deployment.variables import (
        DeploymentVariables,
        DesiredEndpoints,
        EndpointVariables,
        ModelSource,
        check_name_prefix,
    )
    from drdeploy.hosting.deployment.workspace import TerraformWorkspace
    from drdeploy.hosting.sagemaker import PriceSheet

    if variables is not None:
        refuse_options_replaced_by_variables_file(context, DESCRIBED_BY_VARIABLES, "endpoint")
        from_file = read_endpoint_variables_from_file(variables, name)
        described, network = from_file.endpoint, from_file.network
    else:
        network = {}
        if instance_type:
            refuse_options_without_effect(
                context,
                ["memory_mb", "max_concurrency", "provisioned_concurrency"],
                why="on an endpoint with instances",
                remedy="omit --instance-type",
            )
        else:
            refuse_options_without_effect(
                context,
                ["instance_count"],
                why="on a serverless endpoint",
                remedy="add --instance-type",
            )
        config = _make_endpoint_config_from_options(
            memory_mb=memory_mb,
            max_concurrency=max_concurrency,
            provisioned_concurrency=provisioned_concurrency,
            instance_type=instance_type,
            instance_count=instance_count,
            inference_ami_version=inference_ami_version,
            asynchronous=asynchronous,
        )
        described = EndpointVariables(
            name, config, _make_scaling_settings(config, instance_count, max_instances)
        )
    body = _read_test_photograph(photograph)
    account = make_account_from_options(target, endpoint_url, region)
    if account.platform == "local":
        refuse_options_without_effect(
            context,
            ["accept_unknown_prices"],
            why="on the local service, which costs nothing",
            remedy="deploy with --target aws",
        )
    if account.platform == "local" and described.has_schedules_of_calls:
        print_line(
            "the local service stores the schedules of keep-warm requests and opening hours, but "
            "does not execute them",
            to=err,
        )
    workspace = TerraformWorkspace.for_single_endpoint(check_name_prefix(name))
    approver = TerminalApprover(yes=yes, is_local=account.platform == "local")
    advice = (
        f"run the same command again to continue, or delete with `drdeploy endpoint delete {name}`"
    )
    with exit_cleanly_on_interruption(advice):
        region = account.find_region_name()
        _refuse_deployment_to_another_place(workspace, account.endpoint_url, region)
        _refuse_another_kind(workspace, described.config.kind)
        # Terraform comes before the image, which takes minutes to build: without its provider,
        # nothing can be deployed.
        terraform = prepare_terraform_folder(
            "single-endpoint", workspace, account, approver.show_progress
        )
        engine = find_engine_for_account(account)
        tag = _build_own_image_and_return_tag(engine, image, described.config, account)
        desired = DesiredEndpoints(
            DeploymentVariables(
                "single-endpoint",
                name,
                region,
                safeguards=Safeguards(kms_key, permissions_boundary),
            ),
            {name: ModelSource(tag, artifact or box_artifact("fp32"), network=network)},
            {name: described},
        )
        provisioner = Provisioner(
            account=account,
            workspace=workspace,
            terraform=terraform,
            engine=engine,
            approver=approver,
            sheet=PriceSheet.load(prices),
            accept_unknown_prices=accept_unknown_prices,
        )
        provisioned = provisioner.provision_endpoints(desired)
        (endpoint,) = provisioned.endpoints.values()
        outputs = provisioned.outputs["endpoint"]
        if outputs["kind"] == "asynchronous":
            answer = provisioner.send_asynchronous_test_photograph(outputs, *body)
        else:
            answer = provisioner.send_test_photograph(endpoint, *body).body
    _print_deployment_and_test_answer(endpoint, provisioned, answer, as_json=as_json)


def delete_deployment(
    workspace: TerraformWorkspace, *, others: bool = False
) -> TeardownReport | None:
    """Delete a deployment, and verify that none of its resources is left.

    Args:
        workspace: The folder of the deployment.
        others: Whether to delete also those objects in the bucket that drdeploy did not upload,
            such as captured photographs.

    Returns:
        The deleted resources, and the result of the check in AWS. None if the deployment was in a
        local service that has ended, because its resources ended with it.
    """
    from drdeploy.hosting.deployment.configuration import prepare_terraform_folder
    from drdeploy.hosting.deployment.teardown import (
        delete_workspace_folder_if_service_ended,
        tear_down_deployment,
    )

    record = workspace.read_record()
    approver = TerminalApprover(yes=True, is_local=record.endpoint_url is not None)
    if delete_workspace_folder_if_service_ended(workspace, approver):
        return None
    with exit_cleanly_on_interruption("run the same command again to continue"):
        terraform = prepare_terraform_folder(
            record.environment, workspace, record.account, approver.show_progress
        )
        return tear_down_deployment(record.account, workspace, terraform, approver, others=others)


def print_teardown_report(report: TeardownReport | None) -> None:
    """Print how many resources were deleted, and whether AWS confirms that none is left.

    The report has one sentence for each kind of resource, including those that could not be
    checked.
    """
    if report is None:
        return
    print_line(f"deleted: {format_count(len(report.deleted), 'resource')}")
    for sentence in report.verified:
        print_line(f"verified: {sentence}")
    for sentence in report.unverified:
        print_line(f"not verified: {sentence}", to=err)


def _make_scaling_settings(
    config: DeployableConfig, instance_count: int, max_instances: int | None
) -> dict[str, Any]:
    if config.kind == "asynchronous":
        most = instance_count if max_instances is None else max_instances
        if most < instance_count:
            raise InvalidInput(
                f"--max-instances {most} is below --instance-count {instance_count}",
                where="--max-instances",
                remedy="Give at least the number of instances that the endpoint starts with",
            )
        return {"autoscaling": {"min_capacity": 0, "max_capacity": most}}
    if max_instances is not None:
        raise InvalidInput(
            "--max-instances is for asynchronous endpoints",
            where="--max-instances",
            remedy="Add --asynchronous, or omit --max-instances",
        )
    return {}


def _make_endpoint_config_from_options(
    *,
    memory_mb: int,
    max_concurrency: int,
    provisioned_concurrency: int | None,
    instance_type: str | None,
    instance_count: int,
    inference_ami_version: str | None,
    asynchronous: bool,
) -> DeployableConfig:
    from pydantic import ValidationError

    from drdeploy.hosting.sagemaker import AsynchronousConfig, RealTimeConfig, ServerlessConfig

    if asynchronous and not instance_type:
        raise InvalidInput(
            "An asynchronous endpoint runs on instances, but no instance type is given",
            where="--asynchronous",
            remedy="Add an instance type, for example --instance-type ml.m5.xlarge",
        )
    if inference_ami_version and not instance_type:
        raise InvalidInput(
            "An AMI version can be chosen only for instances, and a serverless endpoint has none",
            where="--inference-ami-version",
            remedy="Add an instance type with a GPU, for example --instance-type ml.g5.xlarge",
        )
    try:
        if instance_type:
            if asynchronous:
                return AsynchronousConfig(
                    instance_type=instance_type,
                    initial_instance_count=instance_count,
                    inference_ami_version=inference_ami_version,
                )
            return RealTimeConfig(
                instance_type=instance_type,
                initial_instance_count=instance_count,
                inference_ami_version=inference_ami_version,
            )
        return ServerlessConfig(
            memory_mb=memory_mb,
            max_concurrency=max_concurrency,
            provisioned_concurrency=provisioned_concurrency,
        )
    except ValidationError as error:
        first = error.errors()[0]
        field = "_".join(str(part) for part in first["loc"]).removeprefix("initial_")
        if not field:  # a rule about several fields
            field = "inference_ami_version" if instance_type else "provisioned_concurrency"
        raise InvalidInput(
            first["msg"].removeprefix("Value error, "), where=f"--{field.replace('_', '-')}"
        ) from error


def _build_own_image_and_return_tag(
    engine: ContainerEngine | None, image: str, config: DeployableConfig, account: AwsAccount
) -> str:
    """Build the image to deploy, if it is one of this project's, and return its tag."""
    from drdeploy.hosting.deployment.architectures import choose_image_tag_for_endpoint
    from drdeploy.hosting.images import build_image, find_own_image_by_tag, resolve_image_tag
    from drdeploy.hosting.sagemaker.gpu_hosts import check_gpu_host

    tag = resolve_image_tag(image)
    if account.platform == "aws":
        tag = choose_image_tag_for_endpoint(tag, config)
    own = find_own_image_by_tag(tag)
    if own is not None:
        # The host is checked before the image is built, because the image for GPUs downloads 2 GB.
        if config.kind == "serverless":
            check_gpu_host(own.variables, None)
        else:
            check_gpu_host(own.variables, config.instance_type, config.inference_ami_version)
    if own is not None and engine is not None:
        print_line(f"building {tag} (unchanged layers come from the cache)", to=err)
        build_image(engine, own.name, platform=own.platform)
    return tag


def _refuse_deployment_to_another_place(
    workspace: TerraformWorkspace, endpoint_url: str | None, region: str
) -> None:
    """Refuse to move an existing deployment to another region, or between AWS and this machine.

    Terraform would find none of the resources in the new place. It would then forget the resources
    in the old place, although they still run and cost money.
    """
    if not workspace.has_deployment_record:
        return
    record = workspace.read_record()
    is_aws = endpoint_url is None
    if (record.endpoint_url is None) != is_aws or record.region != region:
        place = "AWS" if record.endpoint_url is None else "the local service"
        raise InvalidInput(
            f"The deployment {record.prefix} already exists on {place} ({record.region})",
            where=str(workspace.folder),
            remedy=(
                f"Delete the deployment with `drdeploy endpoint delete {record.prefix}`, or "
                "choose another name"
            ),
        )


def _refuse_another_kind(workspace: TerraformWorkspace, kind: str) -> None:
    """Refuse to turn a serverless, real-time or asynchronous endpoint into another kind.

    Terraform would create the new endpoint before it deletes the old one. Both have the same name,
    so SageMaker would refuse the new endpoint.
    """
    existing = workspace.read_endpoint_kind()
    if existing not in {None, kind}:
        raise InvalidInput(
            f"The deployed endpoint is of the kind {existing}, and cannot become {kind}",
            where=str(workspace.folder),
            remedy=(
                f"Delete the endpoint with `drdeploy endpoint delete {workspace.folder.name}`, "
                "or choose another name"
            ),
        )


def _read_test_photograph(photograph: Path | None) -> tuple[bytes, str]:
    """Return the photograph with which the endpoint is tested, and its content type."""
    from drdeploy.grader.photograph_files import (
        find_content_type_of_photograph,
        read_photograph_bytes,
    )
    from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph

    if photograph is None:
        return paint_synthetic_photograph(0), "image/jpeg"
    data = read_photograph_bytes(photograph)
    kind = find_content_type_of_photograph(data)
    if not kind:
        raise InvalidInput(
            "The file is not a JPEG, PNG or TIFF",
            where=str(photograph),
            remedy="Give a photograph, or omit --photograph",
        )
    return data, kind


def _print_deployment_and_test_answer(
    endpoint: str, provisioned: Provisioned, answer: bytes, *, as_json: bool
) -> None:
    from drdeploy.files import parse_json

    grading = parse_json(answer)
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
    print_line(f"delete the endpoint with: drdeploy endpoint delete {endpoint}")
