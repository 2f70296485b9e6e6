"""Orthanc as a clinic's archive, with its DICOMweb service."""

from __future__ import annotations

import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from required import require

from drdeploy.hosting.container_engine import find_free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")


class Archive:
    """A running Orthanc."""

    def __init__(self, port: int, dicom_port: int) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.dicomweb = f"{self.url}/dicom-web"
        self.peer = f"ORTHANC@127.0.0.1:{dicom_port}"

    def get(self, path: str) -> Any:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as response:
            return json.load(response)

    def read(self, path: str) -> bytes:
        with urllib.request.urlopen(f"{self.url}{path}", timeout=30) as response:
            return response.read()

    def list_classes(self, study: str) -> dict[str, list[str]]:
        """The instances of each modality in the study with this Study Instance UID."""
        found: dict[str, list[str]] = {}
        for tags in self._tags_of_instances():
            if tags["StudyInstanceUID"] == study:
                found.setdefault(tags["Modality"], []).append(tags["SOPInstanceUID"])
        return found

    def count_modalities(self) -> dict[str, dict[str, int]]:
        """The number of instances of each modality, by Study Instance UID."""
        found: dict[str, dict[str, int]] = {}
        for tags in self._tags_of_instances():
            of_study = found.setdefault(tags["StudyInstanceUID"], {})
            of_study[tags["Modality"]] = of_study.get(tags["Modality"], 0) + 1
        return found

    def _tags_of_instances(self) -> Iterator[dict[str, str]]:
        for number in self.get("/instances"):
            yield self.get(f"/instances/{number}/simplified-tags")


@contextmanager
def run_orthanc(folder: Path, port: int = 0) -> Iterator[Archive]:
    """Start an archive with its store in a folder, and stop it."""
    program = shutil.which("Orthanc") or "/usr/sbin/Orthanc"
    require(Path(program).exists(), "Orthanc (Debian's package orthanc)")
    require(PLUGIN.exists(), "Orthanc's DICOMweb (Debian's package orthanc-dicomweb)")
    port, dicom_port = port or find_free_port(), find_free_port()
    options = {
        "HttpPort": port, "DicomPort": dicom_port, "DicomAet": "ORTHANC", "Plugins": [str(PLUGIN)],
        "DicomAlwaysAllowStore": True, "DicomAlwaysAllowFind": True, "DicomCheckCalledAet": True,
        "StorageDirectory": str(folder), "IndexDirectory": str(folder),
        "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
    }  # fmt: skip
    settings = folder / "orthanc.json"
    settings.write_text(json.dumps(options))
    archive = Archive(port, dicom_port)
    with (folder / "orthanc.log").open("wb") as log:
        process = subprocess.Popen([program, settings], stdout=log, stderr=log, cwd=folder)
    try:
        _wait_for_answer(archive, process)
        yield archive
    finally:
        process.terminate()
        process.wait(30)


def _wait_for_answer(archive: Archive, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        try:
            archive.get("/system")
        except OSError:
            time.sleep(0.1)
        else:
            return
    message = "Orthanc does not answer; its folder has its log"
    raise RuntimeError(message)
