"""The event that ends a command which serves until it is stopped."""

import os
import signal
import subprocess
import sys
import threading

import pytest

from drdeploy.cli.end_event import EndEvent, make_end_event
from drdeploy.grader.box import box_artifact

STOPS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


@pytest.fixture
def handlers_kept():
    before = {number: signal.getsignal(number) for number in STOPS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.usefixtures("handlers_kept")
@pytest.mark.parametrize("number", STOPS)
def test_a_signal_sets_the_event(number):
    over = make_end_event(until_stdin_closes=False)
    os.kill(os.getpid(), number)
    over.wait()


@pytest.mark.usefixtures("handlers_kept")
def test_a_hangup_that_nohup_ignores_stays_ignored():
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    make_end_event(until_stdin_closes=False)
    assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN


def test_a_set_event_stays_set():
    over = EndEvent()
    over.set()
    over.set()
    over.wait()
    over.wait()


def test_the_event_may_be_set_at_any_step_of_a_wait():
    """A handler runs between any two steps of the code that it interrupts, on the same thread."""
    steps = 0

    def interrupt_at(place):
        over, seen = EndEvent(), 0

        def trace(frame, kind, _):
            nonlocal seen
            frame.f_trace_opcodes = True
            if kind == "opcode":
                seen += 1
                if seen == place:
                    sys.settrace(None)
                    over.set()
            return trace

        late = threading.Timer(1.0, over.set)  # ends a wait that was interrupted too late
        late.start()
        sys.settrace(trace)
        try:
            over.wait()
        finally:
            sys.settrace(None)
            late.cancel()
        return seen

    while interrupt_at(steps + 1) > steps:
        steps += 1
    assert steps > 5


UNTIL_INPUT_ENDS = """
from drdeploy.cli.end_event import make_end_event
make_end_event(until_stdin_closes=True).wait()
"""


def test_input_that_ends_sets_the_event():
    words = [sys.executable, "-c", UNTIL_INPUT_ENDS]
    subprocess.run(words, input=b"x" * 9000, timeout=60, check=True)


def test_input_that_was_closed_before_the_start_sets_the_event():
    words = ["sh", "-c", 'exec "$0" -c "$1" <&-', sys.executable, UNTIL_INPUT_ENDS]
    subprocess.run(words, timeout=60, check=True)


ENDING = """
import sys, threading
from pathlib import Path
from drdeploy import end_of_process
from drdeploy.cli.end_event import exit_without_waiting
from drdeploy.grader.artifacts.extraction import extract_archive_temporarily

model = extract_archive_temporarily(Path(sys.argv[1]))

def decode():
    with end_of_process.temporary_folder("drdeploy-dicom-") as folder:
        (folder / "frame.dcm").write_bytes(b"pixels")
        try:
            end_of_process.run_child(["sleep", "3600"], timeout_s=3600)
        finally:
            print("a study was recorded as damaged")

threading.Thread(target=decode).start()
while not end_of_process._children:
    pass
(child,) = end_of_process._children
print(child.pid, len(end_of_process._folders), flush=True)
exit_without_waiting(3)
"""


def test_an_end_without_waiting_leaves_no_pixels_no_model_and_no_child(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", ENDING, box_artifact()], env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    (line,) = done.stdout.splitlines()
    child, folders = map(int, line.split())
    assert folders == 2
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
