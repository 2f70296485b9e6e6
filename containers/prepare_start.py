"""Write two files that let the server of ``drdeploy:minimal`` start faster.

The script prepared_start.py starts the server from these files.

    prepare_start.py LIBRARY       LIBRARY: the folder with all modules as byte code

Run the script with the image's interpreter and its options ``-I -S``. The script imports
what the server imports. It writes three things to the files: the byte code of the modules, the
compiled methods of dataclasses, and the compiled regular expressions.
"""

# ruff: noqa: E402, INP001, S102, S302, SLF001  a script beside the Dockerfiles; it runs its own code
from __future__ import annotations

import sys

PRESENT = frozenset(sys.modules)
"""Modules that the interpreter has imported before a script begins."""
LIBRARY = sys.argv[1]
sys.path[:] = [LIBRARY]

import _imp
import _sre
import importlib
import marshal
import re._compiler as compiler
from pathlib import Path
from typing import Any

import drdeploy_serve as prepared_start

SUPERVISOR = (
    "drdeploy.hosting.serving.supervisor",
    "drdeploy.hosting.serving.lean.supervision",
    "drdeploy.hosting.serving.memory",
)
"""What the supervisor imports before it forks the first worker. If a module is missing here, the
supervisor reads the file of the worker.
"""
WORKER = (
    "drdeploy.hosting.serving.lean.worker",
    "drdeploy.grader.runtimes.onnxruntime_runtime",
    "PIL.JpegImagePlugin",
)
"""What the worker imports before its first answer."""

ENTRY_POINT = "drdeploy_entry_point"
"""This module is not imported here, because its import would start the server."""

FOR_LATER = (
    *("PIL.ExifTags", "PIL.TiffTags", "ast", "asyncio.format_helpers", "asyncio.sslproto"),
    *("asyncio.staggered", "asyncio.trsock", "copy", "inspect", "ipaddress", "linecache", "locale"),
    *("msgspec.inspect", "msgspec.toml", "msgspec.yaml", "ntpath", "numpy._core._dtype_ctypes"),
    *("numpy._core._internal", "numpy.lib._arraypad_impl", "numpy.lib._arraysetops_impl"),
    *("numpy.lib._nanfunctions_impl", "numpy.lib._npyio_impl", "numpy.lib._polynomial_impl"),
    *("numpy.lib._type_check_impl", "numpy.lib._ufunclike_impl", "numpy.lib._utils_impl"),
    *("numpy.lib.format", "numpy.lib.mixins", "numpy.lib.npyio", "numpy.lib.scimath", "pickle"),
    *("queue", "textwrap"),
)
"""Modules that other modules import, but that hardly any start uses."""

NEVER = ("drdeploy_serve", "importlib._bootstrap", "importlib._bootstrap_external")
"""Modules that exist under another name when the start begins."""


class RecordingSre:
    """Stands in for ``_sre``, and keeps the arguments with which it last compiled an expression."""

    def __init__(self) -> None:
        self.last: tuple[Any, ...] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(_sre, name)

    def compile(self, pattern: Any, flags: int, code: list[int], groups: int, *names: Any) -> Any:
        """Compile an expression as ``_sre`` does."""
        by_name, by_number = names
        # marshal refuses subclasses of int, which ``re`` uses.
        plain = [int(number) for number in code]
        self.last = (int(flags), plain, groups, dict(by_name), tuple(by_number))
        return _sre.compile(pattern, flags, code, groups, *names)


class Recorder:
    """Records the code that ``dataclasses`` and ``re`` compile while modules are imported."""

    def __init__(self) -> None:
        self.functions: dict[str, Any] = {}
        self.expressions: dict[tuple[str | bytes, int], tuple[Any, ...]] = {}

    def start(self) -> None:
        """Begin to record the code that is compiled."""
        sre = RecordingSre()
        compile_now = compiler.compile

        def compile_and_record(pattern: Any, flags: int = 0) -> Any:
            made = compile_now(pattern, flags)
            if isinstance(pattern, str | bytes):
                self.expressions[pattern, int(flags)] = sre.last
            return made

        def execute(text: str, variables: dict[str, Any], found: dict[str, Any]) -> None:
            self.functions[text] = compile(text, "<string>", "exec", dont_inherit=True)
            exec(self.functions[text], variables, found)

        compiler._sre = sre
        compiler.compile = compile_and_record
        import dataclasses  # not at the top: it imports `inspect`, which is for later

        dataclasses.exec = execute  # type: ignore[attr-defined]

    def take(self) -> tuple[dict[str, Any], dict[tuple[str | bytes, int], tuple[Any, ...]]]:
        """Return the code that was recorded since the last call."""
        taken = self.functions, self.expressions
        self.functions, self.expressions = {}, {}
        return taken


def main() -> None:
    """Import all modules of the server, and write their code to the two files."""
    later = {name: (is_package(name), marshal.dumps(read_code(name))) for name in FOR_LATER}
    finder = prepared_start.PreparedModules(LIBRARY)
    finder.modules = later
    sys.meta_path.insert(0, finder)
    recorder = Recorder()
    recorder.start()
    supervisor = {ENTRY_POINT: (False, read_code(ENTRY_POINT)), **import_modules(SUPERVISOR, later)}
    compiled = recorder.take()
    worker = import_modules(WORKER, later)
    worker = {name: found for name, found in worker.items() if name not in supervisor}
    write(prepared_start.WORKER, worker, recorder.take(), frozenset())
    write(prepared_start.START, supervisor, compiled, frozenset(worker))


def import_modules(names: tuple[str, ...], later: dict[str, Any]) -> dict[str, Any]:
    """Import modules; return whether each loaded module is a package, and its code.

    prepared_start.py needs both.
    """
    for name in names:
        importlib.import_module(name)
    found = {name for name in sys.modules if path_of(name).is_file()} - PRESENT - {*NEVER}
    return {
        name: later[name] if name in later else (is_package(name), read_code(name))
        for name in sorted(found)
        if name in later or not _imp.is_frozen(name)  # built in, and faster to load
    }


def write(
    name: str, modules: dict[str, Any], compiled: tuple[Any, Any], in_other_file: frozenset[str]
) -> None:
    """Write one of the two files of prepared code."""
    Path(LIBRARY, name).write_bytes(marshal.dumps((modules, *compiled, in_other_file)))


def is_package(name: str) -> bool:
    """Return whether a module is a package."""
    return Path(LIBRARY, *name.split("."), "__init__.pyc").is_file()


def path_of(name: str) -> Path:
    """Return the path of a module's byte code."""
    folder = Path(LIBRARY, *name.split("."))
    return folder / "__init__.pyc" if is_package(name) else folder.with_suffix(".pyc")


def read_code(name: str) -> Any:
    """Read the code of a module from its byte code file, after the header of 16 bytes."""
    return marshal.loads(path_of(name).read_bytes()[16:])


if __name__ == "__main__":
    main()
