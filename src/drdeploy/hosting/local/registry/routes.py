"""The registry's HTTP routes: what container engines need to push and to pull.

Source: OCI distribution specification 1.1, "Endpoints", which numbers them::

    GET         /v2/                                  end-1   is this a registry?
    GET HEAD    /v2/NAME/blobs/DIGEST                 end-2   pull a layer or a configuration
    GET HEAD    /v2/NAME/manifests/REFERENCE          end-3   pull a manifest
    POST        /v2/NAME/blobs/uploads/               end-4   begin an upload
                                      ?mount=DIGEST   end-11  or take over another repository's blob
    PATCH       /v2/NAME/blobs/uploads/UPLOAD         end-5   send a part
    PUT         /v2/NAME/blobs/uploads/UPLOAD         end-6   send the last part, and its digest
    PUT         /v2/NAME/manifests/REFERENCE          end-7   push a manifest: the image exists
    GET         /v2/NAME/tags/list                    end-8   list the tags
    GET         /v2/NAME/blobs/uploads/UPLOAD         end-13  how much has arrived?

Deletion and referrers are not served: images are deleted through ECR's own API.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from drdeploy.files import CHUNK_BYTES
from drdeploy.hosting.local.http_server import ServiceRequest, ServiceResponse
from drdeploy.hosting.local.registry.blobs import BlobStore, WrongDigest
from drdeploy.hosting.local.registry.manifests import (
    OCI_MANIFEST,
    Manifest,
    ManifestRefused,
    ManifestStore,
    NoSuchRepository,
)
from drdeploy.hosting.local.registry.server_profiles import profile_of_environment

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from drdeploy.hosting.serving.settings import ProfileName

PREFIX = "/v2/"
VERSION_HEADER = {"Docker-Distribution-Api-Version": "registry/2.0"}
BINARY = "application/octet-stream"

_NAME = r"(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
_UPLOADS = re.compile(rf"/v2/{_NAME}/blobs/uploads/(?P<upload>[0-9a-f]*)")
_BLOB = re.compile(rf"/v2/{_NAME}/blobs/(?P<digest>sha256:[0-9a-f]{{64}})")
_MANIFEST = re.compile(rf"/v2/{_NAME}/manifests/(?P<reference>[\w][\w.:-]{{0,127}})")
_TAGS = re.compile(rf"/v2/{_NAME}/tags/list")


class ImageRegistry:
    """An OCI image registry.

    Args:
        folder: Where layers and image configurations are stored.
    """

    def __init__(self, folder: Path) -> None:
        self.blobs = BlobStore(folder)
        self.manifests = ManifestStore()

    def profile_of(self, name: str, reference: str) -> ProfileName | None:
        """Return how an image of this project serves; None for any other, or for none at all.

        Its configuration says so, in the environment variables that its Dockerfile sets.
        """
        try:
            manifest = self.manifests.get(name, reference)
        except NoSuchRepository:
            return None
        if manifest is None:
            return None
        path = self.blobs.path(manifest.document.get("config", {}).get("digest", ""))
        if path is None:
            return None
        config = json.loads(path.read_bytes()).get("config", {})
        return profile_of_environment(config.get("Env") or ())

    def answer(self, request: ServiceRequest) -> ServiceResponse:
        """Answer a request below ``/v2/``."""
        path = request.path
        try:
            if path == PREFIX:
                return ServiceResponse(200, VERSION_HEADER, b"")
            if found := _UPLOADS.fullmatch(path):
                return self._upload(request, found["name"], found["upload"])
            if found := _BLOB.fullmatch(path):
                return self._blob(request, found["digest"])
            if found := _MANIFEST.fullmatch(path):
                return self._manifest(request, found["name"], found["reference"])
            if found := _TAGS.fullmatch(path):
                tags = self.manifests.tags(found["name"])
                return _json({"name": found["name"], "tags": tags})
        except NoSuchRepository as err:
            return _error(404, "NAME_UNKNOWN", f"There is no repository {err}; ECR creates them")
        return _error(404, "UNSUPPORTED", f"{request.method} {path} is not served here")

    # -- blobs ---------------------------------------------------------------------------

    def _upload(self, request: ServiceRequest, name: str, upload: str) -> ServiceResponse:
        # A push to a repository that does not exist fails here, before a gigabyte has been sent.
        self.manifests.tags(name)
        query = parse_qs(request.target.partition("?")[2])
        digest = query.get("digest", [""])[0]
        try:
            match request.method:
                case "POST":
                    return self._begin(request, name, query.get("mount", [""])[0], digest)
                case "PATCH":
                    size_bytes = self.blobs.append(upload, request.body)
                    return _upload_state(name, upload, size_bytes)
                case "PUT":
                    self.blobs.append(upload, request.body)
                    return self._finish(name, upload, digest)
                case "GET":
                    return _upload_state(name, upload, self.blobs.size(upload), status=204)
                case "DELETE":
                    self.blobs.cancel(upload)
                    return ServiceResponse(204, VERSION_HEADER, b"")
                case _:
                    return _error(405, "UNSUPPORTED", f"{request.method} an upload")
        except KeyError:
            return _error(404, "BLOB_UPLOAD_UNKNOWN", "There is no such upload")

    def _begin(
        self, request: ServiceRequest, name: str, mount: str, digest: str
    ) -> ServiceResponse:
        # All repositories share one store of blobs: what one has, every other can mount.
        if mount and self.blobs.path(mount):
            return _created(f"/v2/{name}/blobs/{mount}", mount)
        upload = self.blobs.begin()
        if not digest:
            return _upload_state(name, upload, 0)
        self.blobs.append(upload, request.body)
        return self._finish(name, upload, digest)

    def _finish(self, name: str, upload: str, digest: str) -> ServiceResponse:
        try:
            self.blobs.finish(upload, digest)
        except WrongDigest as err:
            return _error(400, "DIGEST_INVALID", str(err))
        return _created(f"/v2/{name}/blobs/{digest}", digest)

    def _blob(self, request: ServiceRequest, digest: str) -> ServiceResponse:
        if request.method not in {"GET", "HEAD"}:
            return _error(405, "UNSUPPORTED", f"{request.method} a blob")
        path = self.blobs.path(digest)
        if path is None:
            return _error(404, "BLOB_UNKNOWN", f"There is no blob {digest}")
        headers = {
            **VERSION_HEADER,
            "Content-Type": BINARY,
            "Content-Length": str(path.stat().st_size),
            "Docker-Content-Digest": digest,
        }
        return ServiceResponse(200, headers, b"" if request.method == "HEAD" else _chunks(path))

    # -- manifests -----------------------------------------------------------------------

    def _manifest(self, request: ServiceRequest, name: str, reference: str) -> ServiceResponse:
        match request.method:
            case "GET" | "HEAD":
                manifest = self.manifests.get(name, reference)
            case "PUT":
                return self._put_manifest(request, name, reference)
            case _:
                return _error(405, "UNSUPPORTED", "Delete images through the ECR API")
        if manifest is None:
            return _error(404, "MANIFEST_UNKNOWN", f"There is no image {name} {reference}")
        headers = {
            **VERSION_HEADER,
            "Content-Type": manifest.media_type,
            "Docker-Content-Digest": manifest.digest,
        }
        return ServiceResponse(200, headers, manifest.content)

    def _put_manifest(self, request: ServiceRequest, name: str, reference: str) -> ServiceResponse:
        media_type = request.headers.get("Content-Type") or OCI_MANIFEST
        manifest = Manifest(request.body.read(), media_type)
        try:
            missing = [blob for blob in manifest.blobs if self.blobs.path(blob) is None]
        except (ValueError, AttributeError, TypeError, RecursionError):
            return _error(400, "MANIFEST_INVALID", "The body is not an image manifest")
        if missing:
            return _error(400, "MANIFEST_BLOB_UNKNOWN", f"{missing[0]} was not pushed")
        if reference.startswith("sha256:") and reference != manifest.digest:
            return _error(400, "DIGEST_INVALID", f"The manifest's digest is {manifest.digest}")
        try:
            self.manifests.put(name, reference, manifest)
        except ManifestRefused as err:
            return _error(400, "TAG_INVALID", str(err))
        return _created(f"/v2/{name}/manifests/{manifest.digest}", manifest.digest)


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _created(location: str, digest: str) -> ServiceResponse:
    headers = {**VERSION_HEADER, "Location": location, "Docker-Content-Digest": digest}
    return ServiceResponse(201, headers, b"")


def _upload_state(name: str, upload: str, size_bytes: int, status: int = 202) -> ServiceResponse:
    headers = {
        **VERSION_HEADER,
        "Location": f"/v2/{name}/blobs/uploads/{upload}",
        "Docker-Upload-UUID": upload,
        # The range is inclusive, and the specification has no form for an empty one.
        "Range": f"0-{max(0, size_bytes - 1)}",
    }
    return ServiceResponse(status, headers, b"")


def _json(value: object, status: int = 200) -> ServiceResponse:
    headers = {**VERSION_HEADER, "Content-Type": "application/json"}
    return ServiceResponse(status, headers, json.dumps(value).encode())


def _error(status: int, code: str, message: str) -> ServiceResponse:
    return _json({"errors": [{"code": code, "message": message}]}, status)
