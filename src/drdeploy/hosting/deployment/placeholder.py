"""An image for a local service that runs processes: a configuration and no layers.

Without a container engine there is nothing to push, and the service runs this checkout's server in
a process.  What it has to know of an image is its profile; that much of one is put into the
registry, so that models name an image by digest here too.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING
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
    """Put the stand-in of an image of the ladder into the local registry.

    Raises:
        InvalidInput: The tag names no profile: such an image cannot run as a process.
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
    digest, there = _digest(manifest), f"{profile}-process-{VERSION}"
    root = f"{account.endpoint_url}/v2/{repository.name}"
    try:
        if _send("HEAD", f"{root}/manifests/{digest}") == NOT_FOUND:
            _put(root, content, manifest, there)
            return PushedImage(f"{repository.uri}@{digest}", there, was_there=False)
    except OSError as err:
        raise PushFailed(
            f"The stand-in of {tag} was not pushed: {err}", where=repository.uri
        ) from err
    return PushedImage(f"{repository.uri}@{digest}", there, was_there=True)


NOT_FOUND = 404


def _put(root: str, content: bytes, manifest: bytes, tag: str) -> None:
    for status in (
        _send("POST", f"{root}/blobs/uploads/?digest={_digest(content)}", content),
        _send("PUT", f"{root}/manifests/{tag}", manifest, MANIFEST_TYPE),
    ):
        if status >= 300:
            raise OSError(f"the registry answers {status}")


def _send(
    method: str, url: str, body: bytes | None = None, kind: str = "application/octet-stream"
) -> int:
    from urllib.error import HTTPError

    request = Request(url, data=body, method=method, headers={"Content-Type": kind})
    try:
        with build_opener(ProxyHandler({})).open(request, timeout=30) as answer:
            return int(answer.status)
    except HTTPError as err:
        return err.code


def _digest(content: bytes) -> str:
    return f"sha256:{sha256_of(content)}"
