"""Check the configuration of a container image without starting a container."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.hosting.conformance.clause import (
    HostingKind,
    Severity,
    define_clause,
    make_failed_verdict,
    make_not_applicable_verdict,
    make_passed_or_failed_verdict,
    make_passed_verdict,
)
from drdeploy.hosting.conformance.contract import CREATE_MODEL, HOSTING, PIPELINES, SERVERLESS
from drdeploy.hosting.container_engine import DOCKER_MANIFEST
from drdeploy.hosting.sagemaker.container_contract import BIND_TO_PORT_LABEL
from drdeploy.units import GB

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from drdeploy.hosting.conformance.clause import ConformanceVerdict
    from drdeploy.hosting.conformance.inspection import ImageInspection

SHELLS = frozenset({"sh", "bash", "dash", "ash"})


@dataclass(frozen=True)
class ImageFacts:
    """An image's configuration.

    Attributes:
        entrypoint: The words of the image's ENTRYPOINT.
        labels: The value of each label, by the label's name.
        size_bytes: The image's size on disk.
        manifest_type: The media type of the manifest with which the engine pushes the image.
    """

    entrypoint: tuple[str, ...]
    labels: Mapping[str, str]
    size_bytes: int
    manifest_type: str = DOCKER_MANIFEST

    @property
    def accepts_port(self) -> bool:
        """Whether a label of the image says that its port can be chosen."""
        return self.labels.get(BIND_TO_PORT_LABEL) == "true"


def observe_image_configuration(inspection: ImageInspection) -> ImageFacts:
    """Read the image's configuration."""
    described: Mapping[str, Any] = inspection.host.engine.image_config(inspection.host.image)
    config: Mapping[str, Any] = described.get("Config") or {}
    entrypoint = config.get("Entrypoint") or ()
    return ImageFacts(
        entrypoint=(entrypoint,) if isinstance(entrypoint, str) else tuple(entrypoint),
        labels=dict(config.get("Labels") or {}),
        size_bytes=int(described.get("Size") or 0),
        manifest_type=inspection.host.engine.find_manifest_type(inspection.host.image),
    )


@define_clause("exec-form", Severity.SHOULD, HOSTING)
def check_entrypoint_form(inspection: ImageInspection) -> ConformanceVerdict:
    """The ENTRYPOINT is in exec form, so that signals reach the server instead of a shell."""
    words = inspection.observe_once(observe_image_configuration).entrypoint
    if not words:
        return make_passed_verdict("no ENTRYPOINT: the host runs the program `serve` itself")
    is_shell = words[0].rpartition("/")[2] in SHELLS and "-c" in words[1:2]
    return make_passed_or_failed_verdict(not is_shell, f"ENTRYPOINT {list(words)}")


@define_clause("image-manifest", Severity.MUST, CREATE_MODEL)
def check_image_manifest_type(inspection: ImageInspection) -> ConformanceVerdict:
    """The image is pushed with a Docker manifest, because CreateModel refuses OCI manifests."""
    manifest_type = inspection.observe_once(observe_image_configuration).manifest_type
    if manifest_type == DOCKER_MANIFEST:
        return make_passed_verdict(manifest_type)
    return make_failed_verdict(
        f"{manifest_type}; build the image with `docker buildx build --provenance=false --output "
        "type=docker`, or with `podman build --format docker`"
    )


@define_clause("image-size", {HostingKind.SERVERLESS: Severity.MUST}, SERVERLESS)
def check_image_size(inspection: ImageInspection) -> ConformanceVerdict:
    """The image is no larger than a serverless endpoint accepts."""
    size, limit = (
        inspection.observe_once(observe_image_configuration).size_bytes,
        inspection.contract.image_bytes,
    )
    return make_passed_or_failed_verdict(
        size <= limit, f"{size / GB:.2f} GB on disk (limit {limit / GB:.0f} GB)"
    )


@define_clause("bind-to-port-label", Severity.OPTIONAL, PIPELINES)
def check_bind_to_port_label(inspection: ImageInspection) -> ConformanceVerdict:
    """A label says that the port can be chosen: an endpoint with several containers needs this."""
    value = inspection.observe_once(observe_image_configuration).labels.get(BIND_TO_PORT_LABEL)
    if not value:
        return make_not_applicable_verdict(f"no label {BIND_TO_PORT_LABEL}")
    return make_passed_or_failed_verdict(value == "true", f"{BIND_TO_PORT_LABEL}={value}")
