"""Count the instructions that the lean server executes for one photograph, by library.

Run ``python benchmarks/instructions.py`` (some minutes). It needs Valgrind. The server runs twice
in Callgrind, a tool of Valgrind. In the first run it grades one photograph, and in the second run
many more. The difference between the two counts, divided by the number of additional photographs,
is the cost of one photograph. The first run also shows the cost of a start with the first answer.
Unlike times, these counts hardly differ from run to run, even on a busy machine. They show whether
a change saves work, but not how much time it saves. Valgrind does not have the processor's
instructions for SHA-256 and int8, so OpenSSL and ONNX Runtime execute more instructions than
without Valgrind.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from http.client import HTTPConnection
from http.client import HTTPException as HttpFault
from pathlib import Path
from typing import TYPE_CHECKING

from drdeploy.grader.synthetic.photograph import paint_synthetic_photograph
from drdeploy.hosting.container_engine import find_free_port
from harness.models import forms_of
from harness.options import parser_for, read_options
from harness.servers import Server, fill, ours

if TYPE_CHECKING:
    from collections.abc import Iterator

PHOTOGRAPHS = 20
READY_WITHIN_S = 600.0
STOPS_WITHIN_S = 120.0
MILLION = 1e6

GROUPS = {
    "ONNX Runtime": r"onnxruntime",
    "Pillow, with libjpeg": r"/PIL/|pillow\.libs",
    "NumPy": r"/numpy",
    "Python": r"python3[^/]*$|libpython|lib-dynload",
    "OpenSSL": r"libcrypto|libssl",
    "msgspec": r"/msgspec/",
    "C and C++ libraries": r"/lib(c|m|stdc\+\+|gcc_s|pthread)\.so|/ld-linux",
}
"""Names of groups of libraries, and expressions that match the libraries' paths."""
OTHER = "others"


def main() -> int:
    """Count, and print the counts."""
    options = read_options(parser_for(__doc__))
    if shutil.which("valgrind") is None:
        print("Nothing was measured, because Valgrind is missing: apt-get install valgrind")
        return 0
    if options.is_smoke:  # the server takes minutes in Callgrind
        counts = count_instructions(Server("python", (sys.executable, "-c", "pass")), b"", 0)
        print(f"million instructions of an interpreter: {counts['Python'] / MILLION:.1f}")
        return 0
    more = options.budget.calls(PHOTOGRAPHS)
    server = ours("lean", forms_of("mobilenet").int8, MODEL_SERVER_WORKERS="1", PYTHONHASHSEED="0")
    photograph = paint_synthetic_photograph(1, width_px=512, height_px=512)
    start = count_instructions(server, photograph, 1)
    longer = count_instructions(server, photograph, 1 + more)
    print(f"{'million instructions':22} {'start':>9} {'photograph':>11}")
    for group in (*GROUPS, OTHER):
        each = (longer[group] - start[group]) / more
        print(f"{group:22} {start[group] / MILLION:9.1f} {each / MILLION:11.2f}")
    each = (longer.total() - start.total()) / more
    print(f"{'sum':22} {start.total() / MILLION:9.1f} {each / MILLION:11.2f}")
    return 0


def count_instructions(server: Server, photograph: bytes, photographs: int) -> Counter[str]:
    """Run a server in Callgrind, and send it a photograph several times.

    Returns:
        The number of instructions of each group of libraries, for all processes of the server.
    """
    with tempfile.TemporaryDirectory(prefix="drdeploy-bench-") as name:
        folder = Path(name)
        port = find_free_port()
        command = [
            "valgrind", "--tool=callgrind", "--trace-children=yes", "--quiet",
            f"--callgrind-out-file={folder / 'counts.%p'}", *server.command,
        ]  # fmt: skip
        names = {"port": str(port), "folder": str(folder)}
        environment = {name: fill(value, names) for name, value in server.environment.items()}
        log = folder / "log"
        with log.open("wb") as file:
            child = subprocess.Popen(
                command, env={**os.environ, **environment}, stdout=file, stderr=file
            )
        try:
            for _ in range(photographs):
                send_until_answered(child, port, photograph, log)
        finally:
            if photographs:
                child.terminate()
            child.wait(STOPS_WITHIN_S)
        counts: Counter[str] = Counter()
        for written in folder.glob("counts.*"):
            for library, instructions in read_counts(written):
                counts[group_of(library)] += instructions
        return counts


def send_until_answered(
    child: subprocess.Popen[bytes], port: int, photograph: bytes, log: Path
) -> None:
    """Send a photograph until the server answers; it may still be starting."""
    deadline = time.monotonic() + READY_WITHIN_S
    while child.poll() is None and time.monotonic() < deadline:
        connection = HTTPConnection("127.0.0.1", port, timeout=READY_WITHIN_S)
        try:
            connection.request("POST", "/invocations", photograph, {"Content-Type": "image/jpeg"})
            if connection.getresponse().status == 200:
                return
        except (OSError, HttpFault):
            time.sleep(0.5)
        finally:
            connection.close()
    raise SystemExit(f"The server does not answer:\n{log.read_text(errors='replace')[-3000:]}")


def read_counts(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the path of a library and a number of instructions for each line of Callgrind's file.

    The format is described in Valgrind's manual, "Callgrind Format Specification". A line after
    ``calls=`` has the cost of the called function too, which is counted in that function.
    """
    names: dict[str, str] = {}
    library = ""
    is_cost_of_call = False
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if found := re.match(r"c?ob=(\(\d+\))(?: (.+))?", line):
                if found[2]:
                    names[found[1]] = found[2]
                if line.startswith("ob="):
                    library = names[found[1]]
            elif line.startswith("calls="):
                is_cost_of_call = True
            elif found := re.match(r"[+*-]?\d* (\d+)$", line):
                if not is_cost_of_call:
                    yield library, int(found[1])
                is_cost_of_call = False


def group_of(library: str) -> str:
    """Return the name of the group that a library belongs to."""
    return next((name for name, path in GROUPS.items() if re.search(path, library)), OTHER)


if __name__ == "__main__":
    sys.exit(main())
