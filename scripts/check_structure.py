"""Check that there is no import cycle, and that every public type has a name of its own.

    python scripts/check_structure.py

Imports inside functions count, too, and so do imports that only the type checker needs: people who
read the code also follow these imports.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import grimp

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

SOURCE = Path(__file__).resolve().parent.parent / "src"
PACKAGE = "drdeploy"


def main() -> int:
    """Print the problems, and return 1 if there are any."""
    problems = [
        *(f"import cycle: {' -> '.join(cycle)}" for cycle in import_cycles()),
        *repeated_type_names(SOURCE / PACKAGE),
    ]
    sys.stdout.write("".join(f"{problem}\n" for problem in problems))
    return bool(problems)


def import_cycles() -> list[list[str]]:
    """Return the import cycles between modules, and between parts of each package."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    imported = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    found = cycles(imported)
    for package in sorted(graph.modules):
        found += cycles(between_parts(package, imported))
    return found


def between_parts(package: str, imported: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """Return which parts of a package each part imports; a part is a module or a subpackage."""
    parts: dict[str, set[str]] = defaultdict(set)
    depth = package.count(".") + 2
    for module, names in imported.items():
        if module.startswith(f"{package}."):
            part = ".".join(module.split(".")[:depth])
            others = {".".join(name.split(".")[:depth]) for name in names}
            parts[part] |= {name for name in others if name.startswith(f"{package}.")} - {part}
    return parts


def cycles(imported: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return import cycles as lists of names; the first name is repeated at the end.

    No module is in more than one of the returned cycles.

    Args:
        imported: The names of the modules that each module imports, with the importing module as
            the key. Imported modules that are not keys are ignored.
    """
    found: list[list[str]] = []
    done: set[str] = set()
    for start in sorted(imported):
        path = _path_back_to(start, imported)
        if path and done.isdisjoint(path):
            found.append(path)
            done.update(path)
    return found


def _path_back_to(start: str, imported: Mapping[str, Iterable[str]]) -> list[str]:
    """Return the shortest chain of imports from a module back to itself; empty if there is none."""
    came_from: dict[str, str] = {}
    waiting = [start]
    for module in waiting:
        for name in sorted(imported.get(module, ())):
            if name == start:
                path = [start, module]
                while path[-1] != start:
                    path.append(came_from[path[-1]])
                return path[::-1]
            if name not in came_from and name in imported:
                came_from[name] = module
                waiting.append(name)
    return []


def repeated_type_names(package: Path) -> list[str]:
    """Return a sentence for each name that several public types of a package share.

    A type is a class or a type alias (``X = Literal["a", "b"]``). A name that is only imported
    again, or set to a type that has a name already, is not a second type.
    """
    places = defaultdict(list)
    for path in sorted(package.rglob("*.py")):
        for name, line in _list_types(ast.parse(path.read_text(encoding="utf-8")).body):
            if not name.startswith("_"):
                places[name].append(f"{path.relative_to(package)}:{line}")
    return [
        f"the type {name} is defined {len(where)} times: {', '.join(where)}"
        for name, where in sorted(places.items())
        if len(where) > 1
    ]


def _list_types(statements: Iterable[ast.stmt]) -> Iterator[tuple[str, int]]:
    """Yield the name and the line of each type of a module, also of those after an ``if``."""
    for node in statements:
        if isinstance(node, ast.If):
            yield from _list_types([*node.body, *node.orelse])
        elif isinstance(node, ast.ClassDef):
            yield node.name, node.lineno
        else:
            name = _name_of_alias(node)
            if name:
                yield name, node.lineno


def _name_of_alias(node: ast.stmt) -> str | None:
    """Return the name of the type alias that a statement defines; None if it defines no alias."""
    if type(node).__name__ == "TypeAlias":  # `type X = ...`, which Python 3.11 cannot parse
        return ast.unparse(node).split()[1].partition("[")[0]
    if isinstance(node, ast.AnnAssign):
        kind = ast.unparse(node.annotation).rpartition(".")[2]
        return ast.unparse(node.target) if kind == "TypeAlias" else None
    if not isinstance(node, ast.Assign) or len(node.targets) != 1:
        return None
    name = ast.unparse(node.targets[0])
    # `X = list[int]` and `X = int | None` are types. `SIDE = sizes[0]` is a constant, as the
    # capital letters say; by PEP 8, the names of types are CamelCase.
    is_type = name.isidentifier() and name[0] == name[0].upper() and name != name.upper()
    is_union = isinstance(node.value, ast.BinOp) and isinstance(node.value.op, ast.BitOr)
    return name if is_type and (is_union or isinstance(node.value, ast.Subscript)) else None


if __name__ == "__main__":
    sys.exit(main())
