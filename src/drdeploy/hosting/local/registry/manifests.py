"""Manifests, kept where ECR's API finds them: in moto's repositories."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from drdeploy.files import sha256_of
from drdeploy.hosting.local.registry.blobs import DIGEST
from drdeploy.hosting.local.resource_store import ACCOUNT

if TYPE_CHECKING:
    from collections.abc import Iterator

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"


class NoSuchRepository(LookupError):
    """No region's ECR has a repository of that name."""


class ManifestRefused(ValueError):
    """The manifest is none, or its tag must not be moved."""


@dataclass(frozen=True)
class Manifest:
    """One image's manifest.

    Attributes:
        content: The very bytes that were pushed; their digest is the image's.
    """

    content: bytes
    media_type: str

    @property
    def digest(self) -> str:
        """``sha256:…``."""
        return f"sha256:{sha256_of(self.content)}"

    @property
    def document(self) -> dict[str, Any]:
        """As JSON."""
        parsed: dict[str, Any] = json.loads(self.content)
        return parsed

    @property
    def blobs(self) -> tuple[str, ...]:
        """Digests of configuration and layers; none for an index."""
        document = self.document
        parts = [document.get("config", {}), *document.get("layers", [])]
        return tuple(part["digest"] for part in parts if "digest" in part)


class ManifestStore:
    """Manifests by repository; one registry serves every region of the account."""

    def __init__(self) -> None:
        self._lock = threading.Lock()

    def get(self, name: str, reference: str) -> Manifest | None:
        """The manifest behind a digest or a tag.

        Raises:
            NoSuchRepository: There is no repository of that name.
        """
        with self._lock:
            for repository in self._repositories(name):
                for image in repository.images:
                    if reference == image.image_digest or reference in image.image_tags:
                        media_type = image.image_manifest_media_type or OCI_MANIFEST
                        return Manifest(image.image_manifest.encode(), media_type)
        return None

    def put(self, name: str, reference: str, manifest: Manifest) -> None:
        """Keep a manifest under its digest and, where ``reference`` is one, its tag.

        Raises:
            NoSuchRepository: There is no repository of that name.
            ManifestRefused: The tag is immutable and stands for another image, or the text is no
                manifest.
        """
        from moto.core.exceptions import ServiceException

        tag = None if DIGEST.fullmatch(reference) else reference
        with self._lock:
            for backend, repository in self._backends(name):
                if _holds(repository, manifest.digest, tag):
                    continue
                try:
                    backend.put_image(
                        name, manifest.content.decode(), tag, manifest.media_type, manifest.digest
                    )
                except (ServiceException, UnicodeDecodeError) as err:
                    raise ManifestRefused(str(err)) from err

    def tags(self, name: str) -> list[str]:
        """All tags of a repository.

        Raises:
            NoSuchRepository: There is no repository of that name.
        """
        with self._lock:
            return sorted(
                {
                    tag
                    for repository in self._repositories(name)
                    for image in repository.images
                    for tag in image.image_tags
                }
            )

    def _repositories(self, name: str) -> list[Any]:
        return [repository for _, repository in self._backends(name)]

    def _backends(self, name: str) -> list[tuple[Any, Any]]:
        found = list(self._found(name))
        if not found:
            raise NoSuchRepository(name)
        return found

    def _found(self, name: str) -> Iterator[tuple[Any, Any]]:
        for backend in tuple(self._ecr.values()):
            repository = backend.repositories.get(name)
            if repository is not None:
                yield backend, repository

    @cached_property
    def _ecr(self) -> Any:
        from moto.ecr.models import ecr_backends

        return ecr_backends[ACCOUNT]


def _holds(repository: Any, digest: str, tag: str | None) -> bool:
    return any(
        image.image_digest == digest and (tag is None or tag in image.image_tags)
        for image in repository.images
    )
