"""Send studies to ``drdeploy clinic`` as a camera does, and measure how fast its pages answer.

Run ``python benchmarks/clinic.py``. It sends 1,000 studies; ``--studies 50`` sends only 50. A study
has two photographs of each eye. The benchmark acts as a camera: it sends the studies one after the
other by C-STORE to ``drdeploy clinic listen``, which grades each study and makes its DICOM report,
PDF and FHIR bundle. ``drdeploy clinic serve`` shows the studies. With ``--way page``, the benchmark
uploads the photographs through the web page instead, and ``clinic serve`` also grades them. The
results are not sent to other systems. Until all studies are graded, the benchmark opens a page five
times a second: the worklist or the page of a study. The targets are:

- Every study is graded, and no photograph is refused.
- 95 % of these pages arrive within 200 ms.
- Resident memory at the end is at most 10 % more than after a quarter of the time.
"""

from __future__ import annotations

import http.client
import io
import itertools
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Self

import numpy as np
import psutil
from pydicom import dcmread
from pydicom.uid import JPEGBaseline8Bit, generate_uid
from pynetdicom import AE

from drdeploy.clinic.ophthalmic_photograph import (
    PHOTOGRAPHY_8_BIT,
    EncodedPixels,
    encode_ophthalmic_photograph,
)
from drdeploy.clinic.records import ClinicRecords
from drdeploy.clinic.records.worklist_queries import WorklistFilter
from drdeploy.photograph_names import KEY_VARIABLE, PhotographNames
from drdeploy.units import MB
from harness.models import photographs
from harness.options import Options, parser_for, read_options
from harness.page import Page, Target, rounded

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

STUDIES = {False: 1000, True: 50}
"""Number of studies of a normal and of a quick run."""
SMOKE_STUDIES = 2
FIELDS = 2
PHOTOGRAPHS_OF_STUDY = 2 * FIELDS
QUIET_S = 1.0
GROWTH = 0.10
PATIENCE_S = 3600.0

ANSWER_P95_S = 0.2
READ_PAUSE_S = 0.2
"""Seconds between requests, as if ten open pages each asked for the worklist every two seconds."""
ADDRESSES = ("/", "/list", "/list?page=2", "/list?show=all&page=3", "/?outcome=urgent", "/studies/")

INTRODUCTION = """
Each patient's study has four photographs, two of each eye, each a JPEG of 512 x 512 pixels in a
DICOM file.  The studies are sent one after another, without a pause.  The grading of a study, with
the packaged MobileNet in int8, begins a second after its last photograph has arrived.  During the
whole run, the benchmark opens a web page every 0.2 s: the first or a later page of the worklist,
the worklist with a filter, or the page of a study. For the page of a study, the server reads the
headers of the study's photographs.
"""


def main() -> int:
    """Run the benchmark, write its page of results, and print which targets are met."""
    parser = parser_for(__doc__)
    parser.add_argument("--studies", type=int, help="that are sent [1000; 50 if --quick]")
    parser.add_argument("--way", choices=("camera", "page"), default="camera")
    given = read_options(parser)
    options = replace(given, budget=replace(given.budget, rounds=1))
    way = options.more.way
    name, title = ("clinic", "Studies from a camera") if way == "camera" else (
        "clinic_page", "Studies that are dropped on the page")  # fmt: skip
    page = Page(name, title, INTRODUCTION, options)
    with tempfile.TemporaryDirectory() as folder:
        measure(page, Path(folder), options)
    return page.finish()


def measure(page: Page, folder: Path, options: Options) -> None:
    """Send the studies, wait until they are graded, and record the programs' memory meanwhile."""
    small = SMOKE_STUDIES if options.is_smoke else STUDIES[options.is_quick]
    studies = options.more.studies or small
    key = folder / "key"
    key.write_text("0" * 64)
    os.environ[KEY_VARIABLE] = str(key)
    eyes = photographs()
    with ExitStack() as stack:
        processes, send, port = start(stack, folder, options.more.way)
        began_s = time.monotonic()
        reader = stack.enter_context(PageReader(page, port, began_s))
        refused = 0
        for number in range(studies):
            refused += sum(not send(content) for content in make_study(number, eyes))
            reader.studies = number + 1
            if number % max(1, studies // 100) == 0:
                note(page, processes, number + 1, 0, began_s)
        sent_s = time.monotonic() - began_s
        graded, failed = wait_for_grades(page, processes, folder, studies, began_s)
        all_s = time.monotonic() - began_s
    check(page, studies, refused, graded, failed)
    page.table(
        ["studies", "sent in, s", "graded after, s", "studies a minute", "photographs a second"],
        [[studies, f"{sent_s:.0f}", f"{all_s:.0f}", f"{60 * studies / all_s:.0f}",
          f"{PHOTOGRAPHS_OF_STUDY * studies / all_s:.1f}"]],
    )  # fmt: skip
    report_answers(page)


def start(
    stack: ExitStack, folder: Path, way: str
) -> tuple[dict[str, psutil.Process], Callable[[bytes], bool], int]:
    """Start the programs that are measured.

    Returns: The processes of the programs, a function that sends a photograph, and the port of the
    web page.
    """
    records = folder / "records"
    quiet = ("--quiet-s", f"{QUIET_S}")
    if way == "page":
        serve, port = stack.enter_context(running(folder, "serve", records, *quiet))
        return {"memory_mb": serve}, PageSender(port).send, port
    listen, to = stack.enter_context(running(folder, "listen", records, *quiet))
    serve, port = stack.enter_context(running(folder, "serve", records))
    camera = AE(ae_title="CAMERA")
    camera.add_requested_context(PHOTOGRAPHY_8_BIT, JPEGBaseline8Bit)
    association = camera.associate("127.0.0.1", to, ae_title="DRDEPLOY")
    stack.callback(association.release)

    def send(content: bytes) -> bool:
        return association.send_c_store(dcmread(io.BytesIO(content))).get("Status") == 0

    return {"memory_mb": listen, "page_memory_mb": serve}, send, port


class PageSender:
    """Uploads photographs through the web page, with the requests that the page's script sends."""

    def __init__(self, port: int) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self._connection.request("GET", "/")
        answer = self._connection.getresponse()
        cookie = answer.headers["Set-Cookie"].partition(";")[0]
        token = re.search(rb'data-token="([^"]+)"', answer.read())[1].decode()
        self._headers = {"Cookie": cookie, "X-Token": token}

    def send(self, content: bytes) -> bool:
        """Upload a photograph, and return whether the server accepted it.

        If the server is busy and names a time to wait, the photograph is sent again after this
        time.
        """
        mark = uuid.uuid4().hex
        head = (
            f'--{mark}\r\nContent-Disposition: form-data; name="photograph"; filename="p"\r\n\r\n'
        )
        body = head.encode() + content + f"\r\n--{mark}--\r\n".encode()
        kind = {"Content-Type": f"multipart/form-data; boundary={mark}"}
        while True:
            self._connection.request("POST", "/photographs", body, {**self._headers, **kind})
            answer = self._connection.getresponse()
            answer.read()
            if answer.status != 429:
                return answer.status == 200
            time.sleep(float(answer.headers["Retry-After"]))


class PageReader:
    """Opens web pages repeatedly in a thread, and records how long each answer takes."""

    def __init__(self, page: Page, port: int, began_s: float) -> None:
        self.studies = 0
        self._page, self._port, self._began_s = page, port, began_s
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._read, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _read(self) -> None:
        chance = random.Random(17)
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
        for address in itertools.cycle(ADDRESSES):
            if self._is_over.wait(READ_PAUSE_S):
                return
            if address.endswith("/studies/") and not self.studies:
                continue
            number = chance.randint(1, self.studies) if address.endswith("/studies/") else ""
            before_s = time.monotonic()
            status = 0  # no answer, which counts as an error
            try:
                connection.request("GET", f"{address}{number}")
                answer = connection.getresponse()
                answer.read()
                status = answer.status
            except (OSError, http.client.HTTPException):
                connection.close()
            self._page.rows.append({
                "at_s": rounded(before_s - self._began_s), "address": address,
                "status": status, "answer_s": rounded(time.monotonic() - before_s),
            })  # fmt: skip


def check(page: Page, studies: int, refused: int, graded: int, failed: int) -> None:
    """Compare the measurements with the targets."""
    notes = [row for row in page.rows if "memory_mb" in row]
    at = [float(row["at_s"]) for row in notes]
    page.targets.append(
        Target(
            "every study is graded", graded == studies and not refused,
            f"{graded} of {studies}; {failed} failed, {refused} photographs refused",
        )
    )  # fmt: skip
    lines = []
    for name, title in (("memory_mb", "the grading program"), ("page_memory_mb", "the page")):
        memory = [float(row[name]) for row in notes if name in row]
        if not memory:
            continue
        lines.append((title, at, memory))
        early, last = memory[len(memory) // 4], memory[-1]
        page.targets.append(
            Target(
                f"resident memory of {title} at the end within {GROWTH:.0%} of that after a "
                "quarter of the time",
                last / early - 1 <= GROWTH,
                f"{early:.0f} MB, then {last:.0f} MB; the most was {max(memory):.0f} MB",
            )
        )
    page.line_plot("memory", "Resident memory", ("s", "MB"), lines)
    answers = [row for row in page.rows if "answer_s" in row]
    wrong = sum(row["status"] != 200 for row in answers)
    p95_s = float(np.percentile([row["answer_s"] for row in answers], 95))
    page.targets.append(
        Target(
            f"the page answers within {1000 * ANSWER_P95_S:.0f} ms (p95) meanwhile",
            p95_s <= ANSWER_P95_S and not wrong,
            f"{1000 * p95_s:.0f} ms for {len(answers)} answers, {wrong} of them errors",
        )
    )


def report_answers(page: Page) -> None:
    """Add a table to the page of results that says how long the answers for each URL took."""
    rows = []
    for address in ADDRESSES:
        taken = [row["answer_s"] for row in page.rows if row.get("address") == address]
        if taken:
            shown = (f"{1000 * np.percentile(taken, one):.0f}" for one in (50, 95, 100))
            rows.append([f"`{address}`", len(taken), *shown])
    page.table(["address", "answers", "p50, ms", "p95, ms", "most, ms"], rows)


def make_study(number: int, eyes: list[bytes]) -> Iterator[bytes]:
    """Yield the content of each DICOM file of a study."""
    study, series = generate_uid(), generate_uid()
    for place in range(PHOTOGRAPHS_OF_STUDY):
        yield encode_ophthalmic_photograph(
            EncodedPixels.of_jpeg(eyes[(number + place) % len(eyes)]),
            eye="left" if place % 2 else "right",
            day="20260102",
            elements={
                "PatientName": f"Benchmark^{number}", "PatientID": f"B-{number}",
                "StudyInstanceUID": study, "SeriesInstanceUID": series,
                "SOPInstanceUID": generate_uid(),
                "SynchronizationFrameOfReferenceUID": series,
            },
        )  # fmt: skip


@contextmanager
def running(folder: Path, *arguments: object) -> Iterator[tuple[psutil.Process, int]]:
    """Run ``drdeploy clinic`` on a free port; yield its process and its port."""
    command = [sys.executable, "-m", "drdeploy", "clinic", *map(str, arguments), "--port", "0"]
    with (folder / f"{arguments[0]}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    try:
        found = re.search(rb":(\d+)/?$", process.stdout.readline().strip())
        yield psutil.Process(process.pid), int(found[1])
    finally:
        process.terminate()
        process.wait(PATIENCE_S)


def wait_for_grades(
    page: Page,
    processes: dict[str, psutil.Process],
    folder: Path,
    studies: int,
    began_s: float,
) -> tuple[int, int]:
    """Wait until every study is graded or has failed; return how many were graded and failed."""
    records = ClinicRecords.open(folder / "records", names=PhotographNames.with_user_key())
    deadline = time.monotonic() + PATIENCE_S
    while True:
        counts = records.worklist.load_page(WorklistFilter()).counts
        graded, failed = counts["graded"], counts["failed"]
        note(page, processes, studies, graded, began_s)
        if graded + failed == studies or time.monotonic() > deadline:
            records.close()
            return graded, failed
        time.sleep(max(1.0, studies / 200))


def note(
    page: Page, processes: dict[str, psutil.Process], sent: int, graded: int, began_s: float
) -> None:
    """Add a row to the results, with the memory of the programs at this time."""
    page.rows.append({
        "at_s": rounded(time.monotonic() - began_s),
        "sent": sent,
        "graded": graded,
        **{name: rounded(one.memory_info().rss / MB) for name, one in processes.items()},
    })  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
