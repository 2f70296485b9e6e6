"""A row survives the round trip, the kill and the half-written line."""

import csv
import errno
import io
import os
import string
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drdeploy.errors import StudyError
from drdeploy.study.measurements.journal import Journal, read_complete_rows
from drdeploy.study.measurements.measurement import (
    COLUMNS,
    Measurement,
    decode_rows,
    encode_header,
    encode_row,
)
from drdeploy.study.measurements.results import ResultsFolder

BRIEF_COLUMNS = (
    "study, trial, platform, isolation, model, architecture, weights, precision, profile, image, "
    "endpoint_kind, memory_mb, instance_type, instance_count, vcpu, scenario, sequence, is_warmup, "
    "start, outcome, status, error, scheduled_at, started_at, total_latency_s, requests_ahead, "
    "startup_s, photograph_count, container_latency_s, "
    "prediction_s, decode_s, transform_s, model_setup_s, model_latency_s, "
    "overhead_latency_s, photograph, payload_bytes, label, "
    "grade, model_digest, container_id, container_invocation, run_id"
)

texts = st.text(alphabet=st.characters(exclude_characters="\r\n\0", exclude_categories=["Cs"]))
seconds = st.floats(0, 1e6)
times = st.datetimes(timezones=st.just(UTC), min_value=datetime(1970, 1, 1))  # noqa: DTZ001 - hypothesis adds the zone
measurements = st.builds(
    Measurement,
    **dict.fromkeys(
        (
            *("study", "trial", "isolation", "model", "architecture", "weights", "precision"),
            *("profile", "image", "endpoint_kind", "instance_type", "scenario", "error"),
            *("photograph", "label", "model_digest", "container_id", "run_id"),
        ),
        texts,
    ),
    platform=st.sampled_from(["local", "aws"]),
    start=st.sampled_from(["cold", "warm", ""]),
    outcome=st.sampled_from(["ok", "throttled", "wrong_start"]),
    scheduled_at=times,
    started_at=times,
    total_latency_s=seconds,
    container_latency_s=st.none() | seconds,
    memory_mb=st.none() | st.integers(),
    vcpu=st.none() | seconds,
    grade=st.none() | st.integers(0, 4),
)

ROW = Measurement(
    study="quick",
    trial="mobilenet-fp32-lean-1024mb-warm",
    platform="local",
    isolation="process",
    model="mobilenet",
    architecture="MobileNet",
    weights="random",
    precision="fp32",
    profile="lean",
    image="drdeploy:lean",
    endpoint_kind="serverless",
    memory_mb=1024,
    scenario="warm",
    sequence=1,
    is_warmup=False,
    outcome="ok",
    status=200,
    scheduled_at=datetime(2025, 1, 1, tzinfo=UTC),
    started_at=datetime(2025, 1, 1, tzinfo=UTC),
    total_latency_s=0.1,
    photograph="a.jpg",
    payload_bytes=3,
    run_id="r1",
)


def lines_of(content):
    return content.decode().split("\n")[:-1]


def test_the_columns_are_those_that_others_rely_on():
    assert tuple(BRIEF_COLUMNS.split(", ")) == COLUMNS


@given(measurements)
def test_a_row_survives_the_round_trip(measurement):
    content = encode_header() + encode_row(measurement)
    assert decode_rows(lines_of(content), where="x") == [measurement]


def test_a_text_of_a_row_is_no_formula():
    row = Measurement(**{**vars(ROW), "error": "=1+1", "photograph": "-a.jpg"})
    line = encode_row(row).decode()
    assert ",'=1+1," in f"{line},"
    assert "'-a.jpg" in line


@given(st.text(alphabet=string.printable))
def test_a_row_is_one_line_whatever_its_texts_hold(text):
    row = Measurement(**{**vars(ROW), "error": text, "photograph": text})
    assert encode_row(row).count(b"\n") == 1


def test_values_are_written_as_the_contract_says():
    row = dict(zip(COLUMNS, next(csv.reader(io.StringIO(encode_row(ROW).decode()))), strict=True))
    assert (row["is_warmup"], row["started_at"], row["grade"]) == (
        "false",
        "2025-01-01T00:00:00.000000Z",
        "",
    )


def test_rows_come_back_in_the_order_they_were_appended(tmp_path):
    path = tmp_path / "results" / "measurements.csv"
    rows = [Measurement(**{**vars(ROW), "sequence": n}) for n in range(3)]
    for row in rows:
        with Journal(path) as journal:
            journal.append_row(row)
    assert read_complete_rows(path) == rows
    assert path.read_bytes().count(encode_header()) == 1


@given(cut=st.integers(1, len(encode_row(ROW))))
def test_a_half_written_line_is_cut_off_and_the_rest_kept(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("journal") / "measurements.csv"
    path.write_bytes(encode_header() + encode_row(ROW) + encode_row(ROW)[:-cut])
    assert read_complete_rows(path) == [ROW]
    with Journal(path) as journal:
        journal.append_row(ROW)
    assert read_complete_rows(path) == [ROW, ROW]


def test_a_row_that_does_not_fit_on_the_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "measurements.csv"
    write, is_full = os.write, False

    def limited(file, content):
        nonlocal is_full
        if not is_full and len(content) > 50:
            is_full = True
            return write(file, content[:50])
        if is_full:
            raise OSError(errno.ENOSPC, "No space left on device")
        return write(file, content)

    with Journal(path) as journal:
        journal.append_row(ROW)
        before = path.read_bytes()
        monkeypatch.setattr(os, "write", limited)
        with pytest.raises(OSError, match="No space left") as failure:
            journal.append_row(ROW)
        assert failure.value.filename == str(path)
        assert path.read_bytes() == before
        monkeypatch.undo()
        journal.append_row(ROW)  # of another thread, or after room was made
        assert journal.read_rows() == [ROW, ROW]


def test_a_row_that_the_disk_took_and_does_not_promise_to_keep_stays_once(tmp_path, monkeypatch):
    path = tmp_path / "measurements.csv"

    def refuse(_file):
        raise OSError(errno.EDQUOT, "Disk quota exceeded")  # as a network file system does

    with Journal(path) as journal:
        monkeypatch.setattr(os, "fsync", refuse)
        with pytest.raises(OSError, match="quota") as failure:
            journal.append_row(ROW)
        assert failure.value.filename == str(path)
        assert journal.read_rows() == [ROW]


def test_a_run_that_is_killed_while_it_replaces_a_file_leaves_no_draft_to_the_next(tmp_path):
    draft = tmp_path / ".measurements.csv.0123abcd.part"
    draft.touch()
    with ResultsFolder(tmp_path).hold_folder_lock():
        assert not draft.exists()


def test_a_half_written_header_is_written_anew(tmp_path):
    path = tmp_path / "measurements.csv"
    path.write_bytes(encode_header()[:20])
    with Journal(path) as journal:
        journal.append_row(ROW)
    assert read_complete_rows(path) == [ROW]


def test_a_file_with_other_columns_is_refused_and_left_alone(tmp_path):
    path = tmp_path / "measurements.csv"
    path.write_text("a,b\n1,2\n")
    with pytest.raises(StudyError, match="unknown columns a, b"), Journal(path):
        pass
    assert path.read_text() == "a,b\n1,2\n"


def test_a_file_in_another_encoding_is_refused_and_a_byte_order_mark_ignored(tmp_path):
    path = tmp_path / "measurements.csv"
    content = encode_header() + encode_row(ROW)
    path.write_bytes(b"\xef\xbb\xbf" + content)
    assert read_complete_rows(path) == [ROW]
    path.write_bytes(content + "\xe4\n".encode("latin-1"))
    with pytest.raises(StudyError, match="not UTF-8"):
        read_complete_rows(path)


def test_a_value_that_does_not_fit_names_its_row(tmp_path):
    path = tmp_path / "measurements.csv"
    path.write_bytes(encode_header() + encode_row(ROW).replace(b"false", b"maybe"))
    with pytest.raises(StudyError, match=r"row 1.*'maybe'"):
        read_complete_rows(path)


def test_a_second_writer_is_refused(tmp_path):
    results = ResultsFolder(tmp_path)
    with (
        results.hold_folder_lock(),
        pytest.raises(StudyError, match="Another run"),
        results.hold_folder_lock(),
    ):
        pass


def test_a_fresh_start_keeps_the_old_rows_aside(tmp_path):
    results = ResultsFolder(tmp_path)
    with Journal(results.measurements) as journal:
        journal.append_row(ROW)
    results.move_earlier_files_aside(datetime(2025, 1, 1, tzinfo=UTC))
    assert not results.measurements.exists()
    (kept,) = tmp_path.glob("earlier/*/measurements.csv")
    assert read_complete_rows(kept) == [ROW]


def test_rewriting_replaces_rows_and_appending_goes_on(tmp_path):
    path = tmp_path / "measurements.csv"
    later = Measurement(**{**vars(ROW), "model_setup_s": 1.5})
    with Journal(path) as journal:
        journal.append_row(ROW)
        journal.replace_all_rows([later])
        journal.append_row(ROW)
        assert journal.read_rows() == [later, ROW]


def test_a_file_that_cannot_be_opened_again_is_the_error_that_is_told(tmp_path, monkeypatch):
    def refused(*_):
        raise OSError(errno.EMFILE, "Too many open files")

    def rewrite():
        with Journal(tmp_path / "measurements.csv") as journal:
            monkeypatch.setattr(Journal, "_open_file_for_appending", refused)
            journal.replace_all_rows([ROW])

    with pytest.raises(OSError, match="Too many open files"):
        rewrite()
    assert read_complete_rows(tmp_path / "measurements.csv") == [ROW]


def test_a_file_of_an_older_version_is_read_and_brought_up_to_date(tmp_path):
    path = tmp_path / "measurements.csv"
    names = "model_latency_s", "overhead_latency_s", "instance_count", "requests_ahead"
    added = [COLUMNS.index(name) for name in (*names, "startup_s", "photograph_count")]
    lines = (encode_header() + encode_row(ROW)).decode().splitlines()
    rows = [[v for n, v in enumerate(row) if n not in added] for row in csv.reader(lines)]
    path.write_text("".join(",".join(row) + "\n" for row in rows))
    assert read_complete_rows(path) == [ROW]
    with Journal(path) as journal:
        journal.append_row(ROW)
    assert path.read_bytes() == encode_header() + encode_row(ROW) * 2
