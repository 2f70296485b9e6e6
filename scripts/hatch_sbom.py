"""Puts the bill of materials into the wheel, at the place of PEP 770: ``*.dist-info/sboms/``."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WRITTEN = "requirements/plain.cdx.json"


class SbomHook(BuildHookInterface):
    """Adds one file to a wheel; an editable install holds none."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Name the file and its place for the build."""
        if version == "standard":
            # hatchling 1.27 has no setting for it; 1.28 has `sbom-files`.
            project = f"{self.metadata.core.name}-{self.metadata.version}"
            build_data["force_include"][WRITTEN] = f"{project}.dist-info/sboms/drdeploy.cdx.json"
