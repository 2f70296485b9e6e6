"""Sending by C-STORE to an archive that sends too much, or never ends."""

import os
import struct
import threading
import time

import numpy as np
import pytest

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("pynetdicom", reason="needs the extra clinic")

from dicom_files import as_bytes, make_dataset
from pynetdicom import AE, evt
from pynetdicom.sop_class import OphthalmicPhotography8BitImageStorage

from drdeploy.clinic import dicom_sender
from drdeploy.clinic.dicom_sender import ArchivePeer
from drdeploy.errors import ClinicError, InvalidInput


def refuse_what_archive_sends(pieces):
    """Send a file to an archive that sends pieces instead of an answer, until it is cut off."""
    begun, ended = threading.Event(), threading.Event()

    def send_pieces(event):
        if type(event.pdu).__name__ != "P_DATA_TF" or begun.is_set():
            return
        begun.set()
        connection = event.assoc.dul.socket.socket

        def send_until_cut_off():
            try:
                for piece in pieces:
                    connection.sendall(piece)
            except OSError:
                pass
            ended.set()
            event.assoc.abort()

        threading.Thread(target=send_until_cut_off, daemon=True).start()

    archive = AE()
    archive.add_supported_context(OphthalmicPhotography8BitImageStorage)
    handlers = [(evt.EVT_PDU_RECV, send_pieces), (evt.EVT_C_STORE, lambda _: ended.wait(60) * 0)]
    running = archive.start_server(("127.0.0.1", 0), block=False, evt_handlers=handlers)
    try:
        peer = ArchivePeer("ARCHIVE", "127.0.0.1", running.server_address[1])
        with pytest.raises(ClinicError, match="ends the association without an answer"):
            peer.send_file(as_bytes(make_dataset(np.zeros((1, 1, 3), np.uint8))))
        assert ended.wait(60)
    finally:
        running.shutdown()


def test_an_archive_does_not_fill_the_memory():
    left = iter(range(64))
    unit = struct.pack(">BBI", 4, 0, 2**32 - 1)
    refuse_what_archive_sends((unit if number == 0 else bytes(2**20)) for number in left)
    assert next(left, None) is not None  # it was cut off before it had sent everything


def test_an_archive_that_is_never_silent_and_never_ends_is_cut_off(monkeypatch):
    monkeypatch.setattr(dicom_sender, "EXCHANGE_S", 0.5)
    left = iter(range(1000))

    def draw_out():
        yield struct.pack(">BBI", 4, 0, 60_000)
        for _ in left:
            yield b"\0"
            time.sleep(0.02)

    refuse_what_archive_sends(draw_out())
    assert next(left, None) is not None


@pytest.mark.parametrize(
    "peer", ["\u00c4RCHIV@a.example:104", "A\x01B@a.example:104", "A@a..b:104"]
)
def test_a_title_or_host_that_no_archive_can_have_is_refused_at_once(peer):
    with pytest.raises(InvalidInput, match="not given as TITLE@HOST:PORT"):
        ArchivePeer.parse_ae_title_and_address(peer, option="--send")
    own = ArchivePeer.parse_ae_title_and_address("PACS-1_?[x]~@[::1]:104", option="--send")
    assert own == ArchivePeer("PACS-1_?[x]~", "::1", 104)
