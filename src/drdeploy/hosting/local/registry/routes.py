"""OCI distribution 1.1 over the service's HTTP: what engines need to push and to pull.

Source: the OCI distribution specification, "Endpoints" (end-1 to end-11).  Referrers and deletion
are not served: ECR deletes images, through its own API.
"""

from __future__ import annotations

import json
import re
from typing import IO, TYPE_CHECKING
from urllib.parse import parse_qs

from drdeploy.files import CHUNK_BYTES
from drdeploy.hosting.local.http_server import ServiceResponse
from drdeploy.hosting.local.registry.blobs import BlobStore, WrongDigest
from drdeploy.hosting.local.registry.manifests import (
    OCI_MANIFEST,
    Manifest,
    ManifestRefused,
    ManifestStore,
    NoSuchRepository,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from drdeploy.hosting.local.http_server import ServiceRequest

PREFIX = "/v2/"
VERSION = {"Docker-Distribution-Api-Version": "registry/2.0"}
BINARY = "application/octet-stream"
PROFILE_VARIABLE = "DRDEPLOY_PROFILE"
"""That this project's Dockerfiles set in the images."""

_NAME = r"(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
_UPLOADS = re.compile(rf"/v2/{_NAME}/blobs/uploads/(?P<upload>[0-9a-f]*)")
_BLOB = re.compile(rf"/v2/{_NAME}/blobs/(?P<digest>sha256:[0-9a-f]{{64}})")
_MANIFEST = re.compile(rf"/v2/{_NAME}/manifests/(?P<reference>[\w][\w.:-]{{0,127}})")
_TAGS = re.compile(rf"/v2/{_NAME}/tags/list")


class ImageRegistry:
    """The registry's HTTP face.

    Args:
        folder: For the blobs.
    """

    def __init__(self, folder: Path) -> None:
        self.blobs = BlobStore(folder)
        self.manifests = ManifestStore()

    def profile_of(self, name: str, reference: str) -> str | None:
        """How an image of this project serves, from its configuration; None of any other."""
        try:
            manifest = self.manifests.get(name, reference)
        except NoSuchRepository:
            return None
        if manifest is None:
            return None
        path = self.blobs.path(manifest.document.get("config", {}).get("digest", ""))
        if path is None:
            return None
        variables = json.loads(path.read_bytes()).get("config", {}).get("Env") or ()
        return dict(one.split("=", 1) for one in variables).get(PROFILE_VARIABLE)

    def answer(self, request: ServiceRequest) -> ServiceResponse:
        """Answer one request below ``/v2/``."""
        path = request.path
        try:
            if path == PREFIX:
                return ServiceResponse(200, VERSION, b"")
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

    # -- blobs -------------------------------------------------------------------------

    def _upload(self, request: ServiceRequest, name: str, upload: str) -> ServiceResponse:
        self.manifests.tags(name)  # a push to a repository that is not there ends here
        digest = _query(request, "digest")
        try:
            match request.method:
                case "POST":
                    return self._begin(request, name, digest)
                case "PATCH":
                    size = self.blobs.append(upload, request.body)
                    return _accepted(name, upload, size)
                case "PUT":
                    self.blobs.append(upload, request.body)
                    return self._finish(name, upload, digest)
                case "GET":
                    return _accepted(name, upload, self.blobs.append(upload, _nothing()), 204)
                case "DELETE":
                    self.blobs.cancel(upload)
                    return ServiceResponse(204, VERSION, b"")
                case _:
                    return _error(405, "UNSUPPORTED", f"{request.method} an upload")
        except KeyError:
            return _error(404, "BLOB_UPLOAD_UNKNOWN", "There is no such upload")

    def _begin(self, request: ServiceRequest, name: str, digest: str) -> ServiceResponse:
        mounted = _query(request, "mount")
        if mounted and self.blobs.path(mounted):
            return _created(f"/v2/{name}/blobs/{mounted}", mounted)
        upload = self.blobs.begin()
        if not digest:
            return _accepted(name, upload, 0)
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
            **VERSION,
            "Content-Type": BINARY,
            "Content-Length": str(path.stat().st_size),
            "Docker-Content-Digest": digest,
        }
        return ServiceResponse(200, headers, b"" if request.method == "HEAD" else _chunks(path))

    # -- manifests ---------------------------------------------------------------------

    def _manifest(self, request: ServiceRequest, name: str, reference: str) -> ServiceResponse:
        match request.method:
            case "GET" | "HEAD":
                return self._get_manifest(name, reference)
            case "PUT":
                return self._put_manifest(request, name, reference)
            case _:
                return _error(405, "UNSUPPORTED", "Delete images through the ECR API")

    def _get_manifest(self, name: str, reference: str) -> ServiceResponse:
        manifest = self.manifests.get(name, reference)
        if manifest is None:
            return _error(404, "MANIFEST_UNKNOWN", f"There is no image {name} {reference}")
        headers = {
            **VERSION,
            "Content-Type": manifest.media_type,
            "Docker-Content-Digest": manifest.digest,
        }
        return ServiceResponse(200, headers, manifest.content)

    def _put_manifest(self, request: ServiceRequest, name: str, reference: str) -> ServiceResponse:
        media_type = request.headers.get("Content-Type") or OCI_MANIFEST
        manifest = Manifest(request.body.read(), media_type)
        try:
            missing = [blob for blob in manifest.blobs if self.blobs.path(blob) is None]
        except (ValueError, AttributeError, TypeError):
            return _error(400, "MANIFEST_INVALID", "The body is no image manifest")
        if missing:
            return _error(400, "MANIFEST_BLOB_UNKNOWN", f"{missing[0]} was not pushed")
        if reference.startswith("sha256:") and reference != manifest.digest:
            return _error(400, "DIGEST_INVALID", f"The manifest's digest is {manifest.digest}")
        try:
            self.manifests.put(name, reference, manifest)
        except ManifestRefused as err:
            return _error(400, "TAG_INVALID", str(err))
        return _created(f"/v2/{name}/manifests/{manifest.digest}", manifest.digest)


def _query(request: ServiceRequest, name: str) -> str:
    return parse_qs(request.target.partition("?")[2]).get(name, [""])[0]


def _nothing() -> IO[bytes]:
    from io import BytesIO

    return BytesIO()


def _chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _created(location: str, digest: str) -> ServiceResponse:
    return ServiceResponse(
        201, {**VERSION, "Location": location, "Docker-Content-Digest": digest}, b""
    )


def _accepted(name: str, upload: str, size_bytes: int, status: int = 202) -> ServiceResponse:
    headers = {
        **VERSION,
        "Location": f"/v2/{name}/blobs/uploads/{upload}",
        "Docker-Upload-UUID": upload,
        "Range": f"0-{max(0, size_bytes - 1)}",
    }
    return ServiceResponse(status, headers, b"")


def _json(value: object, status: int = 200) -> ServiceResponse:
    headers = {**VERSION, "Content-Type": "application/json"}
    return ServiceResponse(status, headers, json.dumps(value).encode())


def _error(status: int, code: str, message: str) -> ServiceResponse:
    return _json({"errors": [{"code": code, "message": message}]}, status)
