"""Write ``start.marshal``, from which prepared_start.py starts the server of ``drdeploy:minimal``.

    prepare_start.py LIBRARY       LIBRARY: the folder with all modules as byte code

Run it with the interpreter of the image and with ``-I -S``, as the image does.  It imports what the
server imports, and keeps the byte code of the modules, of the dataclasses' methods, and of the
regular expressions.
"""

# ruff: noqa: E402, INP001, S102, S302, SLF001  a script beside the Dockerfiles; it runs its own code
from __future__ import annotations

import sys

PRESENT = frozenset(sys.modules)
"""Modules that the interpreter imports before it runs anything."""
LIBRARY = sys.argv[1]
sys.path[:] = [LIBRARY]

import _sre
import importlib
import marshal
import re._compiler as compiler
from pathlib import Path
from typing import Any

import drdeploy_serve as prepared_start

IMPORTED = (
    "drdeploy.hosting.serving.supervisor",
    "drdeploy.hosting.serving.lean.supervision",
    "drdeploy.hosting.serving.lean.worker",
    "drdeploy.grader.runtimes.onnxruntime_runtime",
    "PIL.JpegImagePlugin",
)
"""What the server imports before its first answer."""

ENTRY_POINT = "drdeploy_entry_point"
"""It would serve if it were imported here."""

FOR_LATER = (
    *("PIL.ExifTags", "PIL.TiffTags", "inspect", "locale", "msgspec.inspect", "pickle"),
    "textwrap",
)
"""Modules that others import, but that hardly any start uses."""


class RecordingSre:
    """Stands in for ``_sre`` in ``re._compiler``, and keeps what is compiled last."""

    def __init__(self) -> None:
        self.last: tuple[Any, ...] = ()

    def __getattr__(self, name: str) -> Any:
        return getattr(_sre, name)

    def compile(self, pattern: Any, flags: int, code: list[int], groups: int, *names: Any) -> Any:
        """Compile an expression as ``_sre`` does."""
        by_name, by_number = names
        # marshal takes no subclass of int, and ``re`` has such numbers.
        plain = [int(number) for number in code]
        self.last = (int(flags), plain, groups, dict(by_name), tuple(by_number))
        return _sre.compile(pattern, flags, code, groups, *names)


def main() -> None:
    """Import all of it, and write what was imported and compiled."""
    functions: dict[str, Any] = {}
    expressions: dict[tuple[str | bytes, int], tuple[Any, ...]] = {}

    def execute(text: str, variables: dict[str, Any], found: dict[str, Any]) -> None:
        functions[text] = compile(text, "<string>", "exec", dont_inherit=True)
        exec(functions[text], variables, found)

    sre = RecordingSre()
    compile_now = compiler.compile

    def compile_and_record(pattern: Any, flags: int = 0) -> Any:
        made = compile_now(pattern, flags)
        if isinstance(pattern, str | bytes):
            expressions[pattern, int(flags)] = sre.last
        return made

    compiler._sre = sre
    compiler.compile = compile_and_record
    later = {name: (is_package(name), marshal.dumps(read_code(name))) for name in FOR_LATER}
    sys.meta_path.insert(0, prepared_start.PreparedModules(LIBRARY, later))
    import dataclasses  # not above: it imports `inspect`, which is for later

    dataclasses.exec = execute  # type: ignore[attr-defined]
    for name in IMPORTED:
        importlib.import_module(name)
    names = {name for name in sys.modules if path_of(name).is_file()} - PRESENT - later.keys()
    modules = {name: (is_package(name), read_code(name)) for name in sorted({*names, ENTRY_POINT})}
    content = marshal.dumps((modules | later, functions, expressions))
    Path(LIBRARY, prepared_start.NAME).write_bytes(content)


def is_package(name: str) -> bool:
    """Return whether a module is a package."""
    return Path(LIBRARY, *name.split("."), "__init__.pyc").is_file()


def path_of(name: str) -> Path:
    """Return the path of a module's byte code."""
    folder = Path(LIBRARY, *name.split("."))
    return folder / "__init__.pyc" if is_package(name) else folder.with_suffix(".pyc")


def read_code(name: str) -> Any:
    """Return a module's code, which follows 16 bytes of header."""
    return marshal.loads(path_of(name).read_bytes()[16:])


if __name__ == "__main__":
    main()
