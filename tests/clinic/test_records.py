"""A clinic's records in SQLite and PostgreSQL: complete, chained, and erased without a trace."""

import os
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import ClassVar

import pytest

if os.environ.get("CI") != "true":  # CI has it
    pytest.importorskip("sqlalchemy", reason="needs the extra clinic")

from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError
from typer.testing import CliRunner
from waiting import until

from drdeploy.cli.clinic import app
from drdeploy.clinic.background_work import Destinations, ResultSender, StudyGrader
from drdeploy.clinic.page.grading import GradingPool
from drdeploy.clinic.records import ClinicRecords, database
from drdeploy.clinic.records.schema import METADATA
from drdeploy.errors import AnalysisError, ClinicError, InvalidInput, StudyChanged, UnsupportedImage
from drdeploy.photograph_names import PhotographNames

PATIENT = "clinic\nGarcia-4711"


def open_again(records, folder=None):
    """The same records in another program."""
    url = records._engine.url.render_as_string(hide_password=False)
    own = records.store.folder.parent
    is_sqlite = records._engine.dialect.name == "sqlite" and folder is None
    return ClinicRecords.open(
        folder or own, names=records.names, database=None if is_sqlite else url
    )


def add(records, content=b"photograph", *, patient=PATIENT, number="1"):
    return records.add_photograph(
        content, patient=patient, study_uid="1.2.3", sop_instance_uid=f"1.2.3.{number}"
    )


def grade(records, **more):
    (study,) = records.list_due_studies(float("inf"))
    return records.record_grading(
        study,
        outcome="refer",
        eyes={},
        results={"report": b"about Garcia", "bundle": b"{}"},
        destinations=[("stow https://a", ["report"]), ("post https://f", ["bundle"])],
        with_photographs=["stow https://a"],
        **more,
    )


def test_the_migrations_make_the_tables_of_the_schema(records):
    with records._engine.connect() as connection:
        context = MigrationContext.configure(connection)
        differences = compare_metadata(context, METADATA)
    assert [one for one in differences if "alembic_version" not in str(one)] == []


def test_a_photograph_that_comes_again_changes_nothing_and_another_of_its_name_is_refused(records):
    assert add(records)
    assert not add(records)
    with pytest.raises(UnsupportedImage, match="same SOP Instance UID"):
        add(records, b"another")
    assert [len(one.photographs) for one in records.list_due_studies(float("inf"))] == [1]
    assert len(list(records.store.list_hashes())) == 1


def test_a_photograph_that_arrives_during_grading_makes_the_study_due_again(records):
    add(records)
    (study,) = records.list_due_studies(float("inf"))
    add(records, b"second", number="2")
    assert not records.record_grading(
        study, outcome="refer", eyes={}, results={}, destinations=[], with_photographs=[]
    )
    assert grade(records)
    (listed,) = records.list_studies()
    assert listed["deliveries"] == {"queued": 4}  # two photographs, a report and a bundle


def test_after_a_start_a_study_waits_for_the_rest_that_the_camera_could_not_send(records):
    add(records)
    with records._engine.begin() as connection:
        connection.execute(text("UPDATE studies SET last_received_s = last_received_s - 3600"))
    (study,) = records.list_due_studies(time.time() - 600)
    grader = StudyGrader(records, None, None, Destinations(), quiet_s=600)
    assert grader.list_due_studies() == []
    add(records, b"second", number="2")
    grader._began_s -= 3600
    assert grader.list_due_studies() == []  # the second photograph is new
    with records._engine.begin() as connection:
        connection.execute(text("UPDATE studies SET last_received_s = last_received_s - 3600"))
    assert [len(one.photographs) for one in grader.list_due_studies()] == [2]
    assert len(study.photographs) == 1


def test_a_study_on_which_the_program_dies_comes_last_and_is_left_alone_after_five_times(records):
    add(records)
    (study,) = records.list_due_studies(float("inf"))
    assert records.count_grading_attempt(study)
    records.add_photograph(b"later", patient="c\n2", study_uid="1.9", sop_instance_uid="2.9")
    due = [one.number for one in records.list_due_studies(float("inf"))]
    assert due == [study.number + 1, study.number]
    (later,) = [one for one in records.list_due_studies(float("inf")) if one.number != study.number]
    assert records.erasure.erase_patient("c\n2") == 1
    assert not records.count_grading_attempt(later)
    tries = [records.count_grading_attempt(study) for _ in range(5)]
    assert tries == [True, True, True, True, False]
    (listed,) = records.list_studies()
    assert (listed["state"], records.list_due_studies(float("inf"))) == ("failed", [])
    assert "The program ended while" in listed["reason"]
    assert "all 5 attempts failed" in listed["reason"]
    assert records.queue_failed_studies_again() == 1
    assert records.list_due_studies(float("inf"))


def test_a_study_with_an_unexpected_error_fails_with_the_error_and_not_with_an_end(records):
    add(records)
    (study,) = records.list_due_studies(float("inf"))
    for _ in range(5):
        assert records.count_grading_attempt(study)
        records.record_fault_of_grading(study, "An error.")
    assert records.list_studies()[0]["state"] == "waiting"
    assert not records.count_grading_attempt(study)
    (listed,) = records.list_studies()
    assert (listed["state"], listed["reason"]) == ("failed", "An error.")
    records.queue_failed_studies_again()
    for place in range(5):
        assert records.count_grading_attempt(study)
        if place < 2:
            records.record_fault_of_grading(study, "An error.")
    assert not records.count_grading_attempt(study)
    assert "The program ended" in records.list_studies()[0]["reason"]  # as the last three times


def test_an_attempt_that_was_given_up_because_the_program_ended_does_not_count(records):
    add(records)
    (study,) = records.list_due_studies(float("inf"))
    for _ in range(10):
        assert records.count_grading_attempt(study)
        records.take_back_grading_attempt(study)
    records.take_back_grading_attempt(study)
    assert [records.count_grading_attempt(study) for _ in range(6)] == [True] * 5 + [False]


def add_patients(records, count):
    for number in range(count):
        records.add_photograph(
            b"%d" % number, patient=f"c\n{number}", study_uid=f"1.{number}",
            sop_instance_uid=f"2.{number}",
        )  # fmt: skip


def count_attempts(records):
    with records._engine.begin() as connection:
        return list(connection.execute(text("SELECT attempts FROM studies ORDER BY id")).scalars())


def test_a_short_fault_costs_one_study_one_attempt_and_a_long_one_few(records):
    add_patients(records, 3)
    now_s = 0.0
    grader = StudyGrader(records, None, None, Destinations(), quiet_s=0, read_clock_s=lambda: now_s)

    def fail(_):
        raise OSError

    grader._grade_and_record = fail
    for _ in range(5):
        grader.grade_due_studies()
        GradingPool(grader, 1).grade_due_studies()
        now_s += 1
    assert sorted(count_attempts(records)) == [0, 0, 1]
    for _ in range(60):
        grader.grade_due_studies()
        now_s += 1
    assert sum(count_attempts(records)) == 3  # at 0, 10 and 30 s
    grader._grade_and_record = lambda study: bool(records.record_failure(study, "It is done."))
    now_s += 60
    grader.grade_due_studies()
    assert {one["state"] for one in records.list_studies()} == {"failed"}


def test_a_study_that_hangs_is_given_up_although_each_program_is_asked_to_end(records):
    add_patients(records, 2)
    now_s = 0.0
    grader = StudyGrader(records, None, None, Destinations(), quiet_s=0, read_clock_s=lambda: now_s)
    hangs, is_young = records.list_due_studies(float("inf"))
    ends = threading.Event()
    grader._grade_and_record = lambda _: ends.wait()
    with ThreadPoolExecutor(2) as pool:
        pool.submit(grader.grade_study, hangs)
        until(lambda: count_attempts(records) == [1, 0])
        until(lambda: hangs.number in grader._in_progress)
        now_s += 100
        pool.submit(grader.grade_study, is_young)
        until(lambda: is_young.number in grader._in_progress)
        now_s += 30
        assert count_attempts(records) == [1, 1]
        grader.give_back_attempts()
        assert count_attempts(records) == [1, 0]
        ends.set()


def test_what_is_exported_is_not_of_a_study_that_is_being_erased(records):
    add(records)
    grade(records)
    found, number = [], number_of(records)
    export = ("ana", "export FHIR bundle", "bundle")

    def export_study():
        found.append(records.worklist.export_study(number, *export))

    exported = records.worklist.export_study(number, *export)
    assert (exported.study.state, exported.result) == ("graded", b"{}")
    thread = threading.Thread(target=export_study)
    with records._engine.begin() as connection:
        locked = f"SELECT id FROM studies {'' if is_sqlite(records) else 'FOR UPDATE'}"
        connection.execute(text(locked))
        thread.start()
        thread.join(0.3)  # it waits, or has not begun
        for table in ("deliveries", "results", "photographs", "studies"):
            connection.execute(text(f"DELETE FROM {table}"))
    thread.join(60)
    assert found == [None]
    actions = [one["action"] for one in records.worklist.list_audit_entries(9)]
    assert actions.count("export FHIR bundle") == 1


def test_a_study_that_waits_again_is_not_exported_with_the_grades_of_fewer_photographs(records):
    add(records)
    grade(records)
    add(records, b"second", number="2")
    assert records.worklist.export_study(number_of(records), "ana", "export PDF") is None


def test_no_migration_calls_the_program_that_changes_after_it():
    versions = Path(database.__file__).parent / "migrations" / "versions"
    scripts = sorted(versions.glob("*.py"))
    assert scripts
    for script in scripts:
        assert "drdeploy" not in script.read_text("utf-8"), script.name


def number_of(records):
    return records.worklist.list_studies()[0].number


def is_sqlite(records):
    return records._engine.dialect.name == "sqlite"


def test_the_audit_log_cannot_be_changed_and_a_forced_change_shows(records):
    add(records)
    grade(records)
    entries, _ = records.verify_audit_log()
    assert entries == 2
    for change in ("UPDATE audit SET who = 'me'", "DELETE FROM audit"):
        with (
            pytest.raises(DBAPIError, match="only grows"),
            records._engine.begin() as connection,
        ):
            connection.execute(text(change))
    with records._engine.begin() as connection:
        if connection.dialect.name == "sqlite":
            connection.execute(text("DROP TRIGGER audit_refuses_update"))
        else:
            connection.execute(text("ALTER TABLE audit DISABLE TRIGGER ALL"))
        connection.execute(text("UPDATE audit SET who = 'me' WHERE number = 1"))
    with pytest.raises(AnalysisError, match="Entry 1 of the audit log"):
        records.verify_audit_log()


def test_erasure_leaves_no_byte_of_the_photograph_or_the_patient(records, tmp_path):
    add(records, b"pixels of Garcia")
    add(records, b"pixels of another", patient="clinic\nother", number="9")
    for study in records.list_due_studies(float("inf")):
        records.record_grading(
            study, outcome="refer", eyes={}, results={"report": b"about Garcia"},
            destinations=[("stow https://a", ["report"])], with_photographs=["stow https://a"],
        )  # fmt: skip
    assert records.erasure.erase_patient(PATIENT) == 1
    assert records.erasure.erase_patient(PATIENT) == 0
    assert [one["deliveries"] for one in records.list_studies()] == [{"queued": 2}]
    assert records.verify_audit_log()[0] == 5
    kept = b"".join(one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())
    assert b"pixels of another" in kept
    if records._engine.dialect.name == "sqlite":
        assert b"other" in kept
    assert b"Garcia-4711" not in kept
    assert b"pixels of Garcia" not in kept


def test_a_study_without_a_patient_number_is_erased_by_its_identifier(records):
    add(records, patient="1.2.3")
    add(records, b"other", patient="\n4711", number="2")
    with pytest.raises(InvalidInput, match="2 patients have a study"):
        records.erasure.erase_study("1.2.3")
    assert records.erasure.erase_patient("\n4711") == 1
    assert [records.erasure.erase_study("1.2.3") for _ in range(2)] == [1, 0]
    assert not list(records.store.list_hashes())


def test_the_same_number_of_another_issuer_is_counted_and_stays(tmp_path):
    folder = tmp_path / "records"
    records = ClinicRecords.open(folder, names=PhotographNames(b"k" * 32))
    for place, patient in enumerate(("\n47_1a", "A\n47_1a", "B\n47_1a", "B\n47x1a", "B\n47_1A")):
        records.add_photograph(
            b"%d" % place, patient=patient, study_uid=f"1.{place}", sop_instance_uid=f"2.{place}"
        )
    records.close()

    def erase(*options):
        return CliRunner().invoke(app, ["erase", str(folder), *options])

    first = erase("--patient", "47_1a")
    assert first.exit_code == 0
    said = " ".join(first.output.split())
    assert "1 study deleted" in said
    assert "not deleted: 2 studies with the same patient number from another issuer" in said
    second = str(erase("--patient", "47_1a").exception)
    assert "no study of this patient, but 2 studies with the same patient number" in second
    assert "with the same patient number" not in str(erase("--patient", "nobody").exception)
    assert "--patient too" in str(erase("--study", "1.1", "--issuer", "A").exception)
    assert "1 study deleted" in erase("--study", "1.1").output
    assert "no study with this identifier" in str(erase("--study", "1.1").exception)


def test_files_of_a_killed_program_are_removed_and_a_changed_one_is_not_sent(records):
    add(records)
    grade(records)
    records.store.add_file(b"of a killed program")
    assert records.erasure.remove_unused_files() == 1
    (sha256,) = records.store.list_hashes()
    records.store._path_of_photograph(sha256).write_bytes(b"changed")
    with pytest.raises(ClinicError, match="has changed on the disk"):
        records.deliveries.load_queued_delivery(records.deliveries.list_due_deliveries()[0])


def test_a_photograph_that_changed_on_the_disk_is_repaired_when_it_comes_again(records):
    add(records)
    (sha256,) = records.store.list_hashes()
    records.store._path_of_photograph(sha256).write_bytes(b"changed")
    assert add(records) is False
    assert records.store.read_file(sha256) == b"photograph"


def test_records_of_a_newer_version_are_refused(records, tmp_path):
    with records._engine.begin() as connection:
        present = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
        connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    url = records._engine.url.render_as_string(hide_password=False)
    with pytest.raises(ClinicError, match="newer version"):
        ClinicRecords.open(tmp_path, names=records.names, database=url)
    with records._engine.begin() as connection:
        connection.execute(text(f"UPDATE alembic_version SET version_num = '{present}'"))


def test_a_late_word_about_an_old_delivery_or_study_changes_nothing_new(records):
    add(records)
    grade(records)
    old = records.deliveries.list_due_deliveries()[1:]
    add(records, b"second", number="2")
    (study,) = records.list_due_studies(float("inf"))
    add(records, b"third", number="3")
    records.record_failure(study, "It failed before the third photograph came.")
    assert [one.number for one in records.list_due_studies(float("inf"))] == [study.number]
    grade(records)
    for number in old:
        records.deliveries.record_delivery(number, name="n", destination="d")
    assert records.list_studies()[0]["deliveries"] == {"queued": 5}


def test_one_program_grades_the_studies_of_a_database_whatever_folder_it_names(records, tmp_path):
    link = tmp_path / "same records"
    link.symlink_to(records.store.folder.parent)
    url = records._engine.url.render_as_string(hide_password=False)
    is_sqlite = records._engine.dialect.name == "sqlite"
    again = ClinicRecords.open(link, names=records.names, database=None if is_sqlite else url)
    first, second = records.make_grading_lock(), again.make_grading_lock()
    assert first.acquire()
    assert second.is_taken()
    assert not second.acquire()
    assert not second.keep_or_take_again()
    assert first.keep_or_take_again()
    first.release()
    assert not second.is_taken()
    assert second.acquire()
    assert not first.keep_or_take_again()
    second.release()
    again.close()


def test_a_program_whose_connection_broke_does_not_grade_while_another_does(postgres, tmp_path):
    def open_records():
        return ClinicRecords.open(
            tmp_path, names=PhotographNames(b"k" * 32), database=postgres, who="test"
        )

    mine, other = open_records(), open_records()
    first, second = mine.make_grading_lock(), other.make_grading_lock()
    assert first.acquire()
    assert first.is_ours
    assert not second.is_ours
    ended = "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'"
    with other._engine.begin() as connection:
        connection.execute(text(ended))
    assert first.keep_or_take_again()  # nobody else has it: taken again
    with other._engine.begin() as connection:
        connection.execute(text(ended))
    assert second.acquire()
    assert not first.keep_or_take_again()
    assert not first.is_ours
    second.release()
    assert first.keep_or_take_again()
    assert first.is_ours
    with mine._engine.begin() as connection:
        connection.execute(METADATA.tables["photograph_folders"].delete())
    for one in (first, mine, other):
        (one.release if one is first else one.close)()


def test_a_server_that_is_silent_does_not_keep_a_program_from_ending(postgres, tmp_path):
    opened = ClinicRecords.open(
        tmp_path / "records", names=PhotographNames(b"k" * 32), database=postgres
    )
    lock = opened.make_grading_lock()
    assert lock.acquire()
    with lock._lock._one_at_a_time:  # `keep` waits for the server's answer
        ending = threading.Thread(target=lock.release, daemon=True)
        ending.start()
        ending.join(60)
        assert not ending.is_alive()
    lock.release()
    assert not lock.is_taken()
    with opened._engine.begin() as connection:
        connection.execute(METADATA.tables["photograph_folders"].delete())
    opened.close()


def test_records_whose_photographs_lie_in_another_folder_are_refused(records, tmp_path):
    if records._engine.dialect.name == "sqlite":
        url = f"sqlite:///{tmp_path}/a.db"
        records = ClinicRecords.open(tmp_path / "first", names=records.names, database=url)
    add(records)
    with pytest.raises(ClinicError, match="lie in another folder"):
        open_again(records, tmp_path / "second")
    open_again(records, records.store.folder.parent).close()
    # A database of an older version has no word of its folder: the photographs tell.
    with records._engine.begin() as connection:
        connection.execute(METADATA.tables["photograph_folders"].delete())
    with pytest.raises(ClinicError, match="lie in another folder"):
        open_again(records, tmp_path / "second")
    open_again(records, records.store.folder.parent).close()


class OneRefused(BaseHTTPRequestHandler):
    """A FHIR server that refuses the first bundle."""

    statuses: ClassVar[list[int]] = []

    def do_POST(self):
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(self.statuses.pop() if self.statuses else 200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def test_what_a_server_or_the_network_refuses_does_not_hold_up_the_rest(records):
    with ThreadingHTTPServer(("127.0.0.1", 0), OneRefused) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}"
        OneRefused.statuses[:] = [422]
        add(records)
        (study,) = records.list_due_studies(float("inf"))
        # No DICOM file, an unknown host, and a server that refuses the first of two bundles.
        records.record_grading(
            study, outcome="refer", eyes={}, results={"report": b"no DICOM", "bundle": b"{}"},
            destinations=[
                ("send A@127.0.0.1:9", ["report"]), ("send A@no.such.invalid:104", ["report"]),
                (f"post {url}", ["bundle"]), (f"post {url}", ["bundle"]),
            ],
            with_photographs=[],
        )  # fmt: skip
        assert ResultSender(records).send_due_deliveries() == 1
        server.shutdown()
    assert records.list_studies()[0]["deliveries"] == {"delivered": 1, "refused": 3}


def test_a_photograph_that_cannot_be_read_is_not_said_to_be_refused_by_an_archive(records, caplog):
    add(records)
    (study,) = records.list_due_studies(float("inf"))
    records.record_grading(
        study, outcome="refer", eyes={}, results={}, destinations=[],
        with_photographs=["stow https://a"],
    )  # fmt: skip
    (sha256,) = records.store.list_hashes()
    path = records.store._path_of_photograph(sha256)
    path.unlink()
    path.mkdir()  # every user fails to read it
    ResultSender(records).send_due_deliveries()
    about = [one for one in records.worklist.list_audit_entries(9) if one["action"] == "deliver"]
    said = "not sent to stow https://a A photograph cannot be read."
    assert [(one["subject"], one["details"]) for one in about] == [(study.name, said)]
    assert f"{study.name}: A photograph cannot be read." in caplog.text


def test_a_database_that_is_gone_for_a_moment_refuses_no_delivery(records, monkeypatch):
    add(records)
    grade(records)

    def fail(*_):
        raise ConnectionResetError  # pg8000 wraps only some errors of the socket

    with monkeypatch.context() as patch:
        patch.setattr(records.deliveries, "load_queued_delivery", fail)
        with pytest.raises(ConnectionResetError):
            ResultSender(records).send_due_deliveries()
    assert records.list_studies()[0]["deliveries"] == {"queued": 3}


def test_a_sender_that_lost_the_lock_leaves_the_rest_to_the_other_program(records):
    add(records)
    (study,) = records.list_due_studies(float("inf"))
    records.record_grading(
        study, outcome="refer", eyes={}, results={"bundle": b"no JSON"},
        destinations=[(f"post http://127.0.0.1:9/{number}", ["bundle"]) for number in range(5)],
        with_photographs=[],
    )  # fmt: skip
    answers = [True, True, False]
    ResultSender(records, may_send=lambda: answers.pop(0)).send_due_deliveries()
    assert answers == []
    assert records.list_studies()[0]["deliveries"] == {"refused": 2, "queued": 3}


def test_the_pause_of_a_destination_that_never_answers_stays_finite(records):
    assert records.deliveries.postpone_delivery("stow https://a", attempts=5000, reason="") == 600


def test_photographs_of_another_database_are_not_taken_for_left_behind(tmp_path):
    names = PhotographNames(b"k" * 32)
    other = ClinicRecords.open(tmp_path / "r", names=names, database=f"sqlite:///{tmp_path}/a.db")
    add(other)
    other.close()
    with pytest.raises(ClinicError, match="belong to records in another database"):
        ClinicRecords.open(tmp_path / "r", names=names)
    assert len(list(other.store.list_hashes())) == 1


def test_photographs_whose_database_was_lost_are_not_deleted_as_unused(tmp_path):
    names = PhotographNames(b"k" * 32)
    first = ClinicRecords.open(tmp_path / "r", names=names)
    add(first)
    first.close()
    for file in (tmp_path / "r").glob("records.sqlite*"):
        file.rename(tmp_path / file.name)
    for _ in range(2):
        with pytest.raises(ClinicError, match="the database is new and lists none of them"):
            ClinicRecords.open(tmp_path / "r", names=names)
    for file in (tmp_path / "r").glob("records.sqlite*"):
        file.unlink()
    for file in tmp_path.glob("records.sqlite*"):
        file.rename(tmp_path / "r" / file.name)
    again = ClinicRecords.open(tmp_path / "r", names=names)
    assert again.erasure.remove_unused_files() == 0
    assert len(list(again.store.list_hashes())) == 1
    again.close()


def test_half_written_photographs_of_a_killed_program_are_removed(records):
    add(records)
    (sha256,) = records.store.list_hashes()
    draft = records.store.folder / sha256[:2] / f".{sha256}.dcm.abcdefgh.part"
    draft.write_bytes(b"half")
    records.erasure.remove_unused_files()
    assert not draft.exists()


def test_two_graders_cannot_both_decide_and_a_decision_is_erased(records):
    """On PostgreSQL, too, where two transactions can run at the same time."""
    add(records)
    grade(records)
    (seen,) = records.worklist.list_studies()

    def decide(who):
        try:
            records.worklist.record_decision(
                seen, who=who, kind="overrule", outcome="refer", grades={"left": None}, reason="r"
            )
        except StudyChanged:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert sorted(pool.map(decide, "abcd")) == [False, False, False, True]
    (study,) = records.worklist.list_studies()
    assert study.decision.grades == {"left": None}
    records.worklist.undo_decision(study.number, "me", study.decision.decided_s)
    assert decide("me")
    assert records.accounts.set_account("ana", "grader", "four words of a nurse")
    assert records.accounts.check_password("ana\0", "four words of a nurse") is None
    assert records.accounts.check_password("ana", "four words of a nurse").role == "grader"
    assert records.accounts.remove_account("ana")
    assert records.erasure.erase_patient(PATIENT) == 1
    assert not decide("late")
    assert records.verify_audit_log()[0]


def test_a_decision_is_not_undone_while_a_new_photograph_waits_for_its_grade(records):
    """Archives would get a page that says nothing, in place of what was decided."""
    add(records)
    grade(records)
    (seen,) = records.worklist.list_studies()
    records.worklist.record_decision(
        seen, who="a", kind="accept", outcome="refer", grades={}, reason=""
    )
    decided_s = records.worklist.find_study(seen.number).decision.decided_s
    before = records.list_studies()[0]["deliveries"]

    def decide_while_a_photograph_arrives(kind, content, study, changed_s):
        add(records, b"second", number="2")
        return b"of one photograph"

    for _ in range(2):  # it arrives meanwhile, and then it waits
        with pytest.raises(StudyChanged):
            records.worklist.undo_decision(
                seen.number, "a", decided_s, decide_while_a_photograph_arrives
            )
    assert records.list_studies()[0]["deliveries"] == before


def test_a_database_that_another_program_keeps_writing_to_is_given_up(tmp_path, monkeypatch):
    opened = ClinicRecords.open(tmp_path, names=PhotographNames(b"k" * 32))
    monkeypatch.setattr("drdeploy.clinic.records.database.BUSY_S", 0.2)
    other = sqlite3.connect(tmp_path / "records.sqlite", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(OperationalError, match="locked"):
        add(opened)
    other.execute("COMMIT")
    assert add(opened)
    other.close()
    opened.close()


def test_erasure_says_if_bytes_are_left_in_the_log_of_sqlite(tmp_path, monkeypatch):
    monkeypatch.setattr("drdeploy.clinic.records.database.BUSY_S", 0.2)
    opened = ClinicRecords.open(tmp_path, names=PhotographNames(b"k" * 32))
    add(opened)
    reader = sqlite3.connect(tmp_path / "records.sqlite")
    reader.execute("BEGIN")
    reader.execute("SELECT * FROM studies").fetchall()
    with pytest.raises(ClinicError, match="still contains some of them"):
        opened.erasure.erase_patient(PATIENT)
    reader.close()
    assert opened.erasure.erase_patient(PATIENT) == 0  # empties the log
    kept = b"".join(one.read_bytes() for one in tmp_path.rglob("*") if one.is_file())
    assert b"Garcia" not in kept
    opened.close()
