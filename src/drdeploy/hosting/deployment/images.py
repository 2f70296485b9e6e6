"""Push an image to ECR, unless the repository holds it already; models name it by digest."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from drdeploy.errors import EngineError, PushFailed
from drdeploy.hosting.deployment.account import answer_or_none
from drdeploy.hosting.sagemaker import translated_errors

if TYPE_CHECKING:
    from drdeploy.hosting.deployment.account import Account
    from drdeploy.hosting.engine import Engine

ID_DIGITS = 16
"""How many digits of an image's id are part of the tag that it is pushed under."""


@dataclass(frozen=True)
class Repository:
    """A private repository in ECR.

    Attributes:
        name: For example ``PREFIX/drdeploy``.
        uri: Host and name; with ``@sha256:…`` behind it, a model can name an image.
    """

    name: str
    uri: str


@dataclass(frozen=True)
class PushedImage:
    """An image in ECR, as a SageMaker model refers to it.

    Attributes:
        uri: Repository and digest, ``…@sha256:…``.
        tag: The tag it has there.
        was_there: Whether the repository held it before.
    """

    uri: str
    tag: str
    was_there: bool

    @property
    def digest(self) -> str:
        """Digest of the image's manifest, ``sha256:…``."""
        return self.uri.rpartition("@")[2]


def find_repository(account: Account, name: str) -> Repository | None:
    """Look up a repository; None where there is none of that name.

    Raises:
        EndpointError: ECR refuses to say.
    """
    ecr = account.client("ecr")
    with translated_errors("look for the image repository", name):
        found = answer_or_none(
            lambda: ecr.describe_repositories(repositoryNames=[name]), "RepositoryNotFoundException"
        )
    return Repository(name, found["repositories"][0]["repositoryUri"]) if found else None


def push_image(account: Account, engine: Engine, tag: str, repository: Repository) -> PushedImage:
    """Push an image from the container engine, unless the repository holds it.

    The tag in ECR consists of the image's own tag and of its id.  So a repository with immutable
    tags takes every new build, and an image that is there already is recognised by its tag before
    anything is sent.

    Raises:
        EngineError: The engine has no such image.
        PushFailed: The registry refuses the image.
        EndpointError: ECR's API refuses.
    """
    image_id = engine.image_id(tag).removeprefix("sha256:")
    ecr_tag = f"{tag.rpartition(':')[2].replace('/', '-')}-{image_id[:ID_DIGITS]}"
    digest = _digest(account, repository, ecr_tag)
    if digest:
        return PushedImage(f"{repository.uri}@{digest}", ecr_tag, was_there=True)
    host, credentials = _login(account, repository)
    try:
        engine.push(tag, f"{host}/{repository.name}", ecr_tag, credentials=credentials)
    except EngineError as err:
        raise PushFailed(
            f"The image {tag} was not pushed: {err.what}",
            where=repository.uri,
            remedy="Allow ecr:InitiateLayerUpload, UploadLayerPart, CompleteLayerUpload and "
            "PutImage on that repository, and check that the engine can reach it",
        ) from err
    digest = _digest(account, repository, ecr_tag)
    if not digest:
        raise PushFailed(
            "The registry does not list the image that was pushed", where=repository.uri
        )
    return PushedImage(f"{repository.uri}@{digest}", ecr_tag, was_there=False)


def _digest(account: Account, repository: Repository, tag: str) -> str | None:
    """Return the digest of the image with that tag; None where ECR has none."""
    ecr, ids = account.client("ecr"), [{"imageTag": tag}]
    with translated_errors(f"look for the image {tag}", repository.name):
        found = answer_or_none(
            lambda: ecr.describe_images(repositoryName=repository.name, imageIds=ids),
            "ImageNotFoundException",
        )
    return str(found["imageDetails"][0]["imageDigest"]) if found else None


def _login(account: Account, repository: Repository) -> tuple[str, dict[str, str]]:
    """Log in to ECR; return the registry's host, and user name and password for the engine."""
    # The token is valid for twelve hours, so it is passed on and neither stored nor logged.
    with translated_errors("log in to the image registry", repository.uri):
        login = account.client("ecr").get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(login["authorizationToken"]).decode().partition(":")
    return urlsplit(login["proxyEndpoint"]).netloc, {"username": user, "password": password}
