"""Kill ``drdeploy clinic listen`` at each step of each study: nothing is lost, nothing is doubled.

``python tests/faults/clinic_kills.py --studies 200 --seed 1`` needs dcmtk and Orthanc.

A camera (dcmtk's ``storescu``) sends each study, and an archive (Orthanc) gets its results. The
listener is killed with SIGKILL four times for each study: while it receives, when the camera is
done, while it grades, and while it sends the results. The seed draws the step of each kill from
:data:`STEPS`. In the end every study must have exactly one result, in the records and in the
archive, and the audit log must be whole.
"""

from __future__ import annotations

import argparse
import importlib
import multiprocessing
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from functools import wraps
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent / "support")]

STORESCU = shutil.which("storescu", path="/usr/bin:/usr/local/bin") or ""
"""Of dcmtk: pynetdicom has a program of the same name."""
PRELOADED = (
    "drdeploy.cli.clinic", "drdeploy.cli.clinic_listen", "drdeploy.clinic.background_work",
    "drdeploy.clinic.dicom_receiver", "drdeploy.clinic.records", "drdeploy.grader.box",
    "drdeploy.grader.inference", "drdeploy.grader.runtimes.model_loading",
    "drdeploy.grader.runtimes.onnxruntime_runtime",
)  # fmt: skip
LATER = "1000000"
"""So many seconds of silence are never over: what arrived is not graded yet."""
PATIENCE_S = 120.0

_RECORDS = "drdeploy.clinic.records.records"
_AUDIT = "drdeploy.clinic.records.shared_records"
_QUEUE = "drdeploy.clinic.records.deliveries"
_STORE = "drdeploy.clinic.records.photograph_store"
_INTAKE = "drdeploy.clinic.background_work"


@dataclass(frozen=True)
class Step:
    """A moment at which a process is killed.

    Attributes:
        where: The module and the name of a function.
        moment: Whether it is killed before or after the function.
        calls: At which call at the latest; the seed draws one.
        word: Only calls with this word among the arguments are counted.
    """

    where: str
    moment: str
    calls: int = 1
    word: str = ""

    def __str__(self) -> str:
        """Name the step."""
        name = self.where.rpartition(":")[2]
        return f"{self.moment} {name}{self.word and f' ({self.word})'}"


def _both(where: str, calls: int = 1, word: str = "") -> tuple[Step, Step]:
    return Step(where, "before", calls, word), Step(where, "after", calls, word)


STEPS = {
    "receiving": (
        *_both(f"{_STORE}:write_file_atomically", 2),
        Step("pathlib:Path.replace", "before", 2, ".dcm"),
        *_both(f"{_AUDIT}:append_audit_entry", 2, "receive photograph"),
        Step(f"{_RECORDS}:ClinicRecords.add_photograph", "after", 2),
    ),
    "grading": (
        *_both(f"{_RECORDS}:ClinicRecords.count_grading_attempt"),
        *_both(f"{_INTAKE}:grade_dicom_file", 2),
        *_both(f"{_INTAKE}:StudyGrader._make_results"),
        *_both(f"{_AUDIT}:append_audit_entry", 1, "grade study"),
        Step(f"{_RECORDS}:ClinicRecords.record_grading", "after"),
    ),
    "sending": (
        *_both(f"{_INTAKE}:_send_content", 4),
        *_both(f"{_AUDIT}:append_audit_entry", 4, "deliver"),
        Step(f"{_QUEUE}:DeliveryQueue.record_delivery", "after", 4),
    ),
}
"""Where the listener is killed, on the way of a study."""


# ---- in the process that is killed -----------------------------------------------------------


def kill_at(step: Step, nth: int) -> None:
    """Let this process kill itself at a call of a function."""
    module, _, path = step.where.partition(":")
    owner = importlib.import_module(module)
    *outer, name = path.split(".")
    for part in outer:
        owner = getattr(owner, part)
    called = getattr(owner, name)
    left = nth

    @wraps(called)
    def killing(*arguments: object, **named: object) -> object:
        nonlocal left
        if not step.word or step.word in f"{arguments} {named}":
            left -= 1
        if not left and step.moment == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        answer = called(*arguments, **named)
        if not left:
            os.kill(os.getpid(), signal.SIGKILL)
        return answer

    setattr(owner, name, killing)


def listen(folder: Path, options: list[str], step: Step | None, nth: int) -> None:
    """Be the command, from its standard streams to its death."""
    from drdeploy.cli.clinic import app
    from drdeploy.clinic import background_work

    for stream, name in ((1, "ready"), (2, "log")):
        file = os.open(folder / name, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(file, stream)
    sys.stdout = open(1, "w", closefd=False)  # noqa: SIM115 - it lives as long as the process
    sys.stderr = open(2, "w", closefd=False)  # noqa: SIM115
    background_work.POLL_S = 0.05
    if step is not None:
        kill_at(step, nth)
    app(["listen", str(folder / "records"), "--port", "0", *options])


# ---- outside it ------------------------------------------------------------------------------


class Broken(Exception):
    """What must not happen has happened."""


class Listener:
    """A listener in a process of its own, forked from one that has imported everything."""

    def __init__(self, folder: Path, options: list[str], step: Step | None, nth: int) -> None:
        (folder / "ready").write_bytes(b"")
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload(list(PRELOADED))
        self._process = context.Process(target=listen, args=(folder, options, step, nth))
        self._folder = folder
        self._process.start()

    def wait_for_port(self) -> str:
        """Return the port, when the listener is ready."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline and self._process.exitcode is None:
            if found := re.search(r":(\d+)\n", (self._folder / "ready").read_text()):
                return found[1]
            time.sleep(0.01)
        raise Broken(f"no listener: {self.read_log()}")

    def kill(self) -> None:
        """Kill the listener now."""
        self._process.kill()
        self._process.join()

    def wait_for_kill(self, step: Step) -> None:
        """Wait until the listener has killed itself."""
        self._process.join(PATIENCE_S)
        if self._process.exitcode != -signal.SIGKILL:
            self._process.kill()
            raise Broken(f"{step}: exit {self._process.exitcode}: {self.read_log()}")

    def end(self) -> None:
        """Ask the listener to end, and wait for the end."""
        self._process.terminate()
        self._process.join(PATIENCE_S)

    def read_log(self) -> str:
        """Return the last lines of what all listeners said."""
        return (self._folder / "log").read_text()[-1000:]


@dataclass
class Ordeal:
    """Studies that are killed on their way from a camera to an archive.

    Attributes:
        folder: Holds the records, the archive and the studies.
        seed: Draws the steps.
        kills: How often each step was met.
    """

    folder: Path
    seed: int
    kills: Counter[str] = field(default_factory=Counter)

    def run(self, studies: int, minutes: float = float("inf")) -> str:
        """Kill the listener at each step of so many studies; return what was seen as a sentence.

        After so many minutes no further study is begun.

        Raises:
            Broken: A study has no result, or more than one, or the audit log is damaged.
        """
        from orthanc import run_orthanc

        from drdeploy.grader.artifacts.extraction import extract_archive
        from drdeploy.grader.box import box_artifact

        # A listener that need not extract the grader starts in half the time.
        extract_archive(box_artifact(), self.folder / "grader")
        (self.folder / "orthanc").mkdir()
        began_s = time.monotonic()
        with run_orthanc(self.folder / "orthanc") as archive:
            places = [("--stow", archive.dicomweb), ("--send", archive.peer)]
            identifiers = []
            for number in range(studies):
                if time.monotonic() - began_s > 60 * minutes:
                    studies = number
                    break
                chance = random.Random(f"{self.seed} {number}")
                files, identifier = self.write_study(number)
                identifiers.append(identifier)
                self.strike_study(chance, files, list(places[number % 2]))
                for file in files:
                    file.unlink()
                if sys.stdout.isatty() or number % 20 == 19:
                    print(f"{number + 1} studies, {time.monotonic() - began_s:.0f} s", flush=True)
            last = self.start("0", [*places[0]], None, 0)
            try:
                self.wait_for_results(studies)
            finally:
                last.end()
            check_archive(archive.count_modalities(), identifiers)
            entries = self.check_records(studies)
        return (
            f"seed {self.seed}: {studies} studies, {self.kills.total()} kills at "
            f"{len(self.kills)} steps, exactly one result each; the audit log of {entries} "
            f"entries is whole; {time.monotonic() - began_s:.0f} s"
        )

    def write_study(self, number: int) -> tuple[list[Path], str]:
        """Write both eyes of a patient as DICOM; return the files and the study's identifier."""
        from dicom_files import as_bytes, encapsulate, make_dataset, shrink_eye
        from pydicom import uid

        study = uid.generate_uid(entropy_srcs=[f"{self.seed} {number}"])
        content, pixels = shrink_eye()
        files = []
        for side in "LR":
            dataset = make_dataset(
                pixels, photometric="YBR_FULL_422", ImageLaterality=side,
                StudyInstanceUID=study, PatientID=f"{self.seed}-{number}",
            )  # fmt: skip
            wrapped = encapsulate(dataset, [content], uid.JPEGBaseline8Bit)
            files.append(self.folder / f"{side}.dcm")
            files[-1].write_bytes(as_bytes(wrapped))
        return files, study

    def strike_study(self, chance: random.Random, files: list[Path], to: list[str]) -> None:
        """Send a study, and kill the listener at a step of each kind."""
        step, nth = self.draw(chance, "receiving")
        listener = self.start(LATER, to, step, nth)
        self.send(listener, files)
        listener.wait_for_kill(step)

        listener = self.start(LATER, to, None, 0)
        if self.send(listener, files):
            raise Broken(f"the camera cannot send: {listener.read_log()}")
        listener.kill()
        self.kills["when the camera is done"] += 1

        for kind in ("grading", "sending"):
            step, nth = self.draw(chance, kind)
            self.start("0", to, step, nth).wait_for_kill(step)

    def draw(self, chance: random.Random, kind: str) -> tuple[Step, int]:
        """Choose a step and a call of it."""
        step = chance.choice(STEPS[kind])
        self.kills[f"{kind}: {step}"] += 1
        return step, chance.randint(1, step.calls)

    def start(self, quiet_s: str, to: list[str], step: Step | None, nth: int) -> Listener:
        """Start a listener."""
        grader = str(self.folder / "grader")
        options = ["--artifact", grader, "--quiet-s", quiet_s, *to]
        return Listener(self.folder, options, step, nth)

    def send(self, listener: Listener, files: list[Path]) -> int:
        """Send files as a camera; return the exit status."""
        port = listener.wait_for_port()
        return subprocess.run(
            [STORESCU, "-xy", "-aec", "DRDEPLOY", "127.0.0.1", port, *files],
            stderr=subprocess.DEVNULL, check=False, timeout=PATIENCE_S,
        ).returncode  # fmt: skip

    def wait_for_results(self, studies: int) -> None:
        """Wait until every study is graded and everything is delivered."""
        found: list[dict[str, object]] = []
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            records = open_records(self.folder)
            found = records.list_studies()
            records.close()
            states = Counter((one["state"], str(one["deliveries"]), one["reason"]) for one in found)
            if states == {("graded", "{'delivered': 4}", ""): studies}:
                return
            time.sleep(0.3)
        raise Broken(f"{states}")

    def check_records(self, studies: int) -> int:
        """Check that each study has one result; return the number of entries in the audit log."""
        from sqlalchemy import text

        records = open_records(self.folder)
        try:
            with records._engine.connect() as connection:
                actions = connection.execute(
                    text("SELECT subject, action, count(*) FROM audit GROUP BY 1, 2")
                ).all()
                results = connection.execute(text("SELECT count(*) FROM results")).scalar_one()
            wanted = {"receive photograph": 2, "grade study": 1, "deliver": 4}
            wrong = [row for row in actions if wanted.get(row[1]) != row[2]]
            if wrong or len(actions) != 3 * studies or results != 3 * studies:
                raise Broken(f"{results} results of {studies} studies; {wrong}")
            files = len(list(records.store.list_hashes()))
            if files != 2 * studies:
                raise Broken(f"{files} photographs of {studies} studies")
            return records.verify_audit_log()[0]
        finally:
            records.close()


def open_records(folder: Path):
    """Open the records, as the commands do."""
    from drdeploy.clinic.records import ClinicRecords
    from drdeploy.photograph_names import PhotographNames

    return ClinicRecords.open(folder / "records", names=PhotographNames.with_user_key())


def check_archive(found: dict[str, dict[str, int]], identifiers: list[str]) -> None:
    """Check that the archive has both photographs, one report and one page of each study."""
    whole = {"OP": 2, "SR": 1, "DOC": 1}
    wrong = {one: found.get(one) for one in identifiers if found.get(one) != whole}
    if wrong or len(found) != len(identifiers):
        raise Broken(f"the archive has {len(found)} studies; {wrong}")


def main() -> int:
    """Run the ordeal, and say what was seen."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--studies", type=int, default=200)
    parser.add_argument("--minutes", type=float, default=float("inf"), help="begin no study later")
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="clinic-kills-") as folder:
        ordeal = Ordeal(Path(folder), options.seed)
        print(f"seed {options.seed}", flush=True)
        try:
            print(ordeal.run(options.studies, options.minutes))
        except Broken as error:
            print(f"broken: {error}")
            return 1
        finally:
            for name, count in sorted(ordeal.kills.items()):
                print(f"{count:4d}  {name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
