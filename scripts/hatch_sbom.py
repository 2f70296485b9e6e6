"""Put the bill of materials into the wheel, where PEP 770 wants it: ``*.dist-info/sboms/``."""

from __future__ import annotations

from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

WRITTEN = "requirements/plain.cdx.json"


class SbomHook(BuildHookInterface):
    """Adds the bill of materials to a wheel, but not to an editable installation."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Tell the build which file to add, and its place in the wheel."""
        if version == "standard":
            # hatchling 1.27 has no setting for it; 1.28 has `sbom-files`.
            project = f"{self.metadata.core.name}-{self.metadata.version}"
            build_data["force_include"][WRITTEN] = f"{project}.dist-info/sboms/drdeploy.cdx.json"
