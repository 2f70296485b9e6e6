"""Gather the root file system of ``drdeploy:minimal``: an interpreter, a server, their libraries.

    minimal_root.py SITE ROOT

Everything Python is byte code without its source, in one folder, so that an import looks in one
place.  Shared libraries are those that the dynamic loader names for what is copied.
"""

# ruff: noqa: INP001  a script beside the Dockerfiles, no package
import compileall
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

INTERPRETER = Path("/usr/bin/python3.11")

LEFT_OUT = {
    *("__phello__", "__pycache__", "curses", "dbm", "distutils", "ensurepip", "idlelib"),
    *("lib2to3", "lib-dynload", "pydoc_data", "sqlite3", "test", "tkinter", "turtledemo"),
    *("unittest", "venv", "antigravity.py", "doctest.py", "pdb.py", "pickletools.py"),
    *("pydoc.py", "sitecustomize.py", "this.py", "turtle.py"),
}
"""Of the standard library: what is for its developers, for terminals and for screens."""

LEFT_OUT_EXTENSIONS = ("_crypt", "_curses", "_dbm", "_sqlite3", "_test", "_xx", "nis", "oss", "xx")
"""Beginnings of names in ``lib-dynload``, likewise."""

ARRAYS_ARE_LISTS_HERE = "NDArray = list\n"
"""NumPy's ``linalg`` imports 17 ms of type hints for one name, which only has to take ``[...]``."""

ADDS_DOCSTRINGS = ("_add_newdocs.py", "_add_newdocs_scalars.py")
"""Of NumPy's compiled functions: 5 ms of every start, for nobody to read."""


def main(site: Path, root: Path) -> None:
    """Copy, compile, and complete with libraries."""
    library = root / "usr/lib/python3.11"
    # Empty: by this folder the interpreter knows where it is installed.
    (library / "lib-dynload").mkdir(parents=True)
    _copy_standard_library(library)
    shutil.copytree(site, library, dirs_exist_ok=True, symlinks=True)
    shutil.rmtree(library / "numpy/_typing")
    (library / "numpy/_typing.py").write_text(ARRAYS_ARE_LISTS_HERE)
    for name in ADDS_DOCSTRINGS:
        (library / "numpy/_core" / name).write_text("")
    _compile(library)
    (root / "usr/bin").mkdir(parents=True)
    shutil.copy2(INTERPRETER, root / "usr/bin/python3.11")
    for path in _libraries_of([INTERPRETER, *library.rglob("*.so*")], inside=library):
        target = root / str(path).removeprefix("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target, follow_symlinks=True)
    for folder in ("tmp", "proc", "sys", "dev", "opt/ml/model"):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc").mkdir()
    (root / "etc/passwd").write_text("root:x:0:0::/:\ngrader:x:10001:10001::/tmp:\n")
    (root / "etc/group").write_text("root:x:0:\ngrader:x:10001:\n")


def _copy_standard_library(library: Path) -> None:
    source = Path(sysconfig.get_path("stdlib"))
    for entry in source.iterdir():
        if entry.name in LEFT_OUT or entry.name.startswith("config-"):
            continue
        if entry.is_dir():
            shutil.copytree(entry, library / entry.name)
        elif entry.suffix == ".py":
            shutil.copy2(entry, library)
    for extension in (source / "lib-dynload").iterdir():
        if not extension.name.startswith((*LEFT_OUT_EXTENSIONS, "readline")):
            shutil.copy2(extension, library)


def _compile(library: Path) -> None:
    for folder in sorted(library.rglob("__pycache__")):
        shutil.rmtree(folder)
    # Level 1 leaves out assertions, of which the serving path has none of its own.
    done = compileall.compile_dir(library, quiet=1, legacy=True, optimize=1, workers=0)
    if not done:
        sys.exit("something cannot be compiled")
    for source in library.rglob("*.py"):
        source.unlink()


def _libraries_of(files: list[Path], inside: Path) -> set[Path]:
    """What the loader opens for these files from outside that folder."""
    found: set[Path] = set()
    for file in files:
        listed = subprocess.run(["ldd", str(file)], capture_output=True, text=True, check=False)
        for line in listed.stdout.splitlines():
            path = line.partition("=>")[2].split("(")[0].strip() or line.split("(")[0].strip()
            if "not found" in line:
                sys.exit(f"{file} needs {line.strip()}")
            if path.startswith("/") and not Path(path).is_relative_to(inside):
                found.add(Path(path))
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
