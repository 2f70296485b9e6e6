"""Put the software bill of materials into the wheel, in the folder that PEP 770 names."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WRITTEN = "requirements/plain.cdx.json"


class SbomHook(BuildHookInterface):
    """Adds the bill of materials to a wheel, but not to an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Tell the build to put the bill of materials into the wheel, and at which path."""
        if version == "standard":
            # hatchling 1.27 has no setting for it; 1.28 has `sbom-files`.
            project = f"{self.metadata.core.name}-{self.metadata.version}"
            build_data["force_include"][WRITTEN] = f"{project}.dist-info/sboms/drdeploy.cdx.json"
