"""Write a statement of what a container image was built from, in the SLSA Provenance format.

The format is in-toto Statement v1 with SLSA Provenance v1 (https://slsa.dev/spec/v1.0/provenance).
The statement is not signed, so you can trust it only as much as the machine that built the image.
To sign the statement's file, use ``ssh-keygen -Y sign``.
"""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

from drdeploy.files import sha256_of_bytes, sha256_of_file, write_file_atomically
from drdeploy.hosting.images.build import DOCKERFILES, open_build_context
from drdeploy.hosting.images.sbom import make_sbom_of_image
from drdeploy.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from drdeploy.hosting.container_engine import ContainerEngine
    from drdeploy.hosting.images.build import ImageName, ImageRef

BUILD_TYPE = "urn:drdeploy:image-build:1"
"""The build type that provenance statements name.

The parameters of this build type are those of ``drdeploy image build``.
"""
LOCKS = {"baseline": "baseline", "two-step": "baseline", "reduced": "classic", "cuda": "cuda"}
"""The lock file in ``requirements/`` for each image; all other images have the lock ``serve``."""


def write_sbom_and_provenance(
    engine: ContainerEngine, name: ImageName, image: ImageRef, folder: Path
) -> tuple[Path, Path]:
    """Write the bill of materials of an image, and its provenance statement.

    The files are ``TAG.cdx.json`` and ``TAG.provenance.json``, for example ``lean.cdx.json``.

    Raises:
        EngineError: The image does not exist, or its files cannot be read.
    """
    stem = image.tag.rpartition(":")[2]
    sbom, statement = folder / f"{stem}.cdx.json", folder / f"{stem}.provenance.json"
    content = _encode_as_json_bytes(make_sbom_of_image(engine, image.tag))
    write_file_atomically(sbom, content)
    write_file_atomically(
        statement,
        _encode_as_json_bytes(make_provenance_statement(engine, name, image, sbom.name, content)),
    )
    return sbom, statement


def make_provenance_statement(
    engine: ContainerEngine, name: ImageName, image: ImageRef, sbom_name: str, sbom: bytes
) -> dict[str, Any]:
    """Return the provenance statement of an image.

    Args:
        engine: The engine that built the image.
        name: The name of the image in this project.
        image: The image.
        sbom_name: File name of the image's bill of materials.
        sbom: The content of the bill of materials.
    """
    with open_build_context() as root:
        sources = [*_describe_build_sources(root, name)]
    return {
        "_type": "https://in-toto.io/Statement/v1",
        "subject": [{"name": image.tag, "digest": {"sha256": image.id.removeprefix("sha256:")}}],
        "predicateType": "https://slsa.dev/provenance/v1",
        "predicate": {
            "buildDefinition": {
                "buildType": BUILD_TYPE,
                "externalParameters": {"image": name},
                "resolvedDependencies": [_describe_base_image(engine, image), *sources],
            },
            "runDetails": {
                "builder": {
                    "id": "urn:drdeploy:container-engine",
                    "version": {"drdeploy": VERSION, "engine": engine.name_and_version},
                },
                "byproducts": [{"name": sbom_name, "digest": {"sha256": sha256_of_bytes(sbom)}}],
            },
        },
    }


def _describe_base_image(engine: ContainerEngine, image: ImageRef) -> dict[str, Any]:
    if not image.note:
        repository, _, digest = image.base.rpartition("@sha256:")
        return {"name": "base image", "uri": repository, "digest": {"sha256": digest}}
    # A placeholder exists only on this machine, so its id is all that identifies it.
    base_id = engine.image_id(image.base).removeprefix("sha256:")
    annotations = {"note": image.note, "imageId": f"sha256:{base_id}"}
    return {"name": "base image", "uri": image.base, "annotations": annotations}


def _describe_build_sources(root: Path, name: ImageName) -> Iterator[dict[str, Any]]:
    """Describe the commit, the Dockerfile and the lock file that an image is built from."""
    if commit := _read_git_output(root, "rev-parse", "HEAD"):
        changed = bool(_read_git_output(root, "status", "--porcelain"))
        yield {
            "name": "source",
            "digest": {"gitCommit": commit},
            **(
                {"annotations": {"note": "the checkout had uncommitted changes"}} if changed else {}
            ),
        }
    lock = f"requirements/{LOCKS.get(name, 'serve')}.txt"
    for path in (str(DOCKERFILES / f"{name}.Dockerfile"), lock):
        yield {"name": path, "digest": {"sha256": sha256_of_file(root / path)}}


def _read_git_output(root: Path, *arguments: str) -> str:
    """Return what Git prints about the checkout; empty if there is no checkout or no Git."""
    if not (root / ".git").exists():
        return ""
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=root, capture_output=True, text=True, check=False
        )
    except OSError:
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _encode_as_json_bytes(document: dict[str, Any]) -> bytes:
    return (json.dumps(document, indent=2) + "\n").encode()
