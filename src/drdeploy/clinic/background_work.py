"""Grade the studies that arrived, and send their results on.

The result of each step is saved in the records before the next step begins. A program that was
killed therefore continues after the last finished step when it is started again.
"""

from __future__ import annotations

import logging
import threading
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from drdeploy.clinic.dicom_results import encode_result
from drdeploy.clinic.dicom_sender import ArchivePeer
from drdeploy.clinic.dicomweb_storage import store_file
from drdeploy.clinic.fhir import make_bundle
from drdeploy.clinic.fhir_server import store_bundle
from drdeploy.clinic.patients import describe_eye_outcomes, grade_dicom_file, group_by_study
from drdeploy.clinic.pdf_report import make_pdf_report
from drdeploy.clinic.structured_report import make_structured_report
from drdeploy.errors import ClinicError, DrdeployError
from drdeploy.files import encode_json_document, parse_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.clinic.patients import GradedStudy
    from drdeploy.clinic.records import ClinicRecords
    from drdeploy.clinic.records.deliveries import Delivery
    from drdeploy.clinic.records.grading_lock import GradingLock
    from drdeploy.clinic.records.records import WaitingStudy
    from drdeploy.clinic.referral_rules import ReferralRules
    from drdeploy.grader.inference import InferenceService

POLL_S = 1.0
FIRST_PAUSE_S, LONGEST_PAUSE_S = 10.0, 60.0
"""The shortest and the longest pause of the grading after an unexpected error, in seconds. Each
further error doubles the pause.

Without the pause, a disk that is full for five seconds would use up all attempts of every study."""
GIVEN_BACK_S = 60.0
"""If the program ends during an attempt to grade a study, the attempt is not counted if it is
shorter than this.

A longer attempt is counted, because the study may be what makes the grader hang. Such a study is
given up after some attempts."""
_GIVING_BACK_S = 1.0

_log = logging.getLogger("drdeploy.clinic")


@dataclass(frozen=True)
class Destinations:
    """Where photographs and results are sent. An empty address means that nothing is sent.

    Attributes:
        stow: Base address of an archive's DICOMweb service; it gets photographs and results.
        send: An archive that takes C-STORE, as ``TITLE@HOST:PORT``; it gets photographs and
            results.
        post: Base address of a FHIR server; it gets bundles.
    """

    stow: str = ""
    send: str = ""
    post: str = ""

    @property
    def dicom_destinations(self) -> list[str]:
        """The destinations that get DICOM files, each with its kind and its address."""
        return [
            f"{kind} {address}"
            for kind, address in (("stow", self.stow), ("send", self.send))
            if address
        ]

    @property
    def result_destinations(self) -> list[tuple[str, tuple[str, ...]]]:
        """Pairs of a destination and the kinds of results that are sent to it."""
        rows: list[tuple[str, tuple[str, ...]]] = [
            (place, ("report", "page")) for place in self.dicom_destinations
        ]
        return [*rows, (f"post {self.post}", ("bundle",))] if self.post else rows


class StudyGrader:
    """Grades a study when no photograph of it has arrived for some seconds.

    Attributes:
        quiet_s: Seconds after a study's last photograph until the study is graded.
    """

    def __init__(
        self,
        records: ClinicRecords,
        service: InferenceService,
        rules: ReferralRules,
        destinations: Destinations,
        *,
        quiet_s: float,
        may_grade: Callable[[], bool] = lambda: True,
        read_clock_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """Prepare a grader.

        Args:
            records: The clinic's records.
            service: Grades photographs.
            rules: The rules that decide the outcome of a patient.
            destinations: Where the results are sent.
            quiet_s: Seconds after a study's last photograph until the study is graded.
            may_grade: Returns whether this program may grade: false if another program already
                grades the studies in these records.
            read_clock_s: Returns the seconds since a fixed moment, from a clock that is never set
                back.
        """
        self.quiet_s = quiet_s
        self._read_clock_s = read_clock_s
        self._began_s = read_clock_s()
        self._is_over = threading.Event()
        self._in_progress: dict[int, tuple[WaitingStudy, float]] = {}
        self._pausing = threading.Lock()
        self._next_pause_s = FIRST_PAUSE_S
        self._pauses_until_s = self._began_s
        self._records = records
        self._service = service
        self._rules = rules
        self._destinations = destinations
        self._may_grade = may_grade

    def grade_due_studies(self) -> int:
        """Grade the studies that are due; return how many of them got results."""
        return sum(self.grade_study(study) for study in self.list_due_studies())

    def list_due_studies(self) -> list[WaitingStudy]:
        """Return the studies that are ready to be graded.

        A study is ready when no photograph of it has arrived for ``quiet_s`` seconds. For the first
        ``quiet_s`` seconds after the program has started, the list is empty. In this time, a camera
        whose transfer was interrupted can send the rest of a study. The list is also empty during
        the pause after an unexpected error.
        """
        if self._read_clock_s() - self._began_s < self.quiet_s or self._is_grading_paused:
            return []
        return self._records.list_due_studies(time.time() - self.quiet_s)

    def grade_study(self, study: WaitingStudy) -> bool:
        """Grade a study and record its results; return whether results were recorded."""
        if self._is_over.is_set() or self._is_grading_paused or not self._may_grade():
            return False
        if not self._records.count_grading_attempt(study):
            _log.error("%s is not graded: it was erased, or was tried too often", study.name)
            return False
        self._in_progress[study.number] = (study, self._read_clock_s())
        try:
            is_graded = self._grade_and_record(study)
        except DrdeployError as error:
            self._records.record_failure(study, error.sentence)
            _log.error("%s cannot be graded: %s", study.name, error.sentence)
        except Exception as error:  # noqa: BLE001 - the next attempt may go well
            self._pause_grading()  # before the records, which may be what fails
            reason = f"An error kept this study from being graded: {type(error).__name__}."
            self._records.record_fault_of_grading(study, reason)
            # The error's text is left out, because it may quote a patient's data from a photograph.
            _log.error("%s: %s (%s)", study.name, reason, _find_source_line_of_error(error))
        else:
            self._next_pause_s = FIRST_PAUSE_S
            return is_graded
        finally:
            self._in_progress.pop(study.number, None)
        return False

    @property
    def _is_grading_paused(self) -> bool:
        return self._read_clock_s() < self._pauses_until_s

    def _pause_grading(self) -> None:
        """Pause the grading after an unexpected error.

        The cause, such as a full disk, may affect every study, and may soon be gone.
        """
        with self._pausing:
            if self._is_grading_paused:  # another thread met the same error
                return
            self._pauses_until_s = self._read_clock_s() + self._next_pause_s
            _log.warning("grading continues in %.0f s", self._next_pause_s)
            self._next_pause_s = min(2 * self._next_pause_s, LONGEST_PAUSE_S)

    def stop_grading(self) -> None:
        """Do not begin to grade another study."""
        self._is_over.set()

    def give_back_attempts(self) -> None:
        """Do not count the grading attempts that the end of this program interrupts.

        Each study gets only a limited number of attempts. An attempt that has lasted longer than
        :data:`GIVEN_BACK_S` still counts.
        """
        for study, began_s in list(self._in_progress.values()):
            if self._read_clock_s() - began_s > GIVEN_BACK_S:
                continue
            try:
                self._records.take_back_grading_attempt(study)
            except Exception as error:  # noqa: BLE001 - the program ends, and the attempt counts
                reason = type(error).__name__
                _log.error("%s: the interrupted attempt still counts: %s", study.name, reason)

    def _grade_and_record(self, study: WaitingStudy) -> bool:
        graded = self._grade_photographs(study)
        results = self._make_results(graded)
        is_recorded = self._records.record_grading(
            study,
            outcome=graded.outcome,
            eyes=describe_eye_outcomes(graded),
            results=results,
            destinations=self._destinations.result_destinations,
            with_photographs=self._destinations.dicom_destinations,
        )
        if is_recorded:
            _log.info("%s: %s", study.name, graded.outcome)
        return is_recorded

    def _grade_photographs(self, study: WaitingStudy) -> GradedStudy:
        photographs = [
            photograph
            for sha256 in study.photographs.values()
            for photograph in grade_dicom_file(self._service, self._records.store.read_file(sha256))
        ]
        return group_by_study(photographs, self._rules, self._service.manifest)[0]

    def _make_results(self, study: GradedStudy) -> dict[str, bytes]:
        issued = datetime.now(UTC)
        artifact = self._service.classifier.artifact
        bundle = make_bundle(study, artifact, issued=issued)
        return {
            "report": encode_result(make_structured_report(study, artifact, issued=issued)),
            "page": encode_result(make_pdf_report(study, artifact, issued=issued)),
            "bundle": encode_json_document(bundle).encode(),
        }


def _find_source_line_of_error(error: Exception) -> str:
    """Return the file and the line in which an error was raised."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return f"{Path(frame.filename).name}, line {frame.lineno}"


class ResultSender:
    """Sends the photographs and results in the queue, and retries if a server cannot be reached."""

    def __init__(self, records: ClinicRecords, may_send: Callable[[], bool] = lambda: True) -> None:
        """Prepare a sender.

        Args:
            records: The clinic's records.
            may_send: Returns whether this program may send results: false if another program
                already grades and sends.
        """
        self._queue = records.deliveries
        self._may_send = may_send
        self._is_over = threading.Event()

    def stop_sending(self) -> None:
        """Send nothing more; queued results are sent when the program is started again."""
        self._is_over.set()

    def send_due_deliveries(self) -> int:
        """Send the deliveries that are due; return how many of them were accepted."""
        arrived = 0
        silent: set[str] = set()
        for number in self._queue.list_due_deliveries():
            # If another program takes the lock meanwhile, that program sends the rest.
            if self._is_over.is_set() or not self._may_send():
                break
            # A study may be erased at any time, so each file is read just before it is sent.
            try:
                delivery = self._queue.load_queued_delivery(number)
            except ClinicError as error:  # the file is gone or damaged
                name = self._queue.record_unreadable_photograph(number, reason=error.sentence)
                _log.error("%s: %s", name, error.sentence)
                continue
            if delivery is not None and delivery.destination not in silent:
                arrived += self._send_and_record(delivery, silent)
        return arrived

    def _send_and_record(self, delivery: Delivery, silent: set[str]) -> bool:
        about = {"name": delivery.name, "destination": delivery.destination}
        try:
            reason = _send_content(delivery)
        except ClinicError as error:
            silent.add(delivery.destination)
            pause_s = self._queue.postpone_delivery(
                delivery.destination, attempts=delivery.attempts, reason=error.sentence
            )
            _log.warning("%s: %s Next attempt in %.0f s.", delivery.name, error.sentence, pause_s)
            return False
        except Exception as error:  # noqa: BLE001 - what cannot be sent must not stop all the rest
            reason = f"The study cannot be sent: {type(error).__name__}."
        if reason:
            self._queue.record_refused_delivery(delivery.number, reason=reason, **about)
            _log.error("%s: %s", delivery.name, reason)
            return False
        self._queue.record_delivery(delivery.number, **about)
        return True


def _send_content(delivery: Delivery) -> str:
    """Send a delivery; return the reason if the destination refuses it, and otherwise ""."""
    kind, _, address = delivery.destination.partition(" ")
    if kind == "stow":
        return store_file(address, delivery.content)
    if kind == "send":
        return ArchivePeer.parse_ae_title_and_address(address, option="--send").send_file(
            delivery.content
        )
    return store_bundle(address, parse_json(delivery.content))


class BackgroundLoop:
    """Calls a function once a second in a thread of its own."""

    def __init__(self, name: str, work: Any) -> None:
        self._work = work
        self._woken = threading.Event()
        self._is_over = False
        self._thread = threading.Thread(
            target=self._call_function_until_stopped, name=name, daemon=True
        )

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def run_function_now(self) -> None:
        """Call the function at once, without waiting for the next second."""
        self._woken.set()

    def stop(self, timeout_s: float) -> bool:
        """Let the current call finish, and end the thread. Wait at most ``timeout_s`` for this.

        Returns:
            Whether the thread has ended.
        """
        self._is_over = True
        self._woken.set()
        with suppress(RuntimeError):  # it was never started
            self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _call_function_until_stopped(self) -> None:
        while not self._is_over:
            try:
                self._work()
            except Exception as error:  # noqa: BLE001 - one study's trouble must not stop all others
                _log.error("%s: %s", self._thread.name, type(error).__name__)
            self._woken.wait(POLL_S)
            self._woken.clear()


class BackgroundWork:
    """Grades studies in one background thread and sends results in another, until it is stopped."""

    def __init__(
        self,
        grader: StudyGrader,
        sender: ResultSender,
        lock: GradingLock,
        grade_due_studies: Callable[[], object] | None = None,
    ) -> None:
        """Prepare the work; nothing is started yet.

        Args:
            grader: Grades the studies.
            sender: Sends the results.
            lock: The lock that only one grading program can hold. The work releases it at the end.
            grade_due_studies: Grades the studies that are due. If it is None, ``grader`` grades
                them one after the other.
        """
        self._grader = grader
        self._sender = sender
        self._lock = lock
        self._grading = BackgroundLoop("grading", grade_due_studies or grader.grade_due_studies)
        self._loops = [
            self._grading,
            BackgroundLoop("sending", sender.send_due_deliveries),
            # This loop has its own thread, because the other two may wait long for an endpoint or
            # an archive.
            BackgroundLoop("keeping the grading lock", lock.keep_or_take_again),
        ]

    def start(self) -> None:
        """Start the threads."""
        for loop in self._loops:
            loop.start()

    def run_all_loops_now(self) -> None:
        """Grade the studies that are due now, without waiting for the next second."""
        self._grading.run_function_now()

    def ask_loops_to_stop(self) -> None:
        """Do not begin to grade or send anything new; work in progress continues."""
        self._grader.stop_grading()
        self._sender.stop_sending()

    def stop(self, timeout_s: float) -> bool:
        """End the threads, and wait at most ``timeout_s`` for the work in progress.

        Work that takes longer, for example because an archive does not answer, is abandoned.
        Finished steps are saved in the records, so the rest is graded or sent when the program is
        started again. A file may then be sent twice. The archive keeps one copy, because both
        copies have the same SOP Instance UID.

        Returns:
            Whether all threads have ended.
        """
        self.ask_loops_to_stop()
        deadline_s = time.monotonic() + timeout_s
        for loop in self._loops:
            loop.stop(0)
        ended = [loop.stop(max(0.0, deadline_s - time.monotonic())) for loop in self._loops]
        # Done in a thread, so that a database that does not answer cannot delay the end of the
        # program.
        giving_back = threading.Thread(target=self._grader.give_back_attempts, daemon=True)
        giving_back.start()
        giving_back.join(_GIVING_BACK_S)
        self._lock.release()
        return all(ended)
