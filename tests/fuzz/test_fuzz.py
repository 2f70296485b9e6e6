"""Parsers of bytes that a stranger may send: nothing but an answer or a refusal, soon, in bounds.

The fuzzer tries the same inputs each time on the same machine: it starts from fixed seeds and ends
after a number of inputs.  ``make fuzz MINUTES=60`` searches for longer, with seeds of chance.  What
it finds goes into ``corpus`` and is parsed here ever after, also where there is no fuzzer.
"""

import importlib.util
import os
import platform
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest
from corpus import known_inputs
from required import require
from targets import TARGETS, run

HERE = Path(__file__).parent
MAX_SECONDS = 60
"""For each target; a fast machine has tried its inputs in a sixth of that."""

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


@pytest.fixture(scope="module")
def runs(fuzzer, request, tmp_path_factory):
    """The runs of the fuzzer by the name of the target, as many at once as there are processors."""
    folder = tmp_path_factory.mktemp("fuzz")
    names = [
        item.callspec.params["name"]
        for item in request.session.items
        if item.originalname == "test_fuzzing_finds_nothing"
    ]
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {name: pool.submit(fuzz, name, folder / name) for name in names}


def fuzz(name, folder):
    """Fuzz one target; return the finished process and what it found."""
    # From a shell, which is small: a process begins with the peak memory of the one that started
    # it (getrusage(2)), and the fuzzer would count the test runner's gigabytes as the parser's.
    command = ["sh", "-c", '"$@"; exit $?', "sh", sys.executable, str(HERE / "fuzz_one.py"), name]
    command += ["--seconds", str(MAX_SECONDS), "--runs", str(TARGETS[name].inputs)]
    command += ["--work", str(folder)]
    done = subprocess.run(
        [*same_addresses(), *command],
        env={**os.environ, "PYTHONHASHSEED": "0"},
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    return done, [path.read_bytes() for path in folder.glob("found/*/*")]


@cache
def same_addresses():
    """The start of a command whose process gets the same addresses each time, if there is one.

    The fuzzer chooses by the addresses of comparisons, among other things.
    """
    command = ["setarch", "--addr-no-randomize"]
    if shutil.which(command[0]) and not subprocess.run([*command, "true"], check=False).returncode:
        return command
    return []


@pytest.mark.parametrize("name", sorted(TARGETS))
def test_fuzzing_finds_nothing(name, runs):
    done, found = runs[name].result()
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
