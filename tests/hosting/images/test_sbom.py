"""A bill of materials lists what is really in an image, and is the same for the same image."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from drdeploy.errors import EngineError
from drdeploy.files import sha256_of_bytes
from drdeploy.hosting.images import inventory as inventory_module
from drdeploy.hosting.images.inventory import read_inventory_from_tar
from drdeploy.hosting.images.saved_image import SAVED_FILES_MAX
from drdeploy.hosting.images.sbom import make_sbom_from_inventory, make_sbom_of_image

ROOT = Path(__file__).resolve().parents[3]
SITE = "usr/local/lib/python3.11/dist-packages"
STATUS = """\
Package: libssl3
Status: install ok installed
Maintainer: Debian OpenSSL Team <openssl@example.org>
Architecture: amd64
Source: openssl (3.0.15-1)
Version: 1:3.0.15-1~deb12u1+b1
Description: libraries
 of several lines

Package: gone
Status: deinstall ok config-files
Architecture: all
Version: 1
"""
COPYRIGHT = (
    "Format: https://example.org/\n\nFiles: *\nLicense: Apache-2.0\n\nLicense: GPL-2+\n text\n"
)
METADATA = "Name: Python_Multipart\nVersion: 0.0.20\nLicense-Expression: Apache-2.0\n\nLong text\n"
CONFIG = {
    "Id": "a" * 64,
    "Os": "linux",
    "Architecture": "amd64",
    "Created": "2026-01-02T03:04:05.6789Z",
    "Config": {
        "Labels": {
            "org.opencontainers.image.title": "drdeploy lean",
            "org.opencontainers.image.version": "1.2.3",
        }
    },
}


def exported(files):
    """A file system as an engine exports it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w") as archive:
        for name, text in files.items():
            info = tarfile.TarInfo(name)
            content = text.encode()
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return iter([stream.getvalue()])


@pytest.fixture
def inventory():
    library = f"{SITE}/python_multipart.libs/libfast-1.so.2"
    return read_inventory_from_tar(
        exported(
            {
                "etc/os-release": 'ID=debian\nVERSION_ID="12"\n',
                "var/lib/dpkg/status": STATUS,
                "usr/share/doc/libssl3/copyright": COPYRIGHT,
                f"{SITE}/python_multipart-0.0.20.dist-info/METADATA": METADATA,
                f"{SITE}/python_multipart-0.0.20.dist-info/RECORD": (
                    "python_multipart.libs/libfast-1.so.2,sha256=other,1\n"
                ),
                library: "code",
                "usr/share/drdeploy/wheels.sha256": (
                    f"{'b' * 64}  python_multipart-0.0.20-py3-none-any.whl\n"
                ),
            }
        )
    )


def test_an_installed_package_of_debian_is_listed_and_a_removed_one_is_not(inventory):
    (package,) = inventory.debian
    assert (package.name, package.source) == ("libssl3", "openssl")
    assert package.licences == ("Apache-2.0", "GPL-2+")
    (component,) = by_type(make_sbom_from_inventory("x:1", CONFIG, inventory), "pkg:deb/")
    assert component["purl"] == (
        "pkg:deb/debian/libssl3@1:3.0.15-1~deb12u1%2Bb1?arch=amd64&distro=debian-12&upstream=openssl"
    )


def test_a_python_package_has_its_wheel_its_licence_and_the_libraries_that_it_brought(inventory):
    (component, drdeploy) = by_type(make_sbom_from_inventory("x:1", CONFIG, inventory), "pkg:pypi/")
    assert component["purl"] == "pkg:pypi/python-multipart@0.0.20"
    assert component["hashes"] == [{"alg": "SHA-256", "content": "b" * 64}]
    assert component["licenses"] == [{"expression": "Apache-2.0"}]
    (library,) = component["components"]
    assert library["hashes"][0]["content"] == sha256_of_bytes(b"code")
    assert "Replaced" in library["pedigree"]["notes"]
    assert drdeploy["purl"] == "pkg:pypi/drdeploy@1.2.3"


def test_the_time_is_that_of_the_image_and_the_serial_number_follows_from_its_id(inventory):
    sbom = make_sbom_from_inventory("x:1", CONFIG, inventory)
    assert sbom["metadata"]["timestamp"] == "2026-01-02T03:04:05Z"
    assert sbom == make_sbom_from_inventory("x:1", CONFIG, inventory)
    other = make_sbom_from_inventory("x:1", {**CONFIG, "Id": "c" * 64}, inventory)
    assert other["serialNumber"] != sbom["serialNumber"]


def test_an_image_may_have_many_more_files_than_a_saved_image_has_documents():
    """The image ``reduced`` has 20,000 files, twice as many as a saved image may have."""
    files = {f"{SITE}/tensorflow/{number}.h": "" for number in range(2 * SAVED_FILES_MAX)}
    files |= {"etc/os-release": "ID=debian\nVERSION_ID=12\n"}
    assert read_inventory_from_tar(exported(files)).distribution == "debian"


def test_an_image_with_more_files_than_the_limit_is_refused(monkeypatch):
    monkeypatch.setattr(inventory_module, "FILES_MAX", 3)
    files = {f"{number}": "" for number in range(3)}
    read_inventory_from_tar(exported(files))
    with pytest.raises(EngineError, match="more than 3 files"):
        read_inventory_from_tar(exported(files | {"one more": ""}))


def test_what_is_no_tar_file_is_refused():
    with pytest.raises(EngineError, match="unknown format"):
        read_inventory_from_tar(iter([b"no tar file" * 100]))


@pytest.mark.engine
@pytest.mark.parametrize("name", ["lean", "minimal"])
def test_the_image_has_the_wheels_of_the_lock_and_the_packages_of_debian(
    engine, ladder_image, name
):
    tag = ladder_image(name)
    sbom = make_sbom_of_image(engine, tag)
    assert sbom == make_sbom_of_image(engine, tag)
    assert engine.image_id(tag).endswith(sbom["metadata"]["component"]["hashes"][0]["content"])
    properties = {one["name"]: one["value"] for one in sbom["metadata"]["component"]["properties"]}
    assert properties["drdeploy:org.opencontainers.image.base.name"] == "debian:bookworm-slim"
    debian = {component["name"]: component for component in by_type(sbom, "pkg:deb/debian/")}
    assert {"libc6", "libpython3.11-minimal", "zlib1g"} <= set(debian)
    assert all("distro=debian-12" in component["purl"] for component in debian.values())
    lock = (ROOT / "requirements/serve.txt").read_text()
    python = {component["name"]: component for component in by_type(sbom, "pkg:pypi/")}
    assert {"msgspec", "numpy", "onnxruntime", "pillow", "drdeploy"} <= set(python)
    for component in python.values():
        if component["name"] != "drdeploy":
            assert f"{component['name']}=={component['version']}" in lock
            assert f"--hash=sha256:{component['hashes'][0]['content']}" in lock
    assert len(python["pillow"]["components"]) > 3  # libjpeg and others
    references = [component["bom-ref"] for component in sbom["components"]]
    assert len(set(references)) == len(references)


@pytest.mark.engine
def test_the_smallest_image_says_which_package_each_library_was_copied_from(engine, ladder_image):
    sbom = make_sbom_of_image(engine, ladder_image("minimal"))
    places = {
        place["location"]: component["name"]
        for component in by_type(sbom, "pkg:deb/")
        for place in component.get("evidence", {}).get("occurrences", ())
    }
    assert places["/usr/bin/python3.11"] == "python3.11-minimal"
    assert any(name == "libc6" and "libc.so" in place for place, name in places.items())
    assert any(name == "libpython3.11-stdlib" for name in places.values())


SCHEMA_CHECK = """
import json, sys
from pathlib import Path
import cyclonedx.schema
from jsonschema import Draft7Validator
from referencing import Registry, Resource
folder = Path(cyclonedx.schema.__file__).parent / "_res"
schemas = {
    name: json.loads((folder / name).read_text())
    for name in ("bom-1.6.SNAPSHOT.schema.json", "spdx.SNAPSHOT.schema.json",
                 "jsf-0.82.SNAPSHOT.schema.json")
}
registry = Registry()
for name, schema in schemas.items():
    for address in (name, "http://cyclonedx.org/schema/" + name, schema["$id"]):
        registry = registry.with_resource(address, Resource.from_contents(schema))
bom = schemas["bom-1.6.SNAPSHOT.schema.json"]
for error in Draft7Validator(bom, registry=registry).iter_errors(json.loads(sys.stdin.read())):
    print(list(error.absolute_path), error.message[:300])
"""


@pytest.mark.parametrize("subject", ["image", "wheel"])
def test_the_document_is_valid_by_the_schema_of_cyclonedx(inventory, checkov_program, subject):
    """The schema, and what checks it, are installed with checkov."""
    of_image = json.dumps(make_sbom_from_inventory("x:1", CONFIG, inventory))
    of_wheel = (ROOT / "requirements/plain.cdx.json").read_text()
    done = subprocess.run(
        [Path(checkov_program).parent / "python", "-c", SCHEMA_CHECK],
        input=of_image if subject == "image" else of_wheel,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


def by_type(sbom, prefix):
    return [one for one in sbom["components"] if one.get("purl", "").startswith(prefix)]
