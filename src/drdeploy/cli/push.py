"""``drdeploy image push`` and ``drdeploy artifact push``: send what an endpoint needs to AWS."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from drdeploy.cli.console import err, print_json, print_line
from drdeploy.cli.deployment import LocalUrlOption, TargetOption, account_of, engine_for
from drdeploy.cli.options import JsonOption, RegionOption


def push_image(
    image: Annotated[str, typer.Argument(help="lean, minimal, reduced, … or a tag in the engine.")],
    repository: Annotated[str, typer.Option(help="Name of a private ECR repository that exists.")],
    *,
    target: TargetOption = None,
    endpoint_url: LocalUrlOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Push an image to ECR or to the local registry.

    The image's URI is printed, with its digest. What the registry holds already is not sent again.
    """
    from drdeploy.errors import PushFailed
    from drdeploy.hosting.deployment.images import find_repository
    from drdeploy.hosting.deployment.images import push_image as push
    from drdeploy.hosting.deployment.placeholder import push_placeholder
    from drdeploy.hosting.images import tag_of

    account = account_of(target, endpoint_url, region)
    account.check()
    found = find_repository(account, repository)
    if found is None:
        raise PushFailed(
            "There is no such repository",
            where=repository,
            remedy="Terraform creates it: `drdeploy endpoint deploy`, or the module image-registry",
        )
    tag = tag_of(image)
    engine = engine_for(account)
    pushed = push(account, engine, tag, found) if engine else push_placeholder(account, tag, found)
    if as_json:
        print_json(asdict(pushed) | {"digest": pushed.digest})
        return
    print_line("the registry holds it already" if pushed.was_there else "pushed", to=err)
    print_line(pushed.uri)


def push_artifact(
    archive: Annotated[Path, typer.Argument(help="A model.tar.gz.", exists=True, dir_okay=False)],
    bucket: Annotated[str, typer.Option(help="A bucket that exists.")],
    *,
    target: TargetOption = None,
    endpoint_url: LocalUrlOption = None,
    region: RegionOption = None,
    as_json: JsonOption = False,
) -> None:
    """Upload a model.tar.gz to S3, under its digest.

    Its URI and version are printed. What the bucket holds already is not sent again.
    """
    from drdeploy.hosting.deployment.archives import upload_archive

    account = account_of(target, endpoint_url, region)
    account.check()
    uploaded = upload_archive(account, archive, bucket)
    if as_json:
        print_json(asdict(uploaded))
        return
    print_line("the bucket holds it already" if uploaded.was_there else "uploaded", to=err)
    version = f" version {uploaded.version_id}" if uploaded.version_id else ""
    print_line(f"{uploaded.uri}{version}")
