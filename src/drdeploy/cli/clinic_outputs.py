"""Write the results of ``drdeploy clinic triage`` to files, and send them to servers."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from drdeploy.cli.console import print_note
from drdeploy.errors import RequestRefused
from drdeploy.files import write_json_file

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from drdeploy.clinic.patients import GradedStudy
    from drdeploy.grader.artifacts import ModelArtifact


@dataclass(frozen=True)
class FailedFile:
    """A file or a study that could not be used, with the reason."""

    image: str
    error: str


@dataclass(frozen=True)
class ResultOutputs:
    """The folders and servers to which the results of a triage go.

    An attribute is None if the user did not name this folder or server.

    Attributes:
        fhir: Folder of FHIR bundles.
        post: Base address of a FHIR server.
        sr: Folder of structured reports.
        pdf: Folder of PDFs inside DICOM files.
        stow: Base address of an archive's DICOMweb service.
    """

    fhir: Path | None = None
    post: str | None = None
    sr: Path | None = None
    pdf: Path | None = None
    stow: str | None = None
    _made: dict[str, list[bytes]] = field(default_factory=dict)

    def check_servers(self) -> None:
        """Check that the servers may receive patients' data.

        Raises:
            InvalidInput: A URL is not https, and its server is not on this machine.
        """
        from drdeploy.clinic.http_exchange import check_server_url

        for option, url in (("--post", self.post), ("--stow", self.stow)):
            if url is not None:
                check_server_url(url, option=option)

    def write_results(
        self, studies: Mapping[str, GradedStudy], artifact: ModelArtifact
    ) -> list[FailedFile]:
        """Write the result files of each study; return the studies whose files cannot be made.

        Args:
            studies: The studies by name.
            artifact: The grader.
        """
        issued = datetime.now(UTC)
        if self.fhir is not None:
            self.fhir.mkdir(parents=True, exist_ok=True)
            for name, bundle in make_bundles(studies, artifact, issued).items():
                write_json_file(self.fhir / f"{name}.json", bundle)
            print_note(f"FHIR bundles written to {self.fhir}: {len(studies)}")
        failures: list[FailedFile] = []
        for name, study in studies.items() if self.sr or self.pdf or self.stow else ():
            try:
                self._made[name] = self._make_dicom_results(name, study, artifact, issued)
            except RequestRefused as error:
                failures.append(FailedFile(name, error.sentence))
        for kind, folder in (("Structured reports", self.sr), ("Pages", self.pdf)):
            if folder is not None:
                print_note(f"{kind} written to {folder}: {len(studies) - len(failures)}")
        return failures

    def _make_dicom_results(
        self, name: str, study: GradedStudy, artifact: ModelArtifact, issued: datetime
    ) -> list[bytes]:
        from drdeploy.clinic.dicom_results import encode_result, write_result
        from drdeploy.clinic.pdf_report import make_pdf_report
        from drdeploy.clinic.structured_report import make_structured_report

        made = []
        for kind, folder, make in (
            ("report", self.sr, make_structured_report),
            ("page", self.pdf, make_pdf_report),
        ):
            if folder is not None:
                result = make(study, artifact, issued=issued)
                made.append(write_result(folder, f"{name}-{kind}", result))
            elif self.stow is not None:
                made.append(encode_result(make(study, artifact, issued=issued)))
        return made

    def send_results(
        self,
        studies: Mapping[str, GradedStudy],
        artifact: ModelArtifact,
        files: Mapping[str, Path],
    ) -> list[FailedFile]:
        """Send each study's results to the servers; return the studies that a server refused.

        Args:
            studies: The studies by name.
            artifact: The grader.
            files: The file of each photograph, by the photograph's SOP Instance UID.

        Raises:
            ClinicError: A server cannot be reached, or refuses this sender.
        """
        from drdeploy.clinic.fhir_server import store_bundle

        by_server: list[FailedFile] = []
        if self.post is not None:
            by_server = [
                FailedFile(name, reason)
                for name, bundle in make_bundles(studies, artifact, datetime.now(UTC)).items()
                if (reason := store_bundle(self.post, bundle))
            ]
            print_note(f"FHIR bundles sent to {self.post}: {len(studies) - len(by_server)}")
        if self.stow is None:
            return by_server
        sent = {name: one for name, one in studies.items() if name in self._made}
        by_archive = [
            FailedFile(name, reason)
            for name, study in sent.items()
            if (reason := self._send_study(self.stow, name, study, files))
        ]
        print_note(f"Studies whose results were sent to {self.stow}: {len(sent) - len(by_archive)}")
        return [*by_server, *by_archive]

    def _send_study(
        self, archive: str, name: str, study: GradedStudy, files: Mapping[str, Path]
    ) -> str:
        """Send a study's photographs, then its results; return why a file was refused, or ""."""
        from drdeploy.clinic.dicomweb_storage import store_file
        from drdeploy.grader.photograph_files import read_photograph_bytes

        identifiers = dict.fromkeys(
            str(one.dataset.SOPInstanceUID) for eye in study.eyes for one in eye.photographs
        )
        try:
            for identifier in identifiers:
                if reason := store_file(archive, read_photograph_bytes(files[identifier])):
                    return reason
        except OSError as error:
            return f"{error.strerror or 'A photograph cannot be read'}."
        for data in self._made[name]:
            if reason := store_file(archive, data):
                return reason
        return ""


def make_bundles(
    studies: Mapping[str, GradedStudy], artifact: ModelArtifact, issued: datetime
) -> dict[str, Any]:
    """Return the FHIR bundle of each study, by the study's name."""
    from drdeploy.clinic.fhir import make_bundle

    return {name: make_bundle(one, artifact, issued=issued) for name, one in studies.items()}
