"""The inputs that fuzzing starts from: seeds made by a script, and what earlier runs have found."""

from __future__ import annotations

import zipfile
from pathlib import Path

CORPUS = Path(__file__).parent / "corpus"


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


def store(name: str, inputs: list[bytes]) -> None:
    """Write a target's inputs so that equal inputs make equal bytes."""
    CORPUS.mkdir(exist_ok=True)
    with zipfile.ZipFile(CORPUS / f"{name}.zip", "w", zipfile.ZIP_DEFLATED) as file:
        for place, data in enumerate(sorted(set(inputs), key=lambda each: (len(each), each))):
            file.writestr(zipfile.ZipInfo(f"{place:04}"), data, zipfile.ZIP_DEFLATED)
