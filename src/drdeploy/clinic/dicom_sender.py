"""Send DICOM files to an archive by C-STORE (PS3.4, annex B)."""

from __future__ import annotations

import io
import re
import socket
from dataclasses import dataclass
from typing import Any, Self

from drdeploy.clinic.http_exchange import EXCHANGE_S, ExchangeTimeLimit
from drdeploy.errors import ClinicError, InvalidInput, turn_import_error_into_missing_extra
from drdeploy.units import KIB

with turn_import_error_into_missing_extra("clinic", "Sending DICOM files"):
    import pydicom
    from pynetdicom import AE, evt

TIMEOUT_S = 30.0
ANSWER_BYTES_MAX = 64 * KIB
"""The largest number of bytes that an archive may send while it takes a file. It answers with a few
hundred.
"""
OWN_TITLE = "DRDEPLOY"
# An AE title has only characters of ASCII (PS3.5, 6.2: AE).
_PEER = re.compile(r"(?P<title>[!-?A-\[\]-~]{1,16})@(?P<host>[^\s@/]+):(?P<port>[0-9]{1,5})")
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
        if (
            found is None
            or not 0 < int(found["port"]) < 65536
            or not _is_possible_host_name(found["host"])
        ):
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
        entity.add_requested_context(dataset.SOPClassUID, dataset.file_meta.TransferSyntaxUID)
        with ExchangeTimeLimit(EXCHANGE_S) as limit:
            return self._send_dataset(entity, dataset, limit)

    def _send_dataset(
        self, entity: AE, dataset: pydicom.FileDataset, limit: ExchangeTimeLimit
    ) -> str:
        handlers: Any = [(evt.EVT_CONN_OPEN, _limit_answer_of_archive, [limit])]
        syntax = dataset.file_meta.TransferSyntaxUID
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


def _is_possible_host_name(host: str) -> bool:
    """Return whether the library can look up a host name; no part of it may be empty or long."""
    try:
        host.encode("idna")
    except ValueError:
        return False
    return True


def _limit_answer_of_archive(event: evt.Event, limit: ExchangeTimeLimit) -> None:
    """Limit the size of what an archive sends, its silence, and the time of the association.

    Without the limits, the library would wait forever for an archive that stops answering, and
    would read a protocol data unit of up to 4 GiB into memory.
    """
    wrapper: Any = event.assoc.dul.socket
    if wrapper is None or wrapper.socket is None:
        return
    connection: socket.socket = wrapper.socket
    connection.settimeout(TIMEOUT_S)
    limit.watch(connection)
    receive, received = wrapper.recv, 0

    def receive_within_limit(size: int) -> bytearray:
        nonlocal received
        received += size
        if received > ANSWER_BYTES_MAX:
            connection.shutdown(socket.SHUT_RDWR)
            message = "the archive sends more than an answer"
            raise OSError(message)
        content: bytearray = receive(size)
        return content

    wrapper.recv = receive_within_limit
