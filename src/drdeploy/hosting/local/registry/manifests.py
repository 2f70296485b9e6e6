"""Store image manifests in moto's ECR repositories, so that ECR's API finds them."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from typing import Any

from drdeploy.files import parse_json, sha256_of_bytes
from drdeploy.hosting.local.registry.blobs import DIGEST
from drdeploy.hosting.local.resource_store import ACCOUNT

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class NoSuchRepository(LookupError):
    """No region's ECR has a repository with the requested name."""


class ManifestRefused(ValueError):
    """The manifest is malformed, or its tag is immutable."""


@dataclass(frozen=True)
class ImageManifest:
    """An image manifest.

    Attributes:
        content: The bytes exactly as they were pushed; their digest is the digest of the image.
        media_type: The media type of the manifest.
    """

    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """The image's digest, ``sha256:…``."""
        return f"sha256:{sha256_of_bytes(self.content)}"

    @property
    def document(self) -> dict[str, Any]:
        """The content parsed as JSON."""
        parsed: dict[str, Any] = parse_json(self.content)
        return parsed

    @property
    def digests_of_blobs(self) -> tuple[str, ...]:
        """The digests of the image's configuration and layers; empty for an index of images."""
        document = self.document
        parts = [document.get("config", {}), *document.get("layers", [])]
        return tuple(part["digest"] for part in parts if "digest" in part)


class ManifestStore:
    """The manifests of all repositories; safe to use from several threads.

    On AWS, each region has a registry with its own address. Here, all regions share one address, so
    a request does not say which region it means. The store therefore looks for the repository in
    all regions. Every method raises :class:`NoSuchRepository` if no region has the repository.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def find_manifest(self, name: str, reference: str) -> ImageManifest | None:
        """Return the manifest with the given digest or tag, or None if it does not exist."""
        with self._lock:
            for _, repository in self._find_repositories(name):
                for image in repository.images:
                    if reference == image.image_digest or reference in image.image_tags:
                        media_type = image.image_manifest_media_type or OCI_MANIFEST
                        return ImageManifest(image.image_manifest.encode(), media_type)
        return None

    def store_manifest(self, name: str, reference: str, manifest: ImageManifest) -> None:
        """Store a manifest under its digest, and also under ``reference`` if that is a tag.

        Raises:
            ManifestRefused: The tag is immutable and names another image, or the content is not
                a manifest.
        """
        from moto.core.exceptions import ServiceException

        tag = None if DIGEST.fullmatch(reference) else reference
        with self._lock:
            for backend, repository in self._find_repositories(name):
                # Pushing the same image again changes nothing, but moto would refuse it.
                if any(
                    image.image_digest == manifest.digest and tag in {None, *image.image_tags}
                    for image in repository.images
                ):
                    continue
                try:
                    backend.put_image(
                        name, manifest.content.decode(), tag, manifest.media_type, manifest.digest
                    )
                except (ServiceException, UnicodeDecodeError) as err:
                    raise ManifestRefused(str(err)) from err

    def list_tags(self, name: str) -> list[str]:
        """Return all tags in a repository."""
        with self._lock:
            return sorted(
                {
                    tag
                    for _, repository in self._find_repositories(name)
                    for image in repository.images
                    for tag in image.image_tags
                }
            )

    def _find_repositories(self, name: str) -> list[tuple[Any, Any]]:
        """Return the repositories with the given name, each with the moto backend of its region."""
        from moto.ecr.models import ecr_backends

        found = [
            (backend, backend.repositories[name])
            for backend in tuple(ecr_backends[ACCOUNT].values())
            if name in backend.repositories
        ]
        if not found:
            raise NoSuchRepository(name)
        return found
