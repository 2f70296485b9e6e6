"""Write the manifests of the packaged archives again: what each threshold promises and keeps.

    python scripts/write_packaged_manifests.py

The networks are not trained again, and no threshold changes: only ``manifest.json`` in each
archive is written anew. Each operating point gets the sensitivity that its threshold was chosen
for, and its sensitivity and specificity on the test photographs, which
``evidence/mobilenet-idrid/metrics.json`` holds. The int8 manifest names the digest of the fp32
manifest, so it is renewed too. Afterwards, run ``scripts/write_wheel_sbom.py``, because the wheel's
bill of materials names the digests of the archives. Running this script twice changes nothing.
For research use; not a medical device.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import msgspec

from drdeploy.grader.artifacts import (
    Clinical,
    OperatingPoint,
    Rate,
    TestedRates,
    extract_archive,
    pack_archive,
)
from drdeploy.grader.box import FOLDER, NAME
from drdeploy.grader.training.calibration import DIGITS, HIGH_SENSITIVITY

if TYPE_CHECKING:
    from collections.abc import Mapping

METRICS = Path(__file__).resolve().parent.parent / "evidence" / NAME / "metrics.json"
PRECISIONS = ("fp32", "int8")
"""The packaged precisions; the int8 manifest refers to the fp32 manifest, so fp32 comes first."""
DETECTIONS = {2: "referable", 3: "vision_threatening"}


def main() -> None:
    """Renew the manifests, and the sizes of the archives in the evidence."""
    document = json.loads(METRICS.read_text(encoding="utf-8"))
    renew_manifests(FOLDER, document["test"])
    for precision in PRECISIONS:
        archive = FOLDER / f"{NAME}-{precision}.tar.gz"
        document["archives"][precision]["archive_bytes"] = archive.stat().st_size
    METRICS.write_text(f"{json.dumps(document, indent=2)}\n", encoding="utf-8")


def renew_manifests(folder: Path, tested: Mapping[str, Any]) -> None:
    """Write the manifests of the archives in a folder with the figures of their tests.

    Args:
        folder: The folder of the archives.
        tested: For each precision, the evaluation on the test photographs as a document for JSON.
    """
    reference_digest = ""
    for precision in PRECISIONS:
        archive = folder / f"{NAME}-{precision}.tar.gz"
        with tempfile.TemporaryDirectory() as temporary:
            artifact = extract_archive(archive, Path(temporary) / "model")
            manifest = artifact.manifest
            if manifest.clinical is not None:
                clinical = add_tested_rates(manifest.clinical, tested[precision])
                manifest = msgspec.structs.replace(manifest, clinical=clinical)
            if manifest.quantization is not None:
                quantization = msgspec.structs.replace(
                    manifest.quantization, reference_digest=reference_digest
                )
                manifest = msgspec.structs.replace(manifest, quantization=quantization)
            draft = Path(temporary) / archive.name
            pack_archive(artifact.entry_path, draft, manifest)
            archive.write_bytes(draft.read_bytes())
            digest = extract_archive(archive, Path(temporary) / "again").digest
        reference_digest = reference_digest or digest
        sys.stderr.write(f"{archive.name}: manifest sha256:{digest}\n")


def add_tested_rates(clinical: Clinical, tested: Mapping[str, Any]) -> Clinical:
    """Return the operating points with their targets and with their rates in a test.

    Args:
        clinical: The operating points.
        tested: The evaluation on the test photographs as a document for JSON.
    """
    points = tuple(_add_tested_rates(point, tested) for point in clinical.operating_points)
    return msgspec.structs.replace(clinical, operating_points=points)


def _add_tested_rates(point: OperatingPoint, tested: Mapping[str, Any]) -> OperatingPoint:
    found = tested[DETECTIONS[point.at_or_above]]["operating_points"][point.name]
    sensitivity, specificity = (
        Rate(
            *(round(found[name][limit], DIGITS) for limit in ("value", "low", "high")),
            found[name]["n"],
        )
        for name in ("sensitivity", "specificity")
    )
    return msgspec.structs.replace(
        point,
        target_sensitivity=HIGH_SENSITIVITY if point.name == "high_sensitivity" else None,
        tested=TestedRates(
            on=f"{tested['n']} test photographs of IDRiD from new capture sessions",
            sensitivity=sensitivity,
            specificity=specificity,
        ),
    )


if __name__ == "__main__":
    main()
