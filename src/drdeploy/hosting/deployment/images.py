"""Push a container image to ECR, unless the repository already holds it.

Without a container engine, the local service runs the server as an ordinary process, so there is no
image to push. But a SageMaker model must name an image by its digest. A placeholder image is
therefore pushed to the service's own registry. The placeholder has no layers. It only names the
server profile, so that the service knows which server to run.
"""

from __future__ import annotations

import base64
import json
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, Request, build_opener

from drdeploy.errors import EngineError, InvalidInput, PushFailed
from drdeploy.files import sha256_of_bytes
from drdeploy.hosting.deployment.account import call_aws_or_return_none_if_absent
from drdeploy.hosting.local.registry.server_profiles import find_profile_of_tag
from drdeploy.hosting.sagemaker import translate_aws_errors
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from drdeploy.hosting.container_engine import ContainerEngine
    from drdeploy.hosting.deployment.account import AwsAccount

ID_DIGITS = 16
"""How many digits of an image's id are part of the image's tag in ECR."""


@dataclass(frozen=True)
class Repository:
    """A private repository in ECR.

    Attributes:
        name: The repository's name, for example ``PREFIX/drdeploy``.
        uri: The repository's host and name. A SageMaker model names an image as ``URI@DIGEST``.
    """

    name: str
    uri: str


@dataclass(frozen=True)
class PushedImage:
    """An image in ECR, with the digest by which a SageMaker model refers to it.

    Attributes:
        uri: The image's repository and digest, ``…@sha256:…``.
        tag: The image's tag in ECR.
        was_there: Whether the repository already held the image, so that nothing was pushed.
    """

    uri: str
    tag: str
    was_there: bool

    @property
    def digest(self) -> str:
        """The digest of the image's manifest, ``sha256:…``."""
        return self.uri.rpartition("@")[2]


def find_ecr_repository(account: AwsAccount, name: str) -> Repository | None:
    """Return the repository with the given name, or None if it does not exist.

    Raises:
        EndpointError: ECR refuses to answer.
    """
    ecr = account.boto3_client("ecr")
    with translate_aws_errors("look for the image repository", name):
        found = call_aws_or_return_none_if_absent(
            lambda: ecr.describe_repositories(repositoryNames=[name]), "RepositoryNotFoundException"
        )
    return Repository(name, found["repositories"][0]["repositoryUri"]) if found else None


def push_image_to_ecr(
    account: AwsAccount, engine: ContainerEngine, tag: str, repository: Repository
) -> PushedImage:
    """Push an image from the container engine to ECR, unless the repository holds it already.

    The tag in ECR consists of the image's tag in the engine and the beginning of the image's id. A
    changed image therefore has a new tag, which even a repository with immutable tags accepts. If
    ECR already has the tag, it holds the image, and nothing is pushed.

    Raises:
        EngineError: The engine does not have the image.
        PushFailed: The registry refuses the image.
        EndpointError: The API of ECR refuses a request.
    """
    image_id = engine.image_id(tag).removeprefix("sha256:")
    ecr_tag = f"{tag.rpartition(':')[2].replace('/', '-')}-{image_id[:ID_DIGITS]}"
    digest = _find_digest_in_ecr(account, repository, ecr_tag)
    if digest:
        return PushedImage(f"{repository.uri}@{digest}", ecr_tag, was_there=True)
    host, credentials = _log_in_to_ecr(account, repository)
    try:
        engine.push_image(tag, f"{host}/{repository.name}", ecr_tag, credentials=credentials)
    except EngineError as err:
        raise PushFailed(
            f"The image {tag} was not pushed: {err.what}",
            where=repository.uri,
            remedy=(
                "Allow ecr:InitiateLayerUpload, UploadLayerPart, CompleteLayerUpload and "
                "PutImage on the repository, and check that the container engine can reach "
                "the repository"
            ),
        ) from err
    digest = _find_digest_in_ecr(account, repository, ecr_tag)
    if not digest:
        raise PushFailed(
            "The registry does not list the pushed image",
            where=repository.uri,
            remedy="Repeat the command",
        )
    return PushedImage(f"{repository.uri}@{digest}", ecr_tag, was_there=False)


def _find_digest_in_ecr(account: AwsAccount, repository: Repository, tag: str) -> str | None:
    """Return the digest of the image with a tag, or None if ECR has no such tag."""
    ecr, ids = account.boto3_client("ecr"), [{"imageTag": tag}]
    with translate_aws_errors(f"look for the image {tag}", repository.name):
        found = call_aws_or_return_none_if_absent(
            lambda: ecr.describe_images(repositoryName=repository.name, imageIds=ids),
            "ImageNotFoundException",
        )
    return str(found["imageDetails"][0]["imageDigest"]) if found else None


def _log_in_to_ecr(account: AwsAccount, repository: Repository) -> tuple[str, dict[str, str]]:
    """Log in to ECR, and return the registry's host, the user name and the password."""
    # The token is valid for twelve hours, so it must be neither stored nor logged.
    with translate_aws_errors("log in to the image registry", repository.uri):
        login = account.boto3_client("ecr").get_authorization_token()["authorizationData"][0]
    user, _, password = base64.b64decode(login["authorizationToken"]).decode().partition(":")
    return urlsplit(login["proxyEndpoint"]).netloc, {"username": user, "password": password}


MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"


def push_placeholder_image(account: AwsAccount, tag: str, repository: Repository) -> PushedImage:
    """Push the placeholder of one of this project's images to the local registry.

    Raises:
        InvalidInput: The tag does not name an image of this project that the local service can run
            as a process.
        PushFailed: The registry refuses the placeholder.
    """
    profile = find_profile_of_tag(tag)
    if profile is None:
        raise InvalidInput(
            f"The image {tag} cannot run without a container engine",
            where="image",
            remedy="Choose drdeploy:lean or drdeploy:reduced, or start a container engine",
        )
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            # By these two, the local service recognises an image of this project.
            "Env": [f"DRDEPLOY_PROFILE={profile}"],
            "Entrypoint": ["drdeploy-serve"],
            "Labels": {"org.opencontainers.image.version": VERSION},
        },
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    content = json.dumps(config, sort_keys=True).encode()
    described = {
        "mediaType": CONFIG_TYPE,
        "digest": _compute_sha256_digest(content),
        "size": len(content),
    }
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": described, "layers": []}
    ).encode()
    digest, ecr_tag = _compute_sha256_digest(manifest), f"{profile}-process-{VERSION}"
    _, credentials = _log_in_to_ecr(account, repository)
    user_and_password = f"{credentials['username']}:{credentials['password']}".encode()
    login = {"Authorization": f"Basic {base64.b64encode(user_and_password).decode()}"}
    url = f"{account.endpoint_url}/v2/{repository.name}"
    try:
        is_new = (
            _send_registry_request("HEAD", f"{url}/manifests/{digest}", login)
            == HTTPStatus.NOT_FOUND
        )
        if is_new:
            # The configuration goes first, because a registry refuses a manifest that names a blob
            # it does not hold yet.
            kind = {**login, "Content-Type": "application/octet-stream"}
            place = f"{url}/blobs/uploads/?digest={_compute_sha256_digest(content)}"
            _upload_to_registry("POST", place, kind, content)
            kind = {**login, "Content-Type": MANIFEST_TYPE}
            _upload_to_registry("PUT", f"{url}/manifests/{ecr_tag}", kind, manifest)
    except OSError as err:
        raise PushFailed(
            f"The placeholder image for {tag} was not pushed: {err}", where=repository.uri
        ) from err
    return PushedImage(f"{repository.uri}@{digest}", ecr_tag, was_there=not is_new)


def _upload_to_registry(method: str, url: str, headers: dict[str, str], body: bytes) -> None:
    status = _send_registry_request(method, url, headers, body)
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        raise OSError(f"the registry answered with status {status}")


def _send_registry_request(
    method: str, url: str, headers: dict[str, str], body: bytes | None = None
) -> int:
    """Send a request, and return the status of the answer."""
    request = Request(url, data=body, method=method, headers=headers)
    try:
        # The registry is on this machine, so the proxy of the environment is not used.
        with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
            return int(answer.status)
    except HTTPError as err:
        return err.code


def _compute_sha256_digest(content: bytes) -> str:
    return f"sha256:{sha256_of_bytes(content)}"
