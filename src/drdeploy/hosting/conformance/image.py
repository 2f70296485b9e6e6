"""What an image's configuration says, without starting a container."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.hosting.conformance.clause import Severity, clause, not_applicable, passed, passed_if
from drdeploy.hosting.conformance.contract import HOSTING, PIPELINES, SERVERLESS
from drdeploy.units import GB

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

    from drdeploy.hosting.conformance.clause import ConformanceVerdict
    from drdeploy.hosting.conformance.inspection import ImageInspection

SHELLS = frozenset({"sh", "bash", "dash", "ash"})
BIND_TO_PORT_LABEL = "com.amazonaws.sagemaker.capabilities.accept-bind-to-port"


@dataclass(frozen=True)
class ImageFacts:
    """An image's configuration.

    Attributes:
        entrypoint: The words of its ENTRYPOINT.
        labels: By name.
        size_bytes: On disk.
    """

    entrypoint: tuple[str, ...]
    labels: Mapping[str, str]
    size_bytes: int


def observe_image(inspection: ImageInspection) -> ImageFacts:
    """Read the image's configuration."""
    described: Mapping[str, Any] = inspection.host.engine.image_config(inspection.host.image)
    config: Mapping[str, Any] = described.get("Config") or {}
    entrypoint = config.get("Entrypoint") or ()
    return ImageFacts(
        entrypoint=(entrypoint,) if isinstance(entrypoint, str) else tuple(entrypoint),
        labels=dict(config.get("Labels") or {}),
        size_bytes=int(described.get("Size") or 0),
    )


@clause(Severity.MUST, HOSTING)
def exec_form(inspection: ImageInspection) -> ConformanceVerdict:
    """The ENTRYPOINT is in exec form, so that signals reach the server and not a shell."""
    words = inspection.observe(observe_image).entrypoint
    if not words:
        return passed("no ENTRYPOINT: the host runs the program `serve` itself")
    is_shell = words[0].rpartition("/")[2] in SHELLS and "-c" in words[1:2]
    return passed_if(not is_shell, f"ENTRYPOINT {list(words)}")


@clause(Severity.SHOULD, SERVERLESS)
def image_size(inspection: ImageInspection) -> ConformanceVerdict:
    """The image is no larger than a serverless endpoint accepts."""
    size, limit = inspection.observe(observe_image).size_bytes, inspection.contract.image_bytes
    return passed_if(size <= limit, f"{size / GB:.2f} GB on disk (limit {limit / GB:.0f} GB)")


@clause(Severity.OPTIONAL, PIPELINES)
def bind_to_port_label(inspection: ImageInspection) -> ConformanceVerdict:
    """A label says that the port can be chosen, as several containers on one endpoint need."""
    value = inspection.observe(observe_image).labels.get(BIND_TO_PORT_LABEL)
    if not value:
        return not_applicable(f"no label {BIND_TO_PORT_LABEL}")
    return passed_if(value == "true", f"{BIND_TO_PORT_LABEL}={value}")
