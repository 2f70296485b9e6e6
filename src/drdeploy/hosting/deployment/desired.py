"""What a deployment shall consist of, before anything of it was sent anywhere."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from drdeploy.hosting.deployment.variables import EndpointVariables, Variables


@dataclass(frozen=True)
class ModelSource:
    """A model on this machine: the image that serves it, and its archive.

    Attributes:
        image: Tag in the container engine.
        archive: Path of the ``model.tar.gz``.
        environment: Environment variables of the container.
    """

    image: str
    archive: Path
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class DesiredEndpoints:
    """The models and endpoints that a deployment shall have.

    Attributes:
        foundation: Environment, prefix, region and tags, with neither models nor endpoints.
        models: By key.
        endpoints: By key; each names the key of its model.
    """

    foundation: Variables
    models: Mapping[str, ModelSource]
    endpoints: Mapping[str, EndpointVariables]
