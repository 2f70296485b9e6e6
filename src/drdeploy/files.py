"""Write files atomically, cells that are safe in a spreadsheet, SHA-256, and shipped files.

The lean server imports this module at every cold start, so what only writers need is imported
where it is used.
"""

from __future__ import annotations

import hashlib
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = MIB
"""How much is read or copied at a time: enough that the cost per call does not show."""

_PACKAGE = Path(__file__).parent
# Behind apostrophes, too, so that a text which begins with one is read back as it was.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


@contextmanager
def atomic_writer(path: Path) -> Iterator[BinaryIO]:
    """Open a draft beside ``path``, which takes its place when the block ends.

    A reader sees the old file or the complete new one.  If the block raises, the old file stays
    and the draft is deleted::

        with atomic_writer(path) as file:
            np.savez(file, probabilities=probabilities)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Two processes may write the same cache entry at once, so no two drafts share a name.
    draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
    try:
        with draft.open("xb") as file:
            yield file
            file.flush()
            # Without it, a power failure may leave the new name with none of the content.
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes | str) -> None:
    """Replace a file as a whole; text is written as UTF-8."""
    with atomic_writer(path) as file:
        file.write(content.encode() if isinstance(content, str) else content)


def write_json(path: Path, document: object) -> None:
    """Replace a file with a JSON document that people can read, too."""
    import json

    write_atomically(path, json.dumps(document, indent=2, default=str) + "\n")


def safe_cell(value: object) -> object:
    """Return the value as a CSV cell that no spreadsheet takes for a formula.

    Spreadsheets run what begins with ``=``, ``+``, ``-``, ``@``, a tab or a carriage return, and a
    cell may be a file's name or a model's own word.  Such a text gets an apostrophe before it,
    which a spreadsheet hides.  Numbers stay numbers, also those that begin with ``-``.
    :func:`cell_text` takes the apostrophe off again.
    """
    if not isinstance(value, str) or _NUMBER.fullmatch(value) or not _FORMULA.match(value):
        return value
    return f"'{value}"


def cell_text(cell: str) -> str:
    """Return the text that :func:`safe_cell` made the cell of."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def sha256_of(content: bytes) -> str:
    """Return the SHA-256 of these bytes in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, without reading it into memory at once."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def shipped(name: str) -> Path:
    """Return where a file or folder of the project is that commands use, ``studies`` for example.

    In a checkout these lie at its root; in an installed package below ``drdeploy/shipped``.
    Whether the path exists is for the caller to ask, who can say what is missing without it.

    Args:
        name: Its path from the root of the checkout, for example ``examples/photographs``.
    """
    in_checkout = _PACKAGE.parent.name == "src"
    return (_PACKAGE.parent.parent if in_checkout else _PACKAGE / "shipped") / name
