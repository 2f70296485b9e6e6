"""``drdeploy image push`` and ``drdeploy artifact push``: send an image or an artifact to AWS."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from drdeploy.cli.console import err, print_json, print_line
from drdeploy.cli.deployment import (
    LocalUrlOption,
    TargetOption,
    find_engine_for_account,
    make_account_from_options,
)
from drdeploy.cli.options import JsonOption, RegionOption


def push_image_to_ecr(
    image: Annotated[
        str,
        typer.Argument(
            help="One of drdeploy's container images, for example lean, or any tag in the "
            "container engine."
        ),
    ],
    repository: Annotated[str, typer.Option(help="Name of an existing private ECR repository.")],
    *,
    target: TargetOption = None,
    endpoint_url: LocalUrlOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Push a container image to ECR or to the local registry.

    The command prints the image's URI with the digest. Layers that the registry already holds are
    not sent again.
    """
    from drdeploy.errors import PushFailed
    from drdeploy.hosting.deployment.images import find_ecr_repository, push_placeholder_image
    from drdeploy.hosting.deployment.images import push_image_to_ecr as push
    from drdeploy.hosting.images import resolve_image_tag

    account = make_account_from_options(target, endpoint_url, region)
    account.check_credentials()
    found = find_ecr_repository(account, repository)
    if found is None:
        raise PushFailed(
            "The image repository does not exist",
            where=repository,
            remedy="Let `drdeploy endpoint deploy` or the Terraform module image-registry create "
            "the repository",
        )
    tag = resolve_image_tag(image)
    engine = find_engine_for_account(account)
    pushed = (
        push(account, engine, tag, found) if engine else push_placeholder_image(account, tag, found)
    )
    if as_json:
        print_json(asdict(pushed) | {"digest": pushed.digest})
        return
    print_line("the registry already has this image" if pushed.was_there else "pushed", to=err)
    print_line(pushed.uri)


def push_artifact(
    archive: Annotated[Path, typer.Argument(help="A model.tar.gz.", exists=True, dir_okay=False)],
    bucket: Annotated[str, typer.Option(help="Name of an existing bucket.")],
    *,
    target: TargetOption = None,
    endpoint_url: LocalUrlOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Upload a model.tar.gz to S3, with a digest in its key.

    The command prints the archive's URI and version. An archive that the bucket already holds is
    not sent again.
    """
    from drdeploy.hosting.deployment.archive_upload import upload_model_archive

    account = make_account_from_options(target, endpoint_url, region)
    account.check_credentials()
    uploaded = upload_model_archive(account, archive, bucket)
    if as_json:
        print_json(asdict(uploaded))
        return
    print_line("the bucket already has this archive" if uploaded.was_there else "uploaded", to=err)
    version = f" version {uploaded.version_id}" if uploaded.version_id else ""
    print_line(f"{uploaded.uri}{version}")
