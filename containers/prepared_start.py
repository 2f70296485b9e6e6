"""Start the server of ``drdeploy:minimal`` quickly, from two files that prepare_start.py wrote.

The files are beside this script. They hold what every start would otherwise read or compute again:

- the byte code of all modules that a start imports, so that two files are opened instead of 285;
- the methods that ``dataclasses`` compiles from text for each class;
- the regular expressions, as ``re`` compiles them.

``start.marshal`` is for the supervisor. A worker is forked from the supervisor, and reads
``worker.marshal`` when it first imports a module of that file. The supervisor does not read
``worker.marshal``. If it did, the worker would inherit the supervisor's memory pages with this
code, and the kernel would have to copy each of these pages when the worker used it.

Modules and expressions that the files lack are imported and compiled as usual.
"""

# ruff: noqa: INP001, S102, S302  a script beside the Dockerfiles, no package; it runs its own code
from __future__ import annotations

import gc
import marshal
import mmap
import sys
from _frozen_importlib import ModuleSpec
from _thread import RLock

TYPE_CHECKING = False  # start.marshal provides `typing` only later
if TYPE_CHECKING:
    from types import CodeType, ModuleType
    from typing import Any
else:
    ModuleType = type(sys)

START, WORKER = "start.marshal", "worker.marshal"


class LaterModule(ModuleType):
    """A module whose code runs only when an attribute of the module is first used."""

    def __getattr__(self, name: str) -> Any:
        """Run the code of the module once, and return its attribute."""
        # Each module has its own lock. With one lock for all modules, two threads could each wait
        # for the lock of the other, because imports have locks too.
        with self.__dict__["_lock_for_later"]:
            code = self.__dict__.pop("_code_for_later", None)
            if code is not None:
                exec(marshal.loads(code), self.__dict__)
                self.__class__ = ModuleType
        return ModuleType.__getattribute__(self, name)


class PreparedModules:
    """Finds and loads the prepared modules, as an entry of ``sys.meta_path``.

    Args:
        library: The folder that the modules were in.

    Attributes:
        modules: For each module, by its name: whether it is a package, and its code. Modules that
            hardly any start needs have their code as bytes, which are decoded only when the module
            is used.
        later: The names of the modules in ``worker.marshal``; empty after this file has been read.
        functions: The code that ``dataclasses`` compiles, by its source text.
        expressions: The regular expressions, by pattern and flags, as arguments of ``_sre``.
    """

    def __init__(self, library: str) -> None:
        self._library = library
        self.modules: dict[str, tuple[bool, CodeType | bytes]] = {}
        self.later: frozenset[str] = frozenset()
        self.functions: dict[str, CodeType] = {}
        self.expressions: dict[tuple[str | bytes, int], tuple[Any, ...]] = {}

    def read(self, name: str) -> None:
        """Read one of the two files of prepared code, and add its code to this object."""
        with open(f"{self._library}/{name}", "rb", buffering=0) as file:  # noqa: PTH123  no pathlib
            # The file is mapped into memory. Reading it would copy 2 MB, page by page.
            content = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        modules, functions, expressions, self.later = marshal.loads(content)
        content.close()
        self.modules.update(modules)
        self.functions.update(functions)
        self.expressions.update(expressions)

    def find_spec(self, name: str, *_: object) -> ModuleSpec | None:
        """See ``importlib.abc.MetaPathFinder.find_spec``."""
        if name in self.later:
            self.read(WORKER)
        found = self.modules.get(name)
        if found is None:
            return None
        place = f"{self._library}/{name.replace('.', '/')}"
        is_package = found[0]
        origin = f"{place}/__init__.pyc" if is_package else f"{place}.pyc"
        spec = ModuleSpec(name, self, origin=origin)  # type: ignore[arg-type]
        spec.has_location = True
        if is_package:
            spec.submodule_search_locations = [place]
        return spec

    def create_module(self, _: ModuleSpec) -> None:
        """See ``importlib.abc.Loader.create_module``."""

    def exec_module(self, module: ModuleType) -> None:
        """See ``importlib.abc.Loader.exec_module``."""
        code = self.modules[module.__name__][1]
        if isinstance(code, bytes):
            module.__dict__.update(_code_for_later=code, _lock_for_later=RLock())
            module.__class__ = LaterModule
        else:
            exec(code, module.__dict__)


def use_prepared_code(library: str) -> None:
    """From now on, take modules and compiled code from the prepared files in a folder."""
    prepared = PreparedModules(library)
    prepared.read(START)
    sys.meta_path.insert(0, prepared)
    import _sre
    import dataclasses
    import re._compiler as compiler

    def execute(text: str, variables: dict[str, Any], found: dict[str, Any]) -> None:
        exec(prepared.functions.get(text, text), variables, found)

    compile_now = compiler.compile

    def find_or_compile(pattern: Any, flags: int = 0) -> Any:
        is_text = isinstance(pattern, str | bytes)
        found = prepared.expressions.get((pattern, int(flags))) if is_text else None
        if found is None:
            return compile_now(pattern, flags)
        return _sre.compile(pattern, *found)

    dataclasses.exec = execute  # type: ignore[attr-defined]
    compiler.compile = find_or_compile


if __name__ == "__main__":
    gc.disable()  # imports make hardly any garbage; serve.py enables it again
    use_prepared_code(__file__.rpartition("/")[0])
    import drdeploy_entry_point  # noqa: F401  it serves until the container is stopped
