"""A statement beside an image says what it was built from, and can be signed."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
from pathlib import Path

import pytest
from required import require

from drdeploy.hosting.images import ImageRef, write_sbom_and_provenance
from drdeploy.hosting.images.provenance import make_provenance_statement

ROOT = Path(__file__).resolve().parents[3]
BASE = ImageRef("drdeploy:lean", "sha256:" + "1" * 64, "debian@sha256:" + "2" * 64, "")


class KnownEngine:
    name_and_version = "Engine 1"

    def image_id(self, image):
        return "3" * 64


def dependencies_of(statement):
    found = statement["predicate"]["buildDefinition"]["resolvedDependencies"]
    return {dependency["name"]: dependency for dependency in found}


def test_a_statement_names_the_base_the_commit_the_dockerfile_the_lock_and_the_bill_of_materials():
    statement = make_provenance_statement(KnownEngine(), "lean", BASE, "lean.cdx.json", b"{}")
    (subject,) = statement["subject"]
    assert subject == {"name": "drdeploy:lean", "digest": {"sha256": "1" * 64}}
    found = dependencies_of(statement)
    assert found["base image"] == {
        "name": "base image",
        "uri": "debian",
        "digest": {"sha256": "2" * 64},
    }
    lock = (ROOT / "requirements/serve.txt").read_bytes()
    assert found["requirements/serve.txt"]["digest"]["sha256"] == hashlib.sha256(lock).hexdigest()
    assert "containers/lean.Dockerfile" in found
    if (ROOT / ".git").exists():
        assert len(found["source"]["digest"]["gitCommit"]) == 40
    (byproduct,) = statement["predicate"]["runDetails"]["byproducts"]
    assert byproduct["digest"]["sha256"] == hashlib.sha256(b"{}").hexdigest()
    assert statement == make_provenance_statement(
        KnownEngine(), "lean", BASE, "lean.cdx.json", b"{}"
    )


def test_a_placeholder_is_named_as_one_and_has_no_digest_of_a_registry():
    image = ImageRef("drdeploy:reduced", "1" * 64, "debian:bookworm-slim", "a placeholder")
    found = dependencies_of(make_provenance_statement(KnownEngine(), "reduced", image, "x", b""))
    assert "digest" not in found["base image"]
    assert found["base image"]["annotations"]["imageId"] == f"sha256:{'3' * 64}"
    assert "requirements/classic.txt" in found


@pytest.mark.engine
def test_the_files_beside_an_image_can_be_signed_and_verified_as_the_manual_says(
    engine, lean_image, tmp_path
):
    require(shutil.which("ssh-keygen") is not None, "ssh-keygen (openssh-client)")
    image = ImageRef(lean_image, engine.image_id(lean_image), lean_image, "a placeholder")
    sbom, statement = write_sbom_and_provenance(engine, "lean", image, tmp_path)
    (byproduct,) = json.loads(statement.read_text())["predicate"]["runDetails"]["byproducts"]
    assert byproduct["digest"]["sha256"] == hashlib.sha256(sbom.read_bytes()).hexdigest()
    manual = (ROOT / "docs/how-to.md").read_text()
    sign, verify = (line for line in manual.splitlines() if line.startswith("ssh-keygen -Y"))
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    (tmp_path / "signers").write_text(f"you@example.org {key.with_suffix('.pub').read_text()}")
    in_folder = {"~/.ssh/id_ed25519": "key", "images/": ""}
    for command in (sign, verify):
        for name, here in in_folder.items():
            command = command.replace(name, here)  # noqa: PLW2901
        subprocess.run(command, shell=True, cwd=tmp_path, check=True, capture_output=True)
    statement.write_text(statement.read_text().replace("lean", "lena"))
    done = subprocess.run(command, shell=True, cwd=tmp_path, check=False, capture_output=True)
    assert done.returncode != 0
