"""The options of a Batch Transform job that ``batch run`` and ``archive grade`` share."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drdeploy.cli.deployment import confirm_at_terminal
from drdeploy.cli.options import GIVE_ARTIFACT
from drdeploy.errors import InvalidInput, PlanDeclined, UnknownPrice
from drdeploy.files import path_of_shipped_file

if TYPE_CHECKING:
    from drdeploy.hosting.sagemaker import BatchTransform, Price, PriceSheet

LOCAL_BUCKET = "drdeploy"
DEFAULT_IMAGE = "lean"

ConcurrencyOption = Annotated[
    int | None,
    typer.Option(
        min=1,
        max=100,
        help="Number of photographs that an instance receives at once; by default, "
        "the container chooses.",
    ),
]
BucketOption = Annotated[
    str | None,
    typer.Option(
        help="Bucket for the model, the uploaded photographs and the answers; required on AWS. On "
        "the local service, the bucket is drdeploy by default."
    ),
]
RoleOption = Annotated[
    str | None,
    typer.Option(
        help="ARN of the role with which SageMaker reads and writes the bucket; required on AWS. "
        "The module infrastructure/modules/batch-transform makes such a role."
    ),
]


@dataclass(frozen=True)
class ChosenJobPlace:
    """The bucket, the role and the container image of a transform job."""

    bucket: str
    role: str
    image: str


def choose_bucket_role_and_image(
    batch: BatchTransform, bucket: str | None, role: str | None, image: str
) -> ChosenJobPlace:
    """Return the bucket, role and image that the user chose, or the local service's defaults.

    Raises:
        InvalidInput: AWS needs a bucket, a role or an image that is not given.
    """
    from drdeploy.hosting.images import resolve_image_tag
    from drdeploy.hosting.sagemaker import LOCAL_ROLE_ARN

    if batch.is_local:
        tag = resolve_image_tag(image)
        return ChosenJobPlace(bucket or LOCAL_BUCKET, role or LOCAL_ROLE_ARN, tag)
    for option, value in (("--bucket", bucket), ("--role", role)):
        if not value:
            raise InvalidInput(
                f"On AWS, {option} must be given",
                where=option,
                remedy="Create the bucket and the role with the Terraform module "
                f"{path_of_shipped_file('infrastructure/modules/batch-transform')}, or give "
                "--endpoint-url for the local service",
            )
    if ".dkr.ecr." not in image:
        raise InvalidInput(
            f"On AWS, the image must be in ECR, but {image!r} is not",
            where="--image",
            remedy="Push the image with `drdeploy image push --target aws`, then give its URI with "
            "--image: ACCOUNT.dkr.ecr.REGION.amazonaws.com/NAME",
        )
    return ChosenJobPlace(str(bucket), str(role), image)


def look_up_price_of_job(
    sheet: PriceSheet, instance_type: str, region: str, *, accept_unknown: bool
) -> Price | None:
    """Return the price of an instance hour of Batch Transform on AWS.

    Args:
        sheet: The price sheet.
        instance_type: The instance type.
        region: The AWS region.
        accept_unknown: Return None for a price that is not known (``--accept-unknown-prices``).

    Raises:
        UnknownPrice: The price is not known. Without it, the user could not judge what the job
            costs.
    """
    try:
        return sheet.batch_hour(instance_type, region)
    except UnknownPrice as error:
        if accept_unknown:
            return None
        raise UnknownPrice(
            error.what,
            where=error.where,
            remedy=f"{error.remedy}; or continue with --accept-unknown-prices",
        ) from error


def require_approval_of_job(*, yes: bool, if_declined: str = "") -> None:
    """Ask the user to approve a job on AWS, after its plan was printed.

    Args:
        yes: Approve without asking (``--yes``).
        if_declined: More words for the user who declines.

    Raises:
        PlanDeclined: The user does not approve, or cannot be asked.
    """
    if not yes and not confirm_at_terminal("Start the job?"):
        raise PlanDeclined(
            f"The plan was not approved, so no job was started{if_declined}",
            remedy="To start without being asked, add --yes",
        )


def check_gpu_host_of_job(
    image: str,
    instance_type: str,
    ami: str | None = None,
    *,
    ami_member: str = "TransformAmiVersion",
) -> None:
    """Refuse a transform job whose image needs a GPU or a driver that its instances lack.

    Only images of this project are checked, because nothing is known about others.

    Args:
        image: The name or tag of a local image, or the URI of an image in ECR.
        instance_type: The type of the job's instances.
        ami: The AMI version of the instances; None for SageMaker's default.
        ami_member: The option or field that chooses the AMI version, for messages.

    Raises:
        InvalidInput: The image cannot start, or the AMI version does not fit the instances.
    """
    from drdeploy.hosting.images import (
        find_own_image_by_ecr_uri,
        find_own_image_by_tag,
        resolve_image_tag,
    )
    from drdeploy.hosting.sagemaker.gpu_hosts import TRANSFORM_AMIS, check_gpu_host

    own = find_own_image_by_tag(resolve_image_tag(image)) or find_own_image_by_ecr_uri(image)
    variables = {} if own is None else own.variables
    check_gpu_host(variables, instance_type, ami, amis=TRANSFORM_AMIS, ami_member=ami_member)


def find_model_archive(artifact: Path | None) -> Path:
    """Return the path of the model's archive, after checking that it is an archive.

    Raises:
        InvalidInput: The artifact is a folder, or does not exist.
        ArtifactError: The file is not an archive of a model.
    """
    from drdeploy.grader.artifacts import verify_archive
    from drdeploy.grader.box import box_artifact

    archive = artifact or box_artifact()
    if archive.is_dir():
        raise InvalidInput(
            "Batch Transform needs a model.tar.gz, but the artifact is a folder",
            where=str(archive),
            remedy="Give the model.tar.gz from which the folder was extracted",
        )
    if not archive.is_file():
        raise InvalidInput("The artifact does not exist", where=str(archive), remedy=GIVE_ARTIFACT)
    verify_archive(archive)
    return archive
