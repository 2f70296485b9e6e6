"""Write a bill of materials (SBOM) in CycloneDX 1.6, https://cyclonedx.org/docs/1.6/json/.

Writing the bill of materials of an image twice gives the same bytes. The date in it is the creation
time of the image, and its serial number is computed from the ids of the image and its packages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid5

from drdeploy.hosting.images.inventory import read_inventory_of_image
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from drdeploy.hosting.container_engine import ContainerEngine
    from drdeploy.hosting.images.inventory import DebianPackage, Inventory, PythonPackage

VERSION_LABEL = "org.opencontainers.image.version"
TITLE_LABEL = "org.opencontainers.image.title"
BASE_LABELS = ("org.opencontainers.image.base.name", "org.opencontainers.image.base.digest")
_PROPERTY = "drdeploy:"
"""The prefix in the names of this project's own properties; CycloneDX asks for such a prefix."""


def make_sbom_of_image(engine: ContainerEngine, image: str) -> dict[str, Any]:
    """Return the bill of materials of an image, which lists its packages and libraries.

    Raises:
        EngineError: There is no such image, or its files cannot be read.
    """
    config = engine.image_config(image)
    # By id, because the tag may be given to another image meanwhile.
    return make_sbom_from_inventory(
        image, config, read_inventory_of_image(engine, str(config["Id"]))
    )


def make_sbom_from_inventory(
    image: str, config: Mapping[str, Any], inventory: Inventory
) -> dict[str, Any]:
    """Return the bill of materials that lists the given packages and libraries of an image.

    Args:
        image: The name and the tag of the image.
        config: The description of the image, as ``docker inspect`` prints it.
        inventory: The packages and libraries in the image.
    """
    image_id = _add_sha256_prefix(str(config["Id"]))
    labels = dict(config.get("Config", {}).get("Labels") or {})
    subject = {
        "type": "container",
        "bom-ref": image_id,
        "name": image,
        "version": labels.get(VERSION_LABEL) or image_id,
        "hashes": [_make_hash_object(image_id.partition(":")[2])],
        "properties": _make_property_list(
            {
                "image-id": image_id,
                "platform": f"{config.get('Os', '')}/{config.get('Architecture', '')}",
                **{name: labels[name] for name in BASE_LABELS if labels.get(name)},
            }
        ),
    }
    components = [
        *_make_component_of_operating_system(inventory),
        *(_make_component_of_debian_package(package, inventory) for package in inventory.debian),
        *(_make_component_of_python_package(package) for package in inventory.python),
    ]
    if labels.get(TITLE_LABEL, "").startswith("drdeploy "):
        components.append(make_component_of_drdeploy(labels.get(VERSION_LABEL, "")))
    # The date of an image is the date of its last layer, and its id depends on that date.
    created = str(config.get("Created", ""))[:19]
    return make_sbom_document(subject, components, created=f"{created}Z" if created else "")


def make_sbom_document(
    subject: Mapping[str, Any], components: list[dict[str, Any]], *, created: str = ""
) -> dict[str, Any]:
    """Return a bill of materials that lists ``components`` as the parts of ``subject``."""
    references = sorted(str(component["bom-ref"]) for component in components)
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": uuid5(NAMESPACE_URL, f"{subject['bom-ref']} {references}").urn,
        "version": 1,
        "metadata": {
            **({"timestamp": created} if created else {}),
            "tools": {
                "components": [{"type": "application", "name": "drdeploy", "version": VERSION}]
            },
            "component": dict(subject),
        },
        "components": components,
        "dependencies": [{"ref": subject["bom-ref"], "dependsOn": references}],
    }


def make_component_of_drdeploy(version: str) -> dict[str, Any]:
    """Return drdeploy itself as a component of a bill of materials."""
    return {
        "type": "application",
        "bom-ref": make_purl_of_python_package("drdeploy", version),
        "name": "drdeploy",
        "version": version,
        "licenses": [{"license": {"id": "Apache-2.0"}}],
        "purl": make_purl_of_python_package("drdeploy", version),
    }


def make_purl_of_python_package(name: str, version: str) -> str:
    """Return the package URL of a Python distribution."""
    return f"pkg:pypi/{name}@{_percent_encode(version)}"


def _make_component_of_operating_system(inventory: Inventory) -> list[dict[str, Any]]:
    if not inventory.distribution:
        return []
    name, release = inventory.distribution, inventory.release
    reference = f"os:{name}@{release}"
    return [{"type": "operating-system", "bom-ref": reference, "name": name, "version": release}]


def _make_component_of_debian_package(
    package: DebianPackage, inventory: Inventory
) -> dict[str, Any]:
    qualifiers = {
        "arch": package.architecture,
        "distro": "-".join(filter(None, (inventory.distribution, inventory.release))),
        # Debian reports vulnerabilities by source package.
        "upstream": package.source if package.source != package.name else "",
    }
    query = "&".join(
        f"{key}={_percent_encode(value)}" for key, value in qualifiers.items() if value
    )
    distribution = inventory.distribution or "debian"
    name, version = _percent_encode(package.name), _percent_encode(package.version)
    purl = f"pkg:deb/{distribution}/{name}@{version}?{query}"
    return {
        "type": "library",
        "bom-ref": purl,
        **({"supplier": {"name": package.maintainer}} if package.maintainer else {}),
        "name": package.name,
        "version": package.version,
        **_make_licences_field(package.licences),
        "purl": purl,
        **(
            {"evidence": {"occurrences": [{"location": f"/{path}"} for path in package.files]}}
            if package.files
            else {}
        ),
    }


def _make_component_of_python_package(package: PythonPackage) -> dict[str, Any]:
    purl = make_purl_of_python_package(package.name, package.version)
    if package.is_spdx:
        licences = {"licenses": [{"expression": package.licence}]}
    else:
        licences = _make_licences_field(filter(None, [package.licence]))
    libraries = [
        {
            "type": "file",
            "bom-ref": f"/{library.path}",
            "name": f"/{library.path}",
            "hashes": [_make_hash_object(library.sha256)],
            **(
                {"pedigree": {"notes": "Replaced after the wheel was installed"}}
                if library.is_replaced
                else {}
            ),
        }
        for library in package.libraries
    ]
    return {
        "type": "library",
        "bom-ref": purl,
        "name": package.name,
        "version": package.version,
        **({"hashes": [_make_hash_object(package.wheel_sha256)]} if package.wheel_sha256 else {}),
        **licences,
        "purl": purl,
        **({"components": libraries} if libraries else {}),
        **({"properties": _make_property_list({"wheel": package.wheel})} if package.wheel else {}),
    }


def _make_licences_field(names: Iterable[str]) -> dict[str, Any]:
    licenses = [{"license": {"name": name}} for name in names]
    return {"licenses": licenses} if licenses else {}


def _make_hash_object(sha256: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": sha256}


def _make_property_list(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": f"{_PROPERTY}{name}", "value": value} for name, value in values.items()]


def _add_sha256_prefix(image_id: str) -> str:
    """Return an image's id with the prefix ``sha256:``, which Podman leaves out."""
    return image_id if image_id.startswith("sha256:") else f"sha256:{image_id}"


def _percent_encode(text: str) -> str:
    """Percent-encode a part of a package URL, https://github.com/package-url/purl-spec."""
    return quote(text, safe=".-_~:")
