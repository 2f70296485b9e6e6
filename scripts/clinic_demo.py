"""Demonstrate a clinic with the example photographs, from camera to worklist: ``make clinic-demo``.

This script takes the place of a camera: it sends photographs of six invented patients by C-STORE to
``drdeploy clinic listen``. That command grades the photographs. If the image archive Orthanc is
installed on this machine, the command sends the photographs, structured reports and PDFs to
Orthanc, and the script fetches them again and writes FHIR bundles. Without Orthanc, the results are
written into folders. At the end, a web page shows the worklist until you press Ctrl-C. All files
are in a temporary folder, which is removed at the end.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydicom.uid import generate_uid

from drdeploy.clinic.dicom_sender import ArchivePeer
from drdeploy.clinic.ophthalmic_photograph import EncodedPixels, encode_ophthalmic_photograph
from drdeploy.hosting.container_engine import find_free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

PHOTOGRAPHS = Path(__file__).resolve().parents[1] / "examples" / "photographs"
COMMAND = (sys.executable, "-m", "drdeploy", "clinic")
DICOMWEB_PLUGIN = Path("/usr/share/orthanc/plugins/libOrthancDicomWeb.so")
PATIENCE_S = 300.0
SIDES = ("right", "left")
DELIVERIES_OF_STUDY = 4
"""How many files of each study an archive gets: two photographs, a structured report and a PDF."""


def main() -> int:
    """Run the demonstration."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument(
        "--no-orthanc", action="store_true", help="write the results into files, without Orthanc"
    )
    parser.add_argument("--no-worklist", action="store_true", help="end after the listing")
    options = parser.parse_args()
    # Whoever ends the demonstration with SIGTERM wants everything else to end as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    orthanc = None if options.no_orthanc else find_orthanc()
    with tempfile.TemporaryDirectory(prefix="drdeploy-clinic-demo-") as name:
        folder = Path(name)
        os.environ["XDG_STATE_HOME"] = str(folder / "state")  # a key of its own
        try:
            files = write_patients(folder / "camera")
            with contextlib.ExitStack() as stack:
                demonstrate(stack, folder, files, orthanc, has_worklist=not options.no_worklist)
        except KeyboardInterrupt:
            say("\nEnded.")
        except (subprocess.CalledProcessError, RuntimeError) as error:
            sys.stderr.write(f"The demonstration failed: {error}\n")
            return 1
        finally:
            say(f"Removing {folder}.")
    return 0


def demonstrate(
    stack: contextlib.ExitStack,
    folder: Path,
    files: list[Path],
    orthanc: str | None,
    *,
    has_worklist: bool,
) -> None:
    """Send the photographs to the listener, wait for the results, and print where all files are."""
    records, fhir = folder / "records", folder / "fhir"
    if orthanc is None:
        say("Without Orthanc (Debian: orthanc, orthanc-dicomweb), results are written into files.")
        results = ["--sr", str(folder / "reports"), "--pdf", str(folder / "pages")]
        run("triage", str(folder / "camera"), "--fhir", str(fhir), *results)
        arguments: list[str] = []
    else:
        archive = stack.enter_context(run_orthanc(orthanc, folder / "orthanc"))
        arguments = ["--stow", f"{archive}/dicom-web"]
    # The listener also fills the records without an archive: the worklist shows them.
    with run_listener(folder, records, arguments) as peer:
        for file in files:
            if reason := peer.send_file(file.read_bytes()):
                raise RuntimeError(reason)
        studies = len(files) // len(SIDES)
        say(f"{len(files)} photographs of {studies} patients sent by C-STORE.")
        wait_for_results(records, studies, deliveries=DELIVERIES_OF_STUDY if orthanc else 0)
    run("studies", str(records), is_checked=False)
    if orthanc is not None:
        run("pull", f"{archive}/dicom-web", str(folder / "pulled"))
        run("triage", str(folder / "pulled"), "--fhir", str(fhir), "--json", is_shown=False)
    say("\nWhat lies where:")
    if orthanc is not None:
        show_archive(archive)
    for title, place in (
        ("photographs as DICOM, as from a camera", folder / "camera"),
        ("records: photographs, results and audit log", records),
        ("DICOM structured reports", folder / "reports"),
        ("pages as PDF in DICOM", folder / "pages"),
        ("FHIR R4 bundles", fhir),
    ):
        if place.exists():
            count = sum(one.is_file() for one in place.rglob("*"))
            say(f"  {title}: {count} files in {place}")
    run("audit", str(records))
    if has_worklist and has_command("serve"):
        say("\nThe worklist follows; Ctrl-C ends it and removes everything.")
        run("serve", str(records), "--port", "0", *arguments, is_checked=False)


def write_patients(folder: Path) -> list[Path]:
    """Write the example photographs as DICOM files: two photographs for each invented patient."""
    folder.mkdir()
    files = []
    photographs = sorted(PHOTOGRAPHS.glob("*.jpg"))
    photographs.append(photographs[-1])  # the eleventh is the only eye that is not of a pair
    pairs = zip(photographs[::2], photographs[1::2], strict=True)
    for number, pair in enumerate(pairs, 1):
        study, series = generate_uid(), generate_uid()
        for eye, photograph in zip(SIDES, pair, strict=True):
            files.append(folder / f"{number}-{eye}.dcm")
            content = encode_ophthalmic_photograph(
                EncodedPixels.of_jpeg(photograph.read_bytes()),
                eye=eye,
                day=time.strftime("%Y%m%d"),
                elements={
                    "PatientName": f"Example^Patient {number}", "PatientID": f"DEMO-{number}",
                    "StudyInstanceUID": study, "SeriesInstanceUID": series,
                    "SOPInstanceUID": generate_uid(),
                    "SynchronizationFrameOfReferenceUID": generate_uid(),
                },
            )  # fmt: skip
            files[-1].write_bytes(content)
    return files


def find_orthanc() -> str | None:
    """Return the path of Orthanc's program; None if Orthanc or its DICOMweb plugin is missing."""
    program = shutil.which("Orthanc", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    return program if program and DICOMWEB_PLUGIN.exists() else None


@contextlib.contextmanager
def run_orthanc(program: str, folder: Path) -> Iterator[str]:
    """Run Orthanc on the loopback address, and yield its URL."""
    folder.mkdir()
    port = find_free_port()
    settings = folder / "orthanc.json"
    options = {
        "HttpPort": port, "DicomPort": find_free_port(), "Plugins": [str(DICOMWEB_PLUGIN)],
        "StorageDirectory": str(folder), "IndexDirectory": str(folder),
        "RemoteAccessAllowed": False, "AuthenticationEnabled": False,
    }  # fmt: skip
    settings.write_text(json.dumps(options))
    with (folder / "orthanc.log").open("wb") as log, ended(
        subprocess.Popen([program, settings], stdout=log, stderr=log, cwd=folder)
    ) as process:  # fmt: skip
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + PATIENCE_S
        while True:
            with contextlib.suppress(OSError):
                ask(f"{url}/system")
                break
            if process.poll() is not None or time.monotonic() > deadline:
                message = f"Orthanc does not start: {(folder / 'orthanc.log').read_text()[-500:]}"
                raise RuntimeError(message)
            time.sleep(0.2)
        say(f"Orthanc runs at {url}.")
        yield url


@contextlib.contextmanager
def run_listener(folder: Path, records: Path, arguments: list[str]) -> Iterator[ArchivePeer]:
    """Run ``drdeploy clinic listen`` on a free port, and yield a client that sends files to it."""
    command = [*COMMAND, "listen", str(records), "--port", "0", "--quiet-s", "3", *arguments]
    with (folder / "listener.log").open("wb") as log, ended(
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=log)
    ) as process:  # fmt: skip
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        found = re.search(rb":(\d+)$", process.stdout.readline().strip())
        if found is None:
            message = (folder / "listener.log").read_text()[-500:]
            raise RuntimeError(message)
        yield ArchivePeer("DRDEPLOY", "127.0.0.1", int(found[1]))


@contextlib.contextmanager
def ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Make a context manager that ends a running process when the ``with`` block ends."""
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_for_results(records: Path, studies: int, *, deliveries: int) -> None:
    """Wait until every study is graded, and its results are delivered to the archive."""
    deadline = time.monotonic() + PATIENCE_S
    rows: list[dict[str, Any]] = []
    while time.monotonic() < deadline:
        asked = subprocess.run(
            [*COMMAND, "studies", str(records), "--json"], capture_output=True, check=False
        )
        rows = json.loads(asked.stdout)["studies"] if asked.stdout else []
        done = [
            row
            for row in rows
            if row["state"] == "graded" and sum(row["deliveries"].values()) == deliveries
            and set(row["deliveries"]) <= {"delivered"}
        ]  # fmt: skip
        if len(done) == studies:
            return
        time.sleep(1)
    message = f"not all studies got results: {rows}"
    raise RuntimeError(message)


def show_archive(url: str) -> None:
    """Print what Orthanc has received for each study."""
    say(f"  archive: {url}/app/explorer.html")
    for study in ask(f"{url}/studies?expand"):
        series = [ask(f"{url}/series/{one}") for one in study["Series"]]
        kinds = sorted(
            f"{len(one['Instances'])} {one['MainDicomTags']['Modality']}" for one in series
        )
        say(f"    {study['PatientMainDicomTags']['PatientName']}: {', '.join(kinds)}")


def ask(url: str) -> Any:
    """Fetch a URL of Orthanc, and return the JSON of the answer."""
    with urllib.request.urlopen(url, timeout=30) as response:
        return json.load(response)


def has_command(name: str) -> bool:
    """Return whether ``drdeploy clinic`` has a command with this name."""
    from drdeploy.cli.clinic import app

    names = (one.name or one.callback.__name__ for one in app.registered_commands if one.callback)
    return name in names


def say(text: str) -> None:
    """Print a line immediately, so that it appears between the outputs of the commands."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def run(*arguments: str, is_checked: bool = True, is_shown: bool = True) -> None:
    """Run ``drdeploy clinic`` with arguments."""
    say(f"\n$ drdeploy clinic {' '.join(arguments)}")
    output = None if is_shown else subprocess.DEVNULL
    subprocess.run([*COMMAND, *arguments], check=is_checked, stdout=output)


if __name__ == "__main__":
    sys.exit(main())
