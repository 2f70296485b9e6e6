"""Send DICOM files to an archive by C-STORE (PS3.4, annex B)."""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import Any, Self

from drdeploy.errors import ClinicError, InvalidInput, turn_import_error_into_missing_extra

with turn_import_error_into_missing_extra("clinic", "Sending DICOM files"):
    import pydicom
    from pynetdicom import AE, evt

TIMEOUT_S = 30.0
OWN_TITLE = "DRDEPLOY"
_PEER = re.compile(r"(?P<title>[^\s\\@]{1,16})@(?P<host>[^\s@/]+):(?P<port>[0-9]{1,5})")
_WARNINGS = range(0xB000, 0xC000)
_OUT_OF_RESOURCES = range(0xA700, 0xA800)
_DUPLICATE = 0x0111
_CHECK_ARCHIVE = "Check the archive's address and AE title, and that the archive knows DRDEPLOY"


@dataclass(frozen=True)
class ArchivePeer:
    """An archive that takes files by C-STORE.

    Attributes:
        title: The archive's AE title.
        host: The archive's address.
        port: The archive's port.
    """

    title: str
    host: str
    port: int

    @classmethod
    def parse_ae_title_and_address(cls, text: str, *, option: str) -> Self:
        """Read ``TITLE@HOST:PORT``.

        Raises:
            InvalidInput: The text does not have this form.
        """
        found = _PEER.fullmatch(text)
        if found is None or not 0 < int(found["port"]) < 65536:
            raise InvalidInput(
                "The archive is not given as TITLE@HOST:PORT",
                where=f"{option} {text}",
                remedy="Write it as ORTHANC@127.0.0.1:4242",
            )
        return cls(found["title"], found["host"].strip("[]"), int(found["port"]))

    def send_file(self, content: bytes) -> str:
        """Send a DICOM file as it is, without changing its transfer syntax.

        Returns:
            A sentence that says why the archive refuses the file; empty if it accepts the file.

        Raises:
            ClinicError: The archive cannot be reached, or ends the association.
        """
        dataset = pydicom.dcmread(io.BytesIO(content))
        entity = AE(ae_title=OWN_TITLE)
        entity.acse_timeout = entity.dimse_timeout = entity.network_timeout = TIMEOUT_S
        entity.connection_timeout = TIMEOUT_S
        syntax = dataset.file_meta.TransferSyntaxUID
        entity.add_requested_context(dataset.SOPClassUID, syntax)
        # Without this handler, the library would wait forever for an archive that stops answering.
        handlers: Any = [(evt.EVT_CONN_OPEN, _limit_silence_of_archive)]
        try:
            association = entity.associate(
                self.host, self.port, ae_title=self.title, evt_handlers=handlers
            )
        except OSError as error:  # the host name is unknown
            raise self._make_error("cannot be reached") from error
        if not association.is_established:
            if association.rejected_contexts:  # the library has then aborted the association
                return (
                    f"The archive does not accept {dataset.SOPClassUID.name} with the transfer "
                    f"syntax {syntax.name}."
                )
            if association.is_rejected:
                raise self._make_error(
                    "does not accept the AE title of this program or of the archive"
                )
            raise self._make_error("cannot be reached")
        try:
            status = association.send_c_store(dataset).get("Status")
        finally:
            association.release()
        if status is None:
            raise self._make_error("ends the association without an answer")
        if status in {0, _DUPLICATE} or status in _WARNINGS:
            return ""
        if status in _OUT_OF_RESOURCES:
            raise self._make_error(
                "has no space at the moment", "Free space in the archive; the file is sent again"
            )
        return f"The archive refuses the file with status {status:04X}H."

    def _make_error(self, what: str, remedy: str = _CHECK_ARCHIVE) -> ClinicError:
        return ClinicError(
            f"The archive {what}", where=f"{self.title}@{self.host}:{self.port}", remedy=remedy
        )


def _limit_silence_of_archive(event: evt.Event) -> None:
    wrapper = event.assoc.dul.socket
    if wrapper is not None and wrapper.socket is not None:
        wrapper.socket.settimeout(TIMEOUT_S)
