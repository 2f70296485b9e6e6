"""The port for cameras: silence, floods, large units and closed connections cost nothing."""

import logging
import os
import socket
import ssl
import struct
import threading
import time
from types import SimpleNamespace

import pytest

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("pynetdicom", reason="needs the extra clinic")

from certificates import make_certificate
from pynetdicom import AE

from drdeploy import log_limit
from drdeploy.clinic import dicom_receiver
from drdeploy.clinic.bounded_log import BoundedLog
from drdeploy.clinic.dicom_receiver import VERIFICATION, ListeningAddress, PhotographListener
from drdeploy.clinic.records import ClinicRecords
from drdeploy.photograph_names import PhotographNames


@pytest.fixture
def records(tmp_path):
    opened = ClinicRecords.open(tmp_path / "records", names=PhotographNames(b"k" * 32))
    yield opened
    opened.close()


@pytest.fixture
def quick(monkeypatch):
    """Half a second of silence is too much."""
    monkeypatch.setattr(dicom_receiver, "SILENCE_S", 0.5)


def echo(port, tls=None):
    entity = AE(ae_title="CAMERA")
    entity.add_requested_context(VERIFICATION)
    arguments = (tls, "localhost") if tls else None
    association = entity.associate("127.0.0.1", port, ae_title="DRDEPLOY", tls_args=arguments)
    assert association.is_established
    status = association.send_c_echo().Status
    association.release()
    return status


def is_closed(connection):
    connection.settimeout(60)
    try:
        return connection.recv(1) == b""
    except ConnectionResetError:
        return True


@pytest.mark.parametrize(
    "sent",
    [
        pytest.param(b"\x01\x00\x00", id="half a head"),
        pytest.param(b"\x01\x00\x00\x00\x01\x00half", id="half a unit"),
        pytest.param(b"\x01\x00\xff\xff\xff\xff", id="four gigabytes"),
        pytest.param(b"", id="nothing"),
    ],
)
def test_a_peer_that_falls_silent_is_cut_off_and_the_listener_stops(records, quick, sent):
    with PhotographListener(ListeningAddress(port=0), records) as listener:
        with socket.create_connection(("127.0.0.1", listener.port)) as peer:
            peer.sendall(sent)
            assert is_closed(peer)
        assert echo(listener.port) == 0
    assert not [one for one in threading.enumerate() if "AcceptorThread" in one.name]


def test_a_listener_that_ends_closes_what_has_asked_for_nothing_and_aborts_the_rest(
    records, monkeypatch
):
    """PS3.8 knows no abort before an association is requested: a thread of the library ended."""
    faults = []
    monkeypatch.setattr(threading, "excepthook", faults.append)
    before = set(threading.enumerate())
    listener = PhotographListener(ListeningAddress(port=0), records)
    entity = AE(ae_title="CAMERA")
    entity.add_requested_context(VERIFICATION)
    with listener:
        silent = socket.create_connection(("127.0.0.1", listener.port))
        association = entity.associate("127.0.0.1", listener.port, ae_title="DRDEPLOY")
        wait_until(lambda: "Sta2" in states_of(listener))
        assert sorted(states_of(listener)) == ["Sta2", "Sta6"]
    assert is_closed(silent)
    silent.close()
    association.join(60)
    assert association.is_aborted
    wait_until(lambda: set(threading.enumerate()) <= before)
    assert [one.exc_value for one in faults] == []


def states_of(listener):
    """The states of PS3.8, 9.2, that the associations are in."""
    return [one.dul.state_machine.current_state for one in listener._entity.active_associations]


def wait_until(is_so):
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_connections_that_are_closed_at_once_take_no_place(records):
    with PhotographListener(ListeningAddress(port=0), records) as listener:
        for _ in range(dicom_receiver.ASSOCIATIONS_MAX + 5):
            socket.create_connection(("127.0.0.1", listener.port)).close()
        wait_until(lambda: not listener._entity.active_associations)
        assert echo(listener.port) == 0


def test_a_large_command_is_cut_off_before_it_is_read(records, caplog):
    """The library takes minutes to read a command set of a few megabytes."""
    with PhotographListener(ListeningAddress(port=0), records) as listener:
        entity = AE(ae_title="CAMERA")
        entity.add_requested_context(VERIFICATION)
        association = entity.associate("127.0.0.1", listener.port, ae_title="DRDEPLOY")
        elements = b"".join(struct.pack("<HHI", 8, number, 0) for number in range(3000))
        fragment = bytes([1, dicom_receiver._IS_COMMAND | 2]) + elements
        item = struct.pack(">I", len(fragment)) + fragment
        association.dul.socket.socket.sendall(b"\x04\x00" + struct.pack(">I", len(item)) + item)
        association.join(60)
        assert not association.is_alive()
        assert "its command is too large" in caplog.text
        assert echo(listener.port) == 0


def test_a_sender_of_many_wrong_files_does_not_fill_the_log(records, monkeypatch, caplog):
    import numpy as np
    from dicom_files import make_dataset

    clock = SimpleNamespace(now_s=0.0)
    log = BoundedLog(logging.getLogger("drdeploy.clinic"), lambda: clock.now_s, lines=2)
    monkeypatch.setattr(dicom_receiver, "_log_of_senders", log)
    dataset = make_dataset(np.zeros((1, 1, 3), np.uint8), Rows=0)
    with PhotographListener(ListeningAddress(port=0), records) as listener:
        entity = AE(ae_title="CAMERA")
        entity.add_requested_context(dataset.SOPClassUID)
        association = entity.associate("127.0.0.1", listener.port, ae_title="DRDEPLOY")
        for _ in range(5):
            assert association.send_c_store(dataset).Status == dicom_receiver.CANNOT_UNDERSTAND
        assert caplog.text.count("a photograph was refused") == 2
        clock.now_s = log_limit.WINDOW_S
        association.send_c_store(dataset)
        association.release()
    assert caplog.text.count("a photograph was refused") == 3
    assert "3 more warnings were not written" in caplog.text


def test_a_silent_peer_of_tls_does_not_keep_others_out(records, tmp_path):
    certificate, key = make_certificate(tmp_path, alternative_name="DNS:localhost")
    client = ssl.create_default_context(cafile=certificate)
    address = ListeningAddress(port=0, certificate=certificate, key=key)
    with PhotographListener(address, records) as listener:
        silent = socket.create_connection(("127.0.0.1", listener.port))
        assert echo(listener.port, client) == 0
        silent.close()


def test_a_database_that_fails_is_no_fault_of_the_photograph(records, monkeypatch, caplog):
    import numpy as np
    from dicom_files import EYE, as_bytes, encapsulate, make_dataset
    from PIL import Image
    from pydicom import dcmread, uid
    from sqlalchemy.exc import OperationalError

    def fail(*_, **__):
        raise OperationalError("SELECT 4711", {}, Exception())

    monkeypatch.setattr(records, "add_photograph", fail)
    with Image.open(EYE) as image:
        rows, columns = image.height, image.width
    dataset = make_dataset(
        np.zeros((1, 1, 3), np.uint8), photometric="YBR_FULL_422", Rows=rows, Columns=columns
    )
    wrapped = encapsulate(dataset, [EYE.read_bytes()], uid.JPEGBaseline8Bit)
    with PhotographListener(ListeningAddress(port=0), records) as listener:
        entity = AE(ae_title="CAMERA")
        entity.add_requested_context(dataset.SOPClassUID, uid.JPEGBaseline8Bit)
        association = entity.associate("127.0.0.1", listener.port, ae_title="DRDEPLOY")
        import io

        status = association.send_c_store(dcmread(io.BytesIO(as_bytes(wrapped)))).Status
        association.release()
    assert status == dicom_receiver.OUT_OF_RESOURCES
