"""Parsers of bytes that a stranger may send: nothing but an answer or a refusal, soon, in bounds.

``make fuzz MINUTES=60`` searches for longer.  What it finds goes into ``corpus`` and is parsed here
ever after, also where there is no fuzzer.
"""

import importlib.util
import os
import platform
import subprocess
import sys
import time
from pathlib import Path

import pytest
from corpus import known_inputs
from required import require
from targets import TARGETS, run

HERE = Path(__file__).parent
SECONDS = int(os.environ.get("DRDEPLOY_FUZZ_SECONDS", "3"))
"""For each target: with what it takes to start, two minutes in all.  Ten would take five."""

pytestmark = pytest.mark.fuzz


@pytest.fixture(scope="module")
def fuzzer():
    """The fuzzer atheris, which the test environment holds wherever it has a package."""
    if sys.platform != "linux" or platform.machine() != "x86_64":
        pytest.skip("atheris has packages for Linux on x86-64 alone")
    require(importlib.util.find_spec("atheris") is not None, "the fuzzer atheris")


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_every_known_input_is_parsed_or_refused_in_time(name):
    run(name, b"")  # imports the parser
    accepted = 0
    for data in known_inputs(name):
        started = time.process_time()
        accepted += run(name, data)
        assert time.process_time() - started < TARGETS[name].budget_s
    assert accepted or name == "onnx_signature"  # a model of five classes is larger than a seed


@pytest.mark.usefixtures("fuzzer")
@pytest.mark.parametrize("name", sorted(TARGETS))
def test_fuzzing_finds_nothing(name, tmp_path):
    command = [sys.executable, str(HERE / "fuzz_one.py"), name]
    command += ["--seconds", str(SECONDS), "--work", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    found = [path.read_bytes() for path in tmp_path.glob("found/*/*")]
    assert not found, f"{found}\n{done.stdout[-3000:]}{done.stderr[-3000:]}"
    assert done.returncode == 0, done.stderr[-3000:]


@pytest.mark.usefixtures("fuzzer")
def test_a_parser_that_breaks_its_promise_is_found(tmp_path):
    program = (
        f"import sys; sys.path[:0] = [{str(HERE)!r}, {str(HERE.parent / 'support')!r}]\n"
        "import targets\n"
        "def broken(data):\n"
        "    if data[:1] == b'Z': raise KeyError('a bug')\n"
        "targets.TARGETS['exif'] = targets.Target(broken, ('drdeploy.grader.fundus',))\n"
        f"sys.argv = ['fuzz', 'exif', '--seconds', '20', '--work', {str(tmp_path)!r}]\n"
        "import fuzz_one\n"
        "fuzz_one.main()\n"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=False)
    assert done.returncode != 0
    assert b"a bug" in done.stdout + done.stderr
