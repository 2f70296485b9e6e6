"""The image ``minimal`` starts from byte code that its build has prepared."""

from __future__ import annotations

import json
import marshal
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).resolve().parents[3] / "containers/prepared_start.py"

RUN = """
import json, sys
sys.path[:0] = [{library!r}]
import drdeploy_serve
drdeploy_serve.use_prepared_code({library!r})
{code}
"""


@pytest.fixture
def library(tmp_path):
    shutil.copy(SCRIPT, tmp_path / "drdeploy_serve.py")
    return tmp_path


def prepare(library, modules=None, functions=None, expressions=None, *, worker=None):
    """Write the files for the supervisor and for the worker."""
    names = frozenset(worker or {})
    content = marshal.dumps((modules or {}, functions or {}, expressions or {}, names))
    (library / "start.marshal").write_bytes(content)
    content = marshal.dumps((worker or {}, {}, {}, frozenset()))
    (library / "worker.marshal").write_bytes(content)


def code_of(text):
    return compile(text, "prepared", "exec")


def run(library, code):
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", RUN.format(library=str(library), code=code)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    return json.loads(done.stdout)


def test_modules_come_from_the_prepared_code_and_others_from_their_files(library):
    (library / "eye").mkdir()
    (library / "eye/disc.py").write_text("WHERE = 'file'")
    prepare(
        library,
        {
            "eye": (True, code_of("WHERE = 'prepared'")),
            "eye.macula": (False, code_of("from eye import WHERE")),
        },
    )
    code = "import eye.macula, eye.disc\n"
    code += "print(json.dumps([eye.macula.WHERE, eye.disc.WHERE, eye.__path__, eye.__file__]))"
    assert run(library, code) == [
        *("prepared", "file"),
        [f"{library}/eye"],
        f"{library}/eye/__init__.pyc",
    ]


def test_the_modules_of_the_worker_are_read_when_one_of_them_is_imported(library):
    prepare(
        library,
        {"eye": (False, code_of("GRADE = 4"))},
        worker={"runtime": (False, code_of("from eye import GRADE"))},
    )
    code = """
import eye
prepared = sys.meta_path[0]
names = [sorted(prepared.modules)]
import runtime
print(json.dumps([*names, sorted(prepared.modules), runtime.GRADE, len(prepared.later)]))
"""
    assert run(library, code) == [["eye"], ["eye", "runtime"], 4, 0]


def test_a_module_for_later_runs_once_and_only_when_it_is_used(library):
    later = marshal.dumps(code_of("import sys\nsys.stages.append('ran')\nGRADE = 4"))
    prepare(library, {"later": (False, later)})
    code = """
sys.stages = []
import later
sys.stages.append('imported')
sys.stages += [later.GRADE, hasattr(later, 'missing'), later.GRADE, type(later) is type(sys)]
print(json.dumps(sys.stages))
"""
    assert run(library, code) == ["imported", "ran", 4, False, 4, True]


def test_threads_that_use_a_module_for_later_at_once_all_find_it_whole(library):
    later = marshal.dumps(code_of("import time\nFIRST = 1\ntime.sleep(0.05)\nLAST = 2"))
    prepare(library, {"later": (False, later)})
    code = """
from threading import Thread
import later
found = []
threads = [Thread(target=lambda: found.append(later.LAST)) for _ in range(8)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(json.dumps(found))
"""
    assert run(library, code) == [2] * 8


def test_threads_that_use_two_modules_for_later_do_not_wait_for_each_other(library):
    """One imports a module while the module for later, which imports it too, already runs."""
    body = "import sys, time\nsys.is_running = True\ntime.sleep(0.1)\nimport middle\nGRADE = 4"
    (library / "middle.py").write_text(
        "import sys, time, second\n"
        "while not sys.is_running:\n time.sleep(0.01)\n"
        "GRADE = second.GRADE"
    )
    prepare(
        library,
        {
            "first": (False, marshal.dumps(code_of(body))),
            "second": (False, marshal.dumps(code_of("GRADE = 3"))),
        },
    )
    code = """
import sys, first
from threading import Thread
sys.is_running, found = False, []
def use():
    import middle
    found.append(middle.GRADE)
threads = [Thread(target=use, daemon=True)]
threads += [Thread(target=lambda: found.append(first.GRADE), daemon=True)]
[thread.start() for thread in threads]
[thread.join(10) for thread in threads]
print(json.dumps(sorted(found)), flush=True)
"""
    assert run(library, code) == [3, 4]


def test_methods_of_dataclasses_that_are_not_prepared_are_compiled(library):
    prepare(library)
    code = """
from dataclasses import dataclass
@dataclass(frozen=True)
class Eye:
    grade: int
print(json.dumps([Eye(4).grade, Eye(4) == Eye(4), repr(Eye(4))]))
"""
    assert run(library, code) == [4, True, "Eye(grade=4)"]


def test_prepared_methods_and_expressions_are_used(library):
    text = "def __create_fn__():\n def grade(self):\n  return 4\n return grade"
    prepared = "def __create_fn__():\n def grade(self):\n  return 'prepared'\n return grade"
    compiled = "import _sre, json, re._compiler as c\n"
    compiled += "p = c._parser.parse('a+', 0)\n"
    compiled += "print(json.dumps([int(n) for n in c._code(p, p.state.flags)]))"
    done = subprocess.run([sys.executable, "-c", compiled], capture_output=True, check=True)
    code = json.loads(done.stdout)
    prepare(library, None, {text: code_of(prepared)}, {("b+", 0): (32, code, 0, {}, (None,))})
    asked = f"""
import dataclasses, re
names = {{}}
dataclasses.exec({text!r}, {{}}, names)
print(json.dumps([names['__create_fn__']()(None), bool(re.match('b+', 'aaa')),
                  re.match('c+', 'cc').end()]))
"""
    assert run(library, asked) == ["prepared", True, 2]
