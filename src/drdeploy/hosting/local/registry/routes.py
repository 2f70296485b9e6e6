"""The registry's HTTP routes, through which container engines push and pull images.

The routes and their numbers are those of the OCI distribution specification 1.1::

    GET         /v2/                                  end-1   is this a registry?
    GET HEAD    /v2/NAME/blobs/DIGEST                 end-2   pull a layer or a configuration
    GET HEAD    /v2/NAME/manifests/REFERENCE          end-3   pull a manifest
    POST        /v2/NAME/blobs/uploads/               end-4   begin an upload
                                      ?mount=DIGEST   end-11  or use the blob of another repository
    PATCH       /v2/NAME/blobs/uploads/UPLOAD         end-5   send a part
    PUT         /v2/NAME/blobs/uploads/UPLOAD         end-6   send the last part, and its digest
    PUT         /v2/NAME/manifests/REFERENCE          end-7   push a manifest (completes an image)
    GET         /v2/NAME/tags/list                    end-8   list the tags
    GET         /v2/NAME/blobs/uploads/UPLOAD         end-13  how much has arrived?

``DELETE`` of an upload, which the API of Docker's registry defines, cancels the upload. The routes
that delete content are not served, because images are deleted through ECR's API. The route that
lists an image's referrers (end-12) is not served either.
"""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from drdeploy.files import CHUNK_BYTES, parse_json, read_bytes_up_to_limit
from drdeploy.hosting.local.http_server import ServiceRequest, ServiceResponse
from drdeploy.hosting.local.registry.blobs import BlobStore, WrongDigest
from drdeploy.hosting.local.registry.manifests import (
    OCI_MANIFEST,
    ImageManifest,
    ManifestRefused,
    ManifestStore,
    NoSuchRepository,
)
from drdeploy.hosting.local.registry.server_profiles import find_profile_in_image_config
from drdeploy.hosting.sagemaker.gpu_hosts import REQUIREMENT_VARIABLE, parse_image_variables
from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from drdeploy.hosting.serving.settings import ProfileName

PREFIX = "/v2/"
VERSION_HEADER = {"Docker-Distribution-Api-Version": "registry/2.0"}
BINARY = "application/octet-stream"
MANIFEST_BYTES_MAX = 4 * MIB
"""The largest manifest or image configuration that is read into memory. The specification lets a
registry refuse larger manifests (OCI distribution specification 1.1, "Pushing Manifests").
"""

_NAME = r"(?P<name>[a-z0-9]+(?:[._/-]+[a-z0-9]+)*)"
_UPLOADS = re.compile(rf"/v2/{_NAME}/blobs/uploads/(?P<upload>[0-9a-f]*)")
_BLOB = re.compile(rf"/v2/{_NAME}/blobs/(?P<digest>sha256:[0-9a-f]{{64}})")
_MANIFEST = re.compile(rf"/v2/{_NAME}/manifests/(?P<reference>[\w][\w.:-]{{0,127}})")
_TAGS = re.compile(rf"/v2/{_NAME}/tags/list")


class ImageRegistry:
    """An OCI image registry.

    Args:
        folder: The folder in which layers and image configurations are stored.
    """

    def __init__(self, folder: Path) -> None:
        self.blobs = BlobStore(folder)
        self.manifests = ManifestStore()

    def has_image(self, name: str, reference: str) -> bool:
        """Return whether a repository has an image with the given digest or tag."""
        try:
            return self.manifests.find_manifest(name, reference) is not None
        except NoSuchRepository:
            return False

    def find_profile_of_image(self, name: str, reference: str) -> ProfileName | None:
        """Return the server profile of one of this project's images, or None for other images.

        The profile is in the image's configuration. For an image that needs a GPU, the function
        also returns None.
        """
        try:
            manifest = self.manifests.find_manifest(name, reference)
        except NoSuchRepository:
            return None
        if manifest is None:
            return None
        path = self.blobs.find_blob_file(manifest.document.get("config", {}).get("digest", ""))
        if path is None:
            return None
        try:
            document = parse_json(read_bytes_up_to_limit(path, MANIFEST_BYTES_MAX))
        except ValueError:
            document = None
        config = (document.get("config") or {}) if isinstance(document, dict) else None
        if not isinstance(config, dict):
            return None  # the blob is no image configuration
        if REQUIREMENT_VARIABLE in parse_image_variables(config.get("Env")):
            return None  # a process would predict on the CPU
        return find_profile_in_image_config(config)

    def answer_request(self, request: ServiceRequest) -> ServiceResponse:
        """Answer a request below ``/v2/``."""
        path = request.path
        try:
            if path == PREFIX:
                return ServiceResponse(200, VERSION_HEADER, b"")
            if found := _UPLOADS.fullmatch(path):
                return self._answer_upload(request, found["name"], found["upload"])
            if found := _BLOB.fullmatch(path):
                return self._answer_blob(request, found["digest"])
            if found := _MANIFEST.fullmatch(path):
                return self._answer_manifest(request, found["name"], found["reference"])
            if found := _TAGS.fullmatch(path):
                tags = self.manifests.list_tags(found["name"])
                return _make_json_response({"name": found["name"], "tags": tags})
        except NoSuchRepository as err:
            return _make_refusal_response(
                404, "NAME_UNKNOWN", f"The repository {err} does not exist; create it in ECR"
            )
        return _make_refusal_response(
            404, "UNSUPPORTED", f"{request.method} {path} is not served here"
        )

    # -- blobs ---------------------------------------------------------------------------

    def _answer_upload(self, request: ServiceRequest, name: str, upload: str) -> ServiceResponse:
        # A push to a repository that does not exist fails here, before a gigabyte has been sent.
        self.manifests.list_tags(name)
        query = parse_qs(request.target.partition("?")[2])
        digest = query.get("digest", [""])[0]
        try:
            match request.method:
                case "POST":
                    return self._begin_upload(request, name, query.get("mount", [""])[0], digest)
                case "PATCH":
                    size_bytes = self.blobs.append_to_upload(upload, request.body)
                    return _make_upload_state_response(name, upload, size_bytes)
                case "PUT":
                    self.blobs.append_to_upload(upload, request.body)
                    return self._finish_upload(name, upload, digest)
                case "GET":
                    return _make_upload_state_response(
                        name, upload, self.blobs.measure_upload_size(upload), status=204
                    )
                case "DELETE":
                    self.blobs.cancel_upload(upload)
                    return ServiceResponse(204, VERSION_HEADER, b"")
                case _:
                    return _make_refusal_response(
                        405, "UNSUPPORTED", f"{request.method} is not supported for uploads"
                    )
        except KeyError:
            return _make_refusal_response(404, "BLOB_UPLOAD_UNKNOWN", "There is no such upload")

    def _begin_upload(
        self, request: ServiceRequest, name: str, mount: str, digest: str
    ) -> ServiceResponse:
        # All repositories share one store of blobs, so each repository can mount every blob.
        if mount and self.blobs.find_blob_file(mount):
            return _make_created_response(f"/v2/{name}/blobs/{mount}", mount)
        upload = self.blobs.begin_upload()
        if not digest:
            return _make_upload_state_response(name, upload, 0)
        self.blobs.append_to_upload(upload, request.body)
        return self._finish_upload(name, upload, digest)

    def _finish_upload(self, name: str, upload: str, digest: str) -> ServiceResponse:
        try:
            self.blobs.finish_upload(upload, digest)
        except WrongDigest as err:
            return _make_refusal_response(400, "DIGEST_INVALID", str(err))
        return _make_created_response(f"/v2/{name}/blobs/{digest}", digest)

    def _answer_blob(self, request: ServiceRequest, digest: str) -> ServiceResponse:
        if request.method not in {"GET", "HEAD"}:
            return _make_refusal_response(
                405, "UNSUPPORTED", f"{request.method} of a blob is not served"
            )
        path = self.blobs.find_blob_file(digest)
        if path is None:
            return _make_refusal_response(404, "BLOB_UNKNOWN", f"There is no blob {digest}")
        headers = {
            **VERSION_HEADER,
            "Content-Type": BINARY,
            "Content-Length": str(path.stat().st_size),
            "Docker-Content-Digest": digest,
        }
        return ServiceResponse(
            200, headers, b"" if request.method == "HEAD" else _read_file_in_chunks(path)
        )

    # -- manifests -----------------------------------------------------------------------

    def _answer_manifest(
        self, request: ServiceRequest, name: str, reference: str
    ) -> ServiceResponse:
        match request.method:
            case "GET" | "HEAD":
                manifest = self.manifests.find_manifest(name, reference)
            case "PUT":
                return self._put_manifest(request, name, reference)
            case _:
                return _make_refusal_response(
                    405, "UNSUPPORTED", "Delete images through the ECR API"
                )
        if manifest is None:
            return _make_refusal_response(
                404, "MANIFEST_UNKNOWN", f"There is no image {name} {reference}"
            )
        headers = {
            **VERSION_HEADER,
            "Content-Type": manifest.media_type,
            "Docker-Content-Digest": manifest.digest,
        }
        return ServiceResponse(200, headers, manifest.content)

    def _put_manifest(self, request: ServiceRequest, name: str, reference: str) -> ServiceResponse:
        media_type = request.headers.get("Content-Type") or OCI_MANIFEST
        manifest = ImageManifest(request.body.read(), media_type)
        try:
            missing = [
                blob
                for blob in manifest.digests_of_blobs
                if self.blobs.find_blob_file(blob) is None
            ]
        except (ValueError, AttributeError, TypeError):
            return _make_refusal_response(
                400, "MANIFEST_INVALID", "The body is not an image manifest"
            )
        if missing:
            return _make_refusal_response(
                400, "MANIFEST_BLOB_UNKNOWN", f"{missing[0]} was not pushed"
            )
        if reference.startswith("sha256:") and reference != manifest.digest:
            return _make_refusal_response(
                400, "DIGEST_INVALID", f"The manifest's digest is {manifest.digest}"
            )
        try:
            self.manifests.store_manifest(name, reference, manifest)
        except ManifestRefused as err:
            return _make_refusal_response(400, "TAG_INVALID", str(err))
        return _make_created_response(f"/v2/{name}/manifests/{manifest.digest}", manifest.digest)


def is_manifest_path(path: str) -> bool:
    """Return whether a request for this path reads or pushes a manifest."""
    return _MANIFEST.fullmatch(path) is not None


def make_login_required_response() -> ServiceResponse:
    """Return the response that makes a registry's client log in."""
    refused = _make_refusal_response(401, "UNAUTHORIZED", "Log in with ECR's GetAuthorizationToken")
    headers = [*refused.header_items(), ("WWW-Authenticate", 'Basic realm="drdeploy local"')]
    return replace(refused, headers=headers)


def _read_file_in_chunks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _make_created_response(location: str, digest: str) -> ServiceResponse:
    headers = {**VERSION_HEADER, "Location": location, "Docker-Content-Digest": digest}
    return ServiceResponse(201, headers, b"")


def _make_upload_state_response(
    name: str, upload: str, size_bytes: int, status: int = 202
) -> ServiceResponse:
    headers = {
        **VERSION_HEADER,
        "Location": f"/v2/{name}/blobs/uploads/{upload}",
        "Docker-Upload-UUID": upload,
        # The range is inclusive, and the specification has no form for an empty range.
        "Range": f"0-{max(0, size_bytes - 1)}",
    }
    return ServiceResponse(status, headers, b"")


def _make_json_response(value: object, status: int = 200) -> ServiceResponse:
    headers = {**VERSION_HEADER, "Content-Type": "application/json"}
    return ServiceResponse(status, headers, json.dumps(value).encode())


def _make_refusal_response(status: int, code: str, message: str) -> ServiceResponse:
    return _make_json_response({"errors": [{"code": code, "message": message}]}, status)
