"""Make the root file system of the image ``drdeploy:minimal``, which has no package manager.

    minimal_root.py SITE ROOT

The image contains a Python interpreter, a server and the libraries that both need. All Python
modules are byte code without source in one folder, so that an import searches only one place. The
shared libraries are those that the dynamic loader lists for the copied files. The script also
copies the licence of everything that it copies. For scanners, it writes what the image contains:
the metadata of each Python distribution and each Debian package, and a list of the files that were
copied from the package.
"""

# ruff: noqa: INP001  a script beside the Dockerfiles, no package
import ast
import hashlib
import re
import shutil
import subprocess
import sys
import sysconfig
from collections import defaultdict
from collections.abc import Collection
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from importlib._bootstrap_external import _code_to_timestamp_pyc  # type: ignore[attr-defined]
from pathlib import Path

INTERPRETER = Path("/usr/bin/python3.11")

LEFT_OUT = {
    *("__phello__", "__pycache__", "curses", "dbm", "distutils", "ensurepip", "idlelib"),
    *("lib2to3", "lib-dynload", "pydoc_data", "sqlite3", "test", "tkinter", "turtledemo"),
    *("unittest", "venv", "antigravity.py", "doctest.py", "pdb.py", "pickletools.py"),
    *("pydoc.py", "sitecustomize.py", "this.py", "turtle.py"),
}
"""Modules of the standard library that are for development, terminals and screens."""

LEFT_OUT_EXTENSIONS = ("_crypt", "_curses", "_dbm", "_sqlite3", "_test", "_xx", "nis", "oss", "xx")
"""Extensions of the standard library that are left out, by the beginning of their names."""

ARRAYS_ARE_LISTS_HERE = "NDArray = list\n"
"""Replaces NumPy's module of type hints. ``linalg`` imports that module only for one name, which
has to accept ``[...]``, and the import takes 17 ms."""

ADDS_DOCSTRINGS = ("_add_newdocs.py", "_add_newdocs_scalars.py")
"""NumPy's modules that add docstrings to compiled functions; they take 5 ms of every start."""

NUMPY_EDITS = (
    # For 300 of its own functions, NumPy compares the arguments with those of a dispatcher. This
    # check is removed.
    ("_core/overrides.py", "if verify:", "if False:"),
    # `inspect` imports six modules. NumPy needs it only to tidy docstrings, which are empty here,
    # and for signatures in the help.
    ("_core/overrides.py", "dispatcher.__doc__ is not None:", "dispatcher.__doc__:"),
    ("_core/overrides.py", "if not verify and not getattr(", "if False and getattr("),
    # The module needs `linalg` only for the power of a matrix, so it is imported only then.
    (
        "matrixlib/defmatrix.py",
        "from numpy.linalg import matrix_power\n",
        "def matrix_power(a, n): from numpy import linalg; return linalg.matrix_power(a, n)\n",
    ),
)
"""For each edit of NumPy's source: the file, the old text and the new text."""

NUMPY_LATER = (
    *("_arraypad_impl", "_arraysetops_impl", "_nanfunctions_impl", "_npyio_impl"),
    *("_polynomial_impl", "_type_check_impl", "_ufunclike_impl", "_utils_impl"),
)
"""Modules of ``numpy.lib`` that are imported only when one of their functions is used."""

GETS_LATER = """
def __getattr__(attr):
    found = _modules_later.get(attr)
    if found is None:
        return _getattr_of_numpy(attr)
    value = globals()[attr] = getattr(getattr(lib, found), attr)
    return value
"""

PACKAGE_LISTS = Path("/var/lib/dpkg/info")
"""Debian's lists of the files of each package."""

COPYRIGHT = Path("/usr/share/doc")
"""Holds a folder for each Debian package, with a file ``copyright``."""

COMMON_LICENCES = Path("/usr/share/common-licenses")
"""Licence texts to which the copyright files of many packages refer."""

RELEASE = Path("/usr/lib/os-release")
"""Names the Debian release, for which scanners look up known vulnerabilities."""

PACKAGE_FIELDS = "".join(
    f"{name}: ${{{field}}}\n"
    for name, field in (
        *(("Package", "Package"), ("Version", "Version"), ("Architecture", "Architecture")),
        *(("Source", "source:Package"), ("Maintainer", "Maintainer"), ("Homepage", "Homepage")),
    )
)
"""Format in which ``dpkg-query`` describes a package."""

IS_LICENCE = re.compile(r"licen[cs]e|copying|notice", re.IGNORECASE)
"""Matches the path of a licence file in a ``dist-info`` folder."""


def main(site: Path, root: Path) -> None:
    """Copy and compile the Python modules; add the interpreter, the libraries and the licences."""
    library = root / "usr/lib/python3.11"
    # The folder stays empty. The interpreter finds its installation by it.
    (library / "lib-dynload").mkdir(parents=True)
    _copy_standard_library(library)
    metadata = shutil.ignore_patterns("*.dist-info")
    shutil.copytree(site, library, dirs_exist_ok=True, symlinks=True, ignore=metadata)
    _shorten_import_of_numpy(library / "numpy")
    _compile(library, root)
    (root / "usr/bin").mkdir(parents=True)
    shutil.copy2(INTERPRETER, root / "usr/bin/python3.11")
    libraries = _libraries_of([INTERPRETER, *library.rglob("*.so*")], inside=library)
    for path in libraries:
        target = root / str(path).removeprefix("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, target, follow_symlinks=True)
    _copy_licences(site, [INTERPRETER, *libraries, *_standard_library()], root)
    _copy_metadata(site, library)
    _record_packages([INTERPRETER, *libraries, *_standard_library()], root)
    _copy(RELEASE, root / "etc/os-release")
    for folder in ("tmp", "proc", "sys", "dev", "opt/ml/model"):
        (root / folder).mkdir(parents=True)
    (root / "tmp").chmod(0o1777)
    (root / "etc/passwd").write_text("root:x:0:0::/:\ngrader:x:10001:10001::/tmp:\n")
    (root / "etc/group").write_text("root:x:0:\ngrader:x:10001:\n")


def _copy_standard_library(library: Path) -> None:
    for entry in _standard_library():
        if entry.is_dir():
            shutil.copytree(entry, library / entry.name)
        else:
            shutil.copy2(entry, library)


def _standard_library() -> list[Path]:
    """Return the packages, modules and extensions of the standard library that the image needs."""
    source = Path(sysconfig.get_path("stdlib"))
    modules = [
        entry
        for entry in source.iterdir()
        if entry.name not in LEFT_OUT and not entry.name.startswith("config-")
        if entry.is_dir() or entry.suffix == ".py"
    ]
    extensions = [
        entry
        for entry in (source / "lib-dynload").iterdir()
        if not entry.name.startswith((*LEFT_OUT_EXTENSIONS, "readline"))
    ]
    return modules + extensions


def _shorten_import_of_numpy(numpy: Path) -> None:
    """Change NumPy's source so that importing it takes less time; every function still works."""
    shutil.rmtree(numpy / "_typing")
    (numpy / "_typing.py").write_text(ARRAYS_ARE_LISTS_HERE)
    for name in ADDS_DOCSTRINGS:
        (numpy / "_core" / name).write_text("")
    for name, old, new in NUMPY_EDITS:
        text = (numpy / name).read_text("utf-8")
        if text.count(old) != 1:
            sys.exit(f"{numpy / name} does not contain {old!r} exactly once")
        (numpy / name).write_text(text.replace(old, new), "utf-8")
    package = numpy / "__init__.py"
    package.write_text(import_later(package.read_text("utf-8"), NUMPY_LATER), "utf-8")


def import_later(package: str, modules: Collection[str]) -> str:
    """Change ``numpy/__init__.py`` so that it imports some modules only when needed.

    Returns the changed source. ``modules`` names these modules, which are all in ``numpy.lib``.

    The statements ``from .lib.MODULE import NAME`` are removed; instead, ``__getattr__`` imports a
    name on its first use. The expression ``lib.MODULE.__all__`` becomes a list of the names.
    """
    tree = ast.parse(package)
    later: dict[str, str] = {}

    class Changer(ast.NodeTransformer):
        def visit_ImportFrom(self, node: ast.ImportFrom) -> ast.ImportFrom | None:
            within, _, module = (node.module or "").partition(".")
            if within != "lib" or module not in modules:
                return node
            later.update((alias.name, module) for alias in node.names)
            return None

        def visit_Attribute(self, node: ast.Attribute) -> ast.expr:
            of = node.value
            if (
                node.attr != "__all__"
                or not isinstance(of, ast.Attribute)
                or of.attr not in modules
            ):
                return node
            names = [name for name, module in later.items() if module == of.attr]
            return ast.List([ast.Constant(name) for name in names], ast.Load())

        def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.FunctionDef:
            if node.name == "__getattr__":
                node.name = "_getattr_of_numpy"
            return node

    Changer().visit(tree)
    return (
        f"{ast.unparse(ast.fix_missing_locations(tree))}\n_modules_later = {later!r}\n{GETS_LATER}"
    )


def _compile(library: Path, root: Path) -> None:
    for folder in sorted(library.rglob("__pycache__")):
        shutil.rmtree(folder)
    sources = sorted(library.rglob("*.py"))
    with ProcessPoolExecutor() as processes:
        for _ in processes.map(partial(_compile_source, root), sources, chunksize=16):
            pass
    for source in sources:
        source.unlink()


def _compile_source(root: Path, source: Path) -> None:
    """Compile a module without the docstrings of functions; write the byte code beside the source.

    Docstrings would be 18 % of the byte code that is read when the image starts. They become empty
    strings, not None, because NumPy processes the docstrings of its functions.
    """
    tree = ast.parse(source.read_bytes())
    for node in ast.walk(tree):
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_function and ast.get_docstring(node, clean=False):
            node.body[0].value.value = ""
    # Level 1 leaves out assertions; the server has none of its own.
    code = compile(tree, f"/{source.relative_to(root)}", "exec", dont_inherit=True, optimize=1)
    source.with_suffix(".pyc").write_bytes(_code_to_timestamp_pyc(code))


def _libraries_of(files: list[Path], inside: Path) -> set[Path]:
    """Return the shared libraries that some files need, except those in the folder ``inside``."""
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


def _copy_licences(site: Path, of_debian: list[Path], root: Path) -> None:
    """Copy the licences of all Python distributions and Debian packages to ``usr/share/licenses``.

    Each distribution and each package gets a subfolder. A few distributions, such as ONNX Runtime
    and this project, keep their licence beside their code. Such a licence is copied with the code.
    """
    licences = root / "usr/share/licenses"
    for metadata in site.glob("*.dist-info"):
        for path in metadata.rglob("*"):
            within = path.relative_to(metadata)
            if path.is_file() and IS_LICENCE.search(str(within)):
                _copy(path, licences / metadata.stem / str(within).removeprefix("licenses/"))
    common: set[str] = set()
    for package in sorted(set(_owners_of(of_debian).values())):
        text = COPYRIGHT / package / "copyright"
        _copy(text, licences / package / "copyright")
        common.update(re.findall(rf"{COMMON_LICENCES}/([\w.+-]*\w)", text.read_text("utf-8")))
    for name in common:
        _copy(COMMON_LICENCES / name, root / str(COMMON_LICENCES).removeprefix("/") / name)


def _owners_of(files: list[Path]) -> dict[Path, str]:
    """Return the Debian package to which each of the given files belongs."""
    owners: dict[str, str] = {}
    for listed in PACKAGE_LISTS.glob("*.list"):
        package = listed.stem.partition(":")[0]
        # /lib is a link to /usr/lib, and package lists use either name.
        paths = (line.removeprefix("/usr") for line in listed.read_text("utf-8").splitlines())
        owners.update(dict.fromkeys(paths, package))
    found: dict[Path, str] = {}
    for file in files:
        owner = owners.get(str(file.resolve()).removeprefix("/usr"))
        if owner is None:
            sys.exit(f"no package of Debian owns {file}, so its licence is unknown")
        found[file] = owner
    return found


def _copy_metadata(site: Path, library: Path) -> None:
    """Copy the metadata of each Python distribution, except the long description."""
    for metadata in site.glob("*.dist-info/METADATA"):
        fields = metadata.read_text("utf-8").partition("\n\n")[0]
        target = library / metadata.parent.name / metadata.name
        target.parent.mkdir()
        target.write_text(f"{fields}\n", "utf-8")


def _record_packages(of_debian: list[Path], root: Path) -> None:
    """Record for scanners from which Debian packages files were copied.

    The files are in ``/var/lib/dpkg/status.d``, where images without a package manager keep them.

    Each package from which a file was copied gets two files. The first describes the package. The
    second, with ``.md5sums`` in its name, lists the programs and libraries that were copied from
    it. Byte code is not listed, because it is not a file of a package.
    """
    copied: dict[str, list[str]] = defaultdict(list)
    for file, package in _owners_of(of_debian).items():
        extension = sysconfig.get_path("stdlib") + "/lib-dynload/"
        place = str(file).replace(extension, f"{sysconfig.get_path('stdlib')}/").lstrip("/")
        copied[package]
        if (root / place).is_file():
            digest = hashlib.md5((root / place).read_bytes(), usedforsecurity=False).hexdigest()
            copied[package].append(f"{digest}  {place}\n")
    folder = root / "var/lib/dpkg/status.d"
    folder.mkdir(parents=True)
    for package, lines in copied.items():
        query = ["dpkg-query", "--show", f"--showformat={PACKAGE_FIELDS}", package]
        described = subprocess.run(query, capture_output=True, text=True, check=True).stdout
        (folder / package).write_text(described, "utf-8")
        if lines:
            (folder / f"{package}.md5sums").write_text("".join(sorted(lines)), "utf-8")


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
