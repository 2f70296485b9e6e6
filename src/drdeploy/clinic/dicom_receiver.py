"""Receive photographs from cameras and archives by C-STORE (PS3.4, annex B).

The listener answers with success only when the photograph is on the disk and in the records. After
this answer, the camera may delete its copy.
"""

from __future__ import annotations

import ipaddress
import logging
import ssl
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Self

from drdeploy.clinic.bounded_log import BoundedLog
from drdeploy.clinic.disk_space import DISK_TOO_FULL, is_disk_too_full_for_photograph
from drdeploy.clinic.patients import check_dicom_identifiers, identify_patient
from drdeploy.errors import (
    ClinicError,
    InvalidInput,
    RequestRefused,
    turn_import_error_into_missing_extra,
)
from drdeploy.grader.dicom.opening import COMPRESSED, NATIVE, PHOTOGRAPH_CLASSES
from drdeploy.grader.dicom.photographs import DicomFile
from drdeploy.grader.fundus.limits import LOCAL_FILE_LIMITS
from drdeploy.units import KIB, MIB

with turn_import_error_into_missing_extra("clinic", "Receiving photographs"):
    from pydicom.dataset import Dataset
    from pynetdicom import AE, evt

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from pathlib import Path

    from drdeploy.clinic.records import ClinicRecords

VERIFICATION = "1.2.840.10008.1.1"
"""SOP class of C-ECHO (PS3.4, A.4)."""

ASSOCIATIONS_MAX = 10
SILENCE_S = 30.0
"""A connection on which the peer sends nothing for this long is closed."""
MESSAGE_BYTES_MAX = LOCAL_FILE_LIMITS.max_bytes
LEAST_BYTES_PER_S = 16 * KIB
"""The lowest rate at which a peer may send. A photograph that arrives more slowly may take at most
:data:`SILENCE_S`; then the peer is cut off."""
PDU_BYTES_MAX = MIB
"""A protocol data unit of more bytes than this ends the connection. Peers are asked to send units
of at most 16 KiB."""
COMMAND_BYTES_MAX = 16 * KIB
"""A command set of more bytes than this ends the association. The command set of C-STORE has a few
hundred bytes, and the library takes minutes to read a command set of a few megabytes."""

SUCCESS, OUT_OF_RESOURCES, CANNOT_UNDERSTAND = 0x0000, 0xA700, 0xC000
"""Statuses of C-STORE (PS3.4, B.2.3)."""
_COMMENT_MAX = 64
_IS_COMMAND = 1
"""The bit of a fragment's first byte that is set in a command, and not in data (PS3.8, E.2)."""

_log = logging.getLogger("drdeploy.clinic")
_log_of_senders = BoundedLog(_log)


@dataclass(frozen=True)
class ListeningAddress:
    """The address of a listener, and who may send to it.

    Attributes:
        host: Address of this machine.
        port: The port; 0 means any free port.
        title: The listener's AE title.
        callers: AE titles of those who may send; empty for all.
        certificate: The listener's certificate and chain (PEM), for TLS.
        key: The certificate's private key (PEM).
        authority: Certificate authorities (PEM). A peer must show a certificate that one of them
            has signed. With None, peers need no certificate.
        may_be_plain: Whether patients' data may cross a network without TLS.
    """

    host: str = "127.0.0.1"
    port: int = 11112
    title: str = "DRDEPLOY"
    callers: tuple[str, ...] = ()
    certificate: Path | None = None
    key: Path | None = None
    authority: Path | None = None
    may_be_plain: bool = False

    def make_tls_context(self) -> ssl.SSLContext | None:
        """Return the context for TLS; None for plain DICOM.

        Raises:
            InvalidInput: The certificate or key cannot be used, or TLS is missing where it is
                needed.
        """
        if self.certificate is None:
            if self.key is not None or self.authority is not None:
                raise InvalidInput(
                    "TLS needs a certificate", where="--tls-certificate", remedy="Give its file"
                )
            if not self.may_be_plain and not is_loopback(self.host):
                raise InvalidInput(
                    "Photographs with patients' names would cross the network without encryption",
                    where=f"--host {self.host}",
                    remedy="Give --tls-certificate and --tls-key, or pass --plain if the network "
                    "is separate and you accept the risk",
                )
            return None
        context = _ContextOfThreads(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        try:
            context.load_cert_chain(self.certificate, self.key)
            if self.authority is not None:
                context.verify_mode = ssl.CERT_REQUIRED
                context.load_verify_locations(self.authority)
        except (OSError, ssl.SSLError) as error:
            raise InvalidInput(
                "The certificate, its key or the certificates of the authorities cannot be used: "
                f"{error.strerror or error}",
                where="--tls-certificate, --tls-key, --tls-authority",
                remedy="Give PEM files that you may read, and the key that belongs to the "
                "certificate",
            ) from error
        return context


class _ContextOfThreads(ssl.SSLContext):
    """Delays the TLS handshake until the first read.

    Each connection is read in a thread of its own. Without the delay, the handshake would run in
    the one thread that accepts connections, and a peer that sends nothing would block all others.
    """

    def wrap_socket(self, sock: socket.socket, *args: Any, **options: Any) -> ssl.SSLSocket:
        options["do_handshake_on_connect"] = False
        return super().wrap_socket(sock, *args, **options)


def is_loopback(host: str) -> bool:
    """Return whether an address can be reached from this machine only."""
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


@dataclass
class _Progress:
    """How much of a message has arrived on an association."""

    began_s: float = field(default_factory=time.monotonic)
    size: int = 0
    command_size: int = 0


class PhotographListener:
    """Takes photographs by C-STORE and answers C-ECHO.

    ::

        with PhotographListener(ListeningAddress(), records) as listener:
            print(listener.port)
    """

    def __init__(
        self,
        address: ListeningAddress,
        records: ClinicRecords,
        on_arrival: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare a listener; nothing is opened yet.

        Args:
            address: The address and the port on which the listener takes photographs.
            records: The records that store the photographs.
            on_arrival: Called after each new photograph.

        Raises:
            InvalidInput: The address, a title or the certificate cannot be used.
        """
        self._address = address
        self._records = records
        self._on_arrival = on_arrival
        self._tls = address.make_tls_context()
        self._progress: dict[int, _Progress] = {}
        self._lock = threading.Lock()
        self._server: Any = None
        try:
            self._entity = AE(ae_title=address.title)
            self._entity.require_calling_aet = list(address.callers)
        except (TypeError, ValueError) as error:
            raise InvalidInput(
                "An AE title has one to 16 characters of ASCII, and no backslash",
                where="--title, --caller",
                remedy="Give a title like DRDEPLOY",
            ) from error
        self._entity.require_called_aet = True
        self._entity.maximum_associations = ASSOCIATIONS_MAX
        self._entity.network_timeout = self._entity.acse_timeout = SILENCE_S
        self._entity.dimse_timeout = SILENCE_S
        self._entity.add_supported_context(VERIFICATION)
        for photograph_class in PHOTOGRAPH_CLASSES:
            self._entity.add_supported_context(photograph_class, sorted(NATIVE | COMPRESSED))

    def __enter__(self) -> Self:
        """Open the port.

        Raises:
            ClinicError: The port cannot be opened.
        """
        handlers: Any = [
            (evt.EVT_C_STORE, self._store_photograph_and_answer),
            (evt.EVT_CONN_OPEN, self._limit_size_and_silence_of_messages),
            (evt.EVT_PDU_RECV, self._cut_off_large_or_slow_message),
            (evt.EVT_DIMSE_RECV, self._finish_message_or_close_connection),
            (evt.EVT_CONN_CLOSE, self._clean_up_after_connection),
        ]
        try:
            self._server = self._entity.start_server(
                (self._address.host, self._address.port),
                block=False,
                evt_handlers=handlers,
                ssl_context=self._tls,
            )
        except OSError as error:
            raise ClinicError(
                f"The program cannot listen at this address: {error.strerror or error}",
                where=f"{self._address.host}:{self._address.port}",
                remedy="Give an address of this machine with --host, and a free port with --port",
            ) from error
        # The library limits only associations. Without this limit, peers that only connect would
        # cost a thread each.
        self._server.verify_request = lambda *_: (
            len(self._server.active_associations) <= 2 * ASSOCIATIONS_MAX
        )
        return self

    def __exit__(self, *_: object) -> None:
        """Close the port, and abort associations in progress; the senders must send again."""
        self._server.shutdown()  # first, so that no new connection comes in
        for association in self._entity.active_associations:
            # Before an association is requested, the user cannot abort it (PS3.8, table 9-10). The
            # library's thread would end with InvalidEventError, and leave the connection open.
            if not association.is_established:
                _close_connection(association)
        self._entity.shutdown()

    @property
    def port(self) -> int:
        """The port on which the listener listens."""
        return int(self._server.server_address[1])

    # ---- what peers send

    def _store_photograph_and_answer(self, event: evt.Event) -> Dataset:
        answer = Dataset()
        try:
            content = event.encoded_dataset()
            file = DicomFile.open(content)
            check_dicom_identifiers(file.dataset)
            if not file.laterality:
                return _make_dicom_refusal_status(
                    answer, CANNOT_UNDERSTAND, "No Image Laterality: which eye is shown?"
                )
            if is_disk_too_full_for_photograph(self._records.store.folder.parent):
                return _make_dicom_refusal_status(answer, OUT_OF_RESOURCES, DISK_TOO_FULL)
            is_new = self._records.add_photograph(
                content,
                patient=identify_patient(file.dataset),
                study_uid=str(file.dataset.StudyInstanceUID),
                sop_instance_uid=str(file.dataset.SOPInstanceUID),
            )
        except RequestRefused as error:
            return _make_dicom_refusal_status(answer, CANNOT_UNDERSTAND, error.sentence)
        except Exception as error:  # noqa: BLE001 - of the disk, of the database: the peer may send again
            _log.error("a photograph could not be kept: %s", type(error).__name__)
            return _make_dicom_refusal_status(
                answer, OUT_OF_RESOURCES, "The photograph could not be kept."
            )
        if is_new:
            self._on_arrival()
        answer.Status = SUCCESS
        return answer

    def _limit_size_and_silence_of_messages(self, event: evt.Event) -> None:
        """Limit the size of a protocol data unit, and the time that it may take to arrive.

        The limits are needed because the library reads a whole unit, of up to 4 GiB, before it
        calls any handler.
        """
        wrapper: Any = event.assoc.dul.socket
        connection: socket.socket = wrapper.socket

        def receive_within_limits(size: int) -> bytearray:
            if size > PDU_BYTES_MAX:
                message = "the protocol data unit is too large"
                raise OSError(message)
            content, end_s = bytearray(), time.monotonic() + SILENCE_S
            while len(content) < size:
                connection.settimeout(max(end_s - time.monotonic(), 0.001))
                piece = connection.recv(size - len(content))
                if not piece:
                    break
                content += piece
            connection.settimeout(SILENCE_S)
            return content

        connection.settimeout(SILENCE_S)
        wrapper.recv = receive_within_limits

    def _cut_off_large_or_slow_message(self, event: evt.Event) -> None:
        if type(event.pdu).__name__ != "P_DATA_TF":
            return
        with self._lock:
            progress = self._progress.setdefault(id(event.assoc), _Progress())
        progress.size += len(event.pdu)
        unit: Any = event.pdu
        values = [one.presentation_data_value for one in unit.presentation_data_value_items]
        progress.command_size += sum(len(one) for one in values if one and one[0] & _IS_COMMAND)
        elapsed_s = time.monotonic() - progress.began_s
        is_slow = elapsed_s > SILENCE_S and progress.size < elapsed_s * LEAST_BYTES_PER_S
        is_command_large = progress.command_size > COMMAND_BYTES_MAX
        if progress.size > MESSAGE_BYTES_MAX or is_slow or is_command_large:
            why = (
                "its command is too large" if is_command_large
                else "the photograph arrives too slowly" if is_slow
                else f"the photograph is larger than {MESSAGE_BYTES_MAX} bytes"
            )  # fmt: skip
            _log_of_senders.write_warning("an association was cut off: %s", why)
            _close_connection(event.assoc)
            # Otherwise the library would still read what has arrived.
            unit.presentation_data_value_items.clear()

    def _finish_message_or_close_connection(self, event: evt.Event) -> None:
        self._forget_progress_of_association(event)
        # No window of asynchronous operations was negotiated, so a peer must wait for each answer.
        # A peer that does not wait would fill the memory with unread photographs.
        if event.assoc.dimse.msg_queue.qsize():
            _log_of_senders.write_warning(
                "an association was cut off: the peer does not wait for answers"
            )
            _close_connection(event.assoc)

    def _clean_up_after_connection(self, event: evt.Event) -> None:
        self._forget_progress_of_association(event)
        association: Any = event.assoc
        if association.requestor.primitive is None:
            # The peer left before it requested an association. The library would still wait for the
            # request.
            association.dul.to_user_queue.put(None)

    def _forget_progress_of_association(self, event: evt.Event) -> None:
        with self._lock:
            self._progress.pop(id(event.assoc), None)


def _close_connection(association: Any) -> None:
    """Close the socket.

    The library notices this, and ends the association.
    """
    wrapper = association.dul.socket
    if wrapper is not None:
        wrapper.close()


def _make_dicom_refusal_status(answer: Dataset, status: int, sentence: str) -> Dataset:
    """Fill in the answer that refuses a photograph; the reason is cut to 64 characters."""
    answer.Status = status
    answer.ErrorComment = sentence.encode("ascii", "replace").decode()[:_COMMENT_MAX]
    _log_of_senders.write_warning("a photograph was refused: %s", sentence)
    return answer
