"""A placeholder image for a local service without a container engine: configuration, no layers.

Such a service runs the server of this installation in a process, and there is no image to push.
But a model must name an image by digest, and the service must know the server's profile.  So an
image that says nothing but its profile is put into the service's own registry.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.error import HTTPError
from urllib.request import ProxyHandler, Request, build_opener

from drdeploy.errors import InvalidInput, PushFailed
from drdeploy.files import sha256_of
from drdeploy.hosting.deployment.images import PushedImage
from drdeploy.hosting.local.registry.server_profiles import profile_of_tag
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from drdeploy.hosting.deployment.account import Account
    from drdeploy.hosting.deployment.images import Repository

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
CONFIG_TYPE = "application/vnd.oci.image.config.v1+json"


def push_placeholder(account: Account, tag: str, repository: Repository) -> PushedImage:
    """Put the placeholder of one of this project's images into the local registry.

    Raises:
        InvalidInput: The tag is not one of this project's images, and only those have a profile.
        PushFailed: The registry refuses.
    """
    profile = profile_of_tag(tag)
    if profile is None:
        raise InvalidInput(
            f"The image {tag} cannot run without a container engine",
            where="image",
            remedy="Name drdeploy:lean or drdeploy:reduced, or start a container engine",
        )
    config = {
        "architecture": "amd64",
        "os": "linux",
        "config": {
            "Env": [f"DRDEPLOY_PROFILE={profile}"],
            "Labels": {"org.opencontainers.image.version": VERSION},
        },
        "rootfs": {"type": "layers", "diff_ids": []},
    }
    content = json.dumps(config, sort_keys=True).encode()
    described = {"mediaType": CONFIG_TYPE, "digest": _digest(content), "size": len(content)}
    manifest = json.dumps(
        {"schemaVersion": 2, "mediaType": MANIFEST_TYPE, "config": described, "layers": []}
    ).encode()
    digest, ecr_tag = _digest(manifest), f"{profile}-process-{VERSION}"
    url = f"{account.endpoint_url}/v2/{repository.name}"
    try:
        is_new = _send("HEAD", f"{url}/manifests/{digest}") == HTTPStatus.NOT_FOUND
        if is_new:
            # In this order: a registry refuses a manifest whose blobs it does not hold yet.
            _upload("POST", f"{url}/blobs/uploads/?digest={_digest(content)}", content)
            _upload("PUT", f"{url}/manifests/{ecr_tag}", manifest, MANIFEST_TYPE)
    except OSError as err:
        raise PushFailed(
            f"The placeholder of {tag} was not pushed: {err}", where=repository.uri
        ) from err
    return PushedImage(f"{repository.uri}@{digest}", ecr_tag, was_there=not is_new)


def _upload(method: str, url: str, body: bytes, kind: str = "application/octet-stream") -> None:
    status = _send(method, url, body, kind)
    if status >= HTTPStatus.MULTIPLE_CHOICES:
        raise OSError(f"the registry answers {status}")


def _send(method: str, url: str, body: bytes | None = None, kind: str = "") -> int:
    """Send a request and return the status of the answer, whatever it is."""
    request = Request(url, data=body, method=method, headers={"Content-Type": kind})
    try:
        # Past any proxy of the environment: the registry is on this machine.
        with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
            return int(answer.status)
    except HTTPError as err:
        return err.code


def _digest(content: bytes) -> str:
    return f"sha256:{sha256_of(content)}"
