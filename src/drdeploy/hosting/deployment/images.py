"""An image in a registry, by digest; pushed only where the registry lacks it."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from drdeploy.errors import EngineError, PushFailed
from drdeploy.hosting.sagemaker import translated_errors

if TYPE_CHECKING:
    from drdeploy.hosting.deployment.account import Account
    from drdeploy.hosting.engine import Engine

ID_DIGITS = 16
"""Of an image's id, in the tag that it is pushed under."""


@dataclass(frozen=True)
class Repository:
    """A private repository of ECR's.

    Attributes:
        name: ``PREFIX/drdeploy``.
        uri: What models call it; a digest goes behind it.
    """

    name: str
    uri: str


@dataclass(frozen=True)
class PushedImage:
    """An image as a model names it.

    Attributes:
        uri: ``…@sha256:…``.
        tag: That it was pushed under.
        was_there: The registry held it already.
    """

    uri: str
    tag: str
    was_there: bool

    @property
    def digest(self) -> str:
        """``sha256:…`` of its manifest."""
        return self.uri.rpartition("@")[2]


def find_repository(account: Account, name: str) -> Repository | None:
    """The repository of that name; None where there is none.

    Raises:
        EndpointError: ECR refuses.
    """
    from botocore.exceptions import ClientError

    ecr = account.client("ecr")
    with translated_errors("look for the image repository", name):
        try:
            found = ecr.describe_repositories(repositoryNames=[name])["repositories"][0]
        except ClientError as err:
            if _code(err) == "RepositoryNotFoundException":
                return None
            raise
    return Repository(name, found["repositoryUri"])


def push_image(account: Account, engine: Engine, tag: str, repository: Repository) -> PushedImage:
    """Push an image that the engine holds.

    The tag there is made of the image's own and of its id: a repository whose tags are immutable
    takes every image, and an image that is there is recognised before anything is sent.

    Raises:
        EngineError: There is no such image.
        PushFailed: The registry refuses it.
        EndpointError: ECR's API refuses.
    """
    image_id = engine.image_id(tag).removeprefix("sha256:")
    there = f"{tag.rpartition(':')[2].replace('/', '-')}-{image_id[:ID_DIGITS]}"
    digest = _digest(account, repository, there)
    if digest:
        return PushedImage(f"{repository.uri}@{digest}", there, was_there=True)
    host, credentials = _login(account, repository)
    try:
        engine.push(tag, f"{host}/{repository.name}", there, credentials=credentials)
    except EngineError as err:
        raise PushFailed(
            f"The image {tag} was not pushed: {err.what}",
            where=repository.uri,
            remedy="Allow ecr:InitiateLayerUpload, UploadLayerPart, CompleteLayerUpload and "
            "PutImage on that repository, and check that the engine reaches it",
        ) from err
    digest = _digest(account, repository, there)
    if not digest:
        raise PushFailed("The registry does not list what was pushed", where=repository.uri)
    return PushedImage(f"{repository.uri}@{digest}", there, was_there=False)


def _digest(account: Account, repository: Repository, tag: str) -> str | None:
    from botocore.exceptions import ClientError

    ecr = account.client("ecr")
    with translated_errors(f"look for the image {tag}", repository.name):
        try:
            found = ecr.describe_images(
                repositoryName=repository.name, imageIds=[{"imageTag": tag}]
            )
        except ClientError as err:
            if _code(err) == "ImageNotFoundException":
                return None
            raise
    return str(found["imageDetails"][0]["imageDigest"])


def _login(account: Account, repository: Repository) -> tuple[str, dict[str, str]]:
    """Where to push, and as whom; the password is handed to the engine and kept nowhere."""
    with translated_errors("log in to the image registry", repository.uri):
        login = account.client("ecr").get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(login["authorizationToken"]).decode().partition(":")
    return urlsplit(login["proxyEndpoint"]).netloc, {"username": user, "password": password}


def _code(error: Any) -> str:
    return str(error.response.get("Error", {}).get("Code", ""))
