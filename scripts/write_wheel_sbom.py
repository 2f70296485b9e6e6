"""Write ``requirements/plain.cdx.json``: the bill of materials (SBOM) that the wheel carries.

    python scripts/write_wheel_sbom.py

The bill of materials lists the models in the wheel, and the packages that are installed with the
wheel if no extra is chosen (``requirements/plain.txt``). ``scripts/hatch_sbom.py`` puts the bill
into the wheel.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from drdeploy.files import sha256_of_file, write_json_file
from drdeploy.hosting.images.sbom import (
    make_component_of_drdeploy,
    make_purl_of_python_package,
    make_sbom_document,
)
from drdeploy.version import VERSION

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "requirements" / "plain.cdx.json"
LOCK = ROOT / "requirements" / "plain.txt"
PACKAGE = ROOT / "src" / "drdeploy"

REQUIREMENT = re.compile(r"^([\w.-]+)==(\S+?)(?: ; (.+?))? \\$", re.MULTILINE)


def wheel_sbom() -> dict[str, Any]:
    """Return the bill of materials."""
    components = [
        describe_locked_package(*found) for found in REQUIREMENT.findall(LOCK.read_text("utf-8"))
    ]
    models = [describe_model(archive) for archive in sorted(PACKAGE.rglob("*.tar.gz"))]
    return make_sbom_document(make_component_of_drdeploy(VERSION), [*models, *components])


def describe_model(archive: Path) -> dict[str, Any]:
    """Return the entry of a packaged model in the bill of materials."""
    path = str(archive.relative_to(PACKAGE.parent))
    return {
        "type": "machine-learning-model",
        "bom-ref": path,
        "name": path,
        "hashes": [{"alg": "SHA-256", "content": sha256_of_file(archive)}],
    }


def describe_locked_package(name: str, version: str, marker: str) -> dict[str, Any]:
    """Return the entry of a Python package; it has no hashes, because the lock file has them."""
    purl = make_purl_of_python_package(name, version)
    return {
        "type": "library",
        "bom-ref": purl,
        "name": name,
        "version": version,
        "purl": purl,
        **({"properties": [{"name": "drdeploy:marker", "value": marker}]} if marker else {}),
    }


if __name__ == "__main__":
    write_json_file(TARGET, wheel_sbom())
    sys.stdout.write(f"wrote {TARGET.relative_to(ROOT)}\n")
