"""The inputs that fuzzing starts from: seeds made by a script, and what earlier runs have found."""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING

from targets import TARGETS, run

if TYPE_CHECKING:
    from types import FrameType

CORPUS = Path(__file__).parent / "corpus"
MAX_STORED = 40
MAX_STORED_BYTES = 1024


def known_inputs(name: str) -> list[bytes]:
    """Return a target's seeds, then the inputs that reach other branches than these."""
    from seeds import seeds

    return [*seeds(name), *stored_inputs(name)]


def stored_inputs(name: str) -> list[bytes]:
    """Return what earlier runs have left in ``corpus/NAME.zip``, past findings among them."""
    path = CORPUS / f"{name}.zip"
    if not path.is_file():
        return []
    with zipfile.ZipFile(path) as file:
        return [file.read(each) for each in sorted(file.namelist())]


def chosen(name: str, collected: list[bytes]) -> list[bytes]:
    """Return the shortest inputs that reach a branch which no seed and no shorter one reaches."""
    from seeds import seeds

    known = set().union(*(branches(name, data) for data in seeds(name)))
    kept = []
    for data in sorted({*collected, *stored_inputs(name)}, key=lambda each: (len(each), each)):
        if len(data) <= MAX_STORED_BYTES and (new := branches(name, data) - known):
            known |= new
            kept.append(data)
    return kept[:MAX_STORED]


def branches(name: str, data: bytes) -> set[tuple[str, int, int]]:
    """Return the steps from line to line that an input makes the parser take."""
    modules = TARGETS[name].modules
    steps: set[tuple[str, int, int]] = set()

    def enter(frame: FrameType, _event: str, _value: object) -> object:
        if not frame.f_globals.get("__name__", "").startswith(modules):
            return None
        line = frame.f_lineno

        def step(frame: FrameType, _event: str, _value: object) -> object:
            nonlocal line
            steps.add((frame.f_code.co_filename, line, frame.f_lineno))
            line = frame.f_lineno
            return step

        return step

    sys.settrace(enter)
    try:
        run(name, data)
    except Exception:  # noqa: BLE001 - a finding is worth keeping, too
        pass
    finally:
        sys.settrace(None)
    return steps


def store(name: str, inputs: list[bytes]) -> None:
    """Write a target's inputs so that equal inputs make equal bytes."""
    CORPUS.mkdir(exist_ok=True)
    with zipfile.ZipFile(CORPUS / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for place, data in enumerate(sorted(set(inputs), key=lambda each: (len(each), each))):
            file.writestr(zipfile.ZipInfo(f"{place:04}"), data, zipfile.ZIP_DEFLATED)
