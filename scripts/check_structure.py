"""Check that there is no import cycle, and that every public class name is unique.

    python scripts/check_structure.py

Imports for the type checker and imports inside functions are counted, because a reader follows them
too.
"""

from __future__ import annotations

import ast
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import grimp

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

SOURCE = Path(__file__).resolve().parent.parent / "src"
PACKAGE = "drdeploy"


def main() -> int:
    """Print what is wrong; the exit status is 1 if anything is."""
    problems = [
        *(f"import cycle: {' -> '.join(cycle)}" for cycle in import_cycles()),
        *repeated_class_names(SOURCE / PACKAGE),
    ]
    sys.stdout.write("".join(f"{problem}\n" for problem in problems))
    return bool(problems)


def import_cycles() -> list[list[str]]:
    """Return the cycles among modules, and among the parts of each package."""
    graph = grimp.build_graph(PACKAGE, cache_dir=None)
    imported = {name: graph.find_modules_directly_imported_by(name) for name in graph.modules}
    found = cycles(imported)
    for package in sorted(graph.modules):
        found += cycles(between_parts(package, imported))
    return found


def between_parts(package: str, imported: Mapping[str, Iterable[str]]) -> dict[str, set[str]]:
    """Return which parts of a package (its modules and packages) import which others."""
    parts: dict[str, set[str]] = defaultdict(set)
    depth = package.count(".") + 2
    for module, names in imported.items():
        if module.startswith(f"{package}."):
            part = ".".join(module.split(".")[:depth])
            others = {".".join(name.split(".")[:depth]) for name in names}
            parts[part] |= {name for name in others if name.startswith(f"{package}.")} - {part}
    return parts


def cycles(imported: Mapping[str, Iterable[str]]) -> list[list[str]]:
    """Return a cycle for each strongly connected group of a graph; it ends with its first name.

    Args:
        imported: Each module's imports; names that are not keys are ignored.
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


def repeated_class_names(package: Path) -> list[str]:
    """Return a sentence for each name that two public classes of a package have."""
    places = defaultdict(list)
    for path in sorted(package.rglob("*.py")):
        for node in ast.parse(path.read_text(encoding="utf-8")).body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                places[node.name].append(f"{path.relative_to(package)}:{node.lineno}")
    return [
        f"class {name} is defined {len(where)} times: {', '.join(where)}"
        for name, where in sorted(places.items())
        if len(where) > 1
    ]


if __name__ == "__main__":
    sys.exit(main())
