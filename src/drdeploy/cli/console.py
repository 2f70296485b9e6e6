"""What every command prints with: sentences, tables, JSON, and errors as one message.

Results go to standard output, all else to standard error.  On a terminal, or where ``COLUMNS``
says how wide one is, sentences are wrapped between words and tables fit.  Elsewhere nothing is
wrapped or shortened, so that a pipe gets every name whole.
"""

from __future__ import annotations

import json
import os
import sys
import textwrap
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from drdeploy.errors import DrdeployError, printable
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

out = Console()
err = Console(stderr=True)
"""Progress, notes and errors.  Standard output carries results alone."""

NARROWEST = 12
"""A column is not shortened below so many characters."""
GAP = "  "


def print_json(value: Any) -> None:
    """Print one JSON document to standard output, never wrapped or coloured."""
    sys.stdout.write(json.dumps(value, indent=2, default=str) + "\n")


def print_line(
    text: str, *, indent: int = 0, hang: int = 2, style: str = "", to: Console = out
) -> None:
    """Print a sentence.

    Args:
        text: Printed as it is, never read as markup.
        indent: Spaces before it.
        hang: Further spaces before the lines that it continues on.
        style: One of rich's.
        to: Standard output, or standard error.
    """
    prefix = " " * indent
    _print_lines(_wrapped(prefix, text, prefix + " " * hang, _width(to)), style, to)


def print_note(text: str) -> None:
    """Print to standard error what a reader of the result should bear in mind."""
    print_line(f"note: {text}", to=err)


def print_notice() -> None:
    """Print to standard error that results are for research use."""
    print_line(RESEARCH_USE_NOTICE, style="yellow", to=err)


def print_facts(facts: Iterable[tuple[str, str]], *, indent: int = 2) -> None:
    """Print names and their values, one below the other, the values aligned."""
    pairs = list(facts)
    longest = max((cell_len(name) for name, _ in pairs), default=0)
    for name, text in pairs:
        prefix = f"{' ' * indent}{name:{longest}}{GAP}"
        _print_lines(_wrapped(prefix, text, " " * len(prefix), _width(out)), "", out)


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: Its header.
        align: Numbers are aligned on the right.
        shorten: Where a cell loses characters if the table is wider than the terminal: a file's
            name in the middle, a sentence at its end, a number never.
    """

    title: str
    align: Literal["left", "right"] = "left"
    shorten: Literal["never", "middle", "end"] = "never"

    @classmethod
    def number(cls, title: str) -> Self:
        """A column of numbers."""
        return cls(title, align="right")

    @classmethod
    def name(cls, title: str) -> Self:
        """A column of names, shortened in the middle: files differ at the end of their names."""
        return cls(title, shorten="middle")

    @classmethod
    def sentence(cls, title: str) -> Self:
        """A column of sentences: shortened at the end."""
        return cls(title, shorten="end")


@dataclass
class Table:
    """A table of one line a row.

    ::

        table = Table([Column.name("image"), Column.number("grade")])
        table.add("left.jpg", "3")
        table.print()
    """

    columns: Sequence[Column]
    _rows: list[tuple[tuple[str, ...], str]] = field(default_factory=list)

    def add(self, *cells: str, style: str = "") -> None:
        """Add a row."""
        self._rows.append((tuple(map(printable, cells)), style))

    def add_line(self) -> None:
        """Draw a line between the rows before and those that follow."""
        self._rows.append(((), ""))

    def print(self) -> None:
        """Print the table to standard output."""
        titles = tuple(column.title for column in self.columns)
        rows = [cells for cells, _ in self._rows if cells]
        widths = [max(map(cell_len, column)) for column in zip(titles, *rows, strict=True)]
        widths = _fitting(widths, self.columns, _width(out))
        rule = "─" * (sum(widths) + len(GAP) * (len(widths) - 1))
        _print_lines([self._line(titles, widths)], "bold", out)
        _print_lines([rule], "dim", out)
        for cells, style in self._rows:
            _print_lines([self._line(cells, widths) if cells else rule], style, out)

    def _line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        padded = []
        for cell, width, column in zip(cells, widths, self.columns, strict=True):
            text = _shortened(cell, width, column.shorten)
            padding = " " * (width - cell_len(text))
            padded.append(padding + text if column.align == "right" else text + padding)
        return GAP.join(padded).rstrip()


def relative_names(paths: Sequence[str]) -> list[str]:
    """Return the paths relative to the innermost folder that holds all of them."""
    if not paths:
        return []
    parents = {str(Path(path).parent) for path in paths}
    try:
        common = os.path.commonpath(parents)
    except ValueError:  # some are absolute and some are not
        return list(paths)
    return [os.path.relpath(path, common or ".") for path in paths]


def _width(console: Console) -> int | None:
    """Return the characters of a line; None in a pipe, where nothing is to be shortened."""
    return console.width if console.is_terminal or "COLUMNS" in os.environ else None


def _wrapped(prefix: str, text: str, continued: str, width: int | None) -> list[str]:
    """Break a text into lines between words, never within one: a path stays whole."""
    if width is None:
        return [prefix + text]
    lines = textwrap.wrap(
        text,
        max(width, len(continued) + NARROWEST),
        initial_indent=prefix,
        subsequent_indent=continued,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [prefix]


def _fitting(widths: list[int], columns: Sequence[Column], width: int | None) -> list[int]:
    """Narrow the widest of the columns that may be shortened, until the table fits."""
    if width is None:
        return widths
    fitting = list(widths)
    least = [max(NARROWEST, cell_len(column.title)) for column in columns]
    while sum(fitting) + len(GAP) * (len(fitting) - 1) > width:
        shortenable = [
            at
            for at, column in enumerate(columns)
            if column.shorten != "never" and fitting[at] > least[at]
        ]
        if not shortenable:
            break
        fitting[max(shortenable, key=fitting.__getitem__)] -= 1
    return fitting


def _shortened(text: str, width: int, where: Literal["never", "middle", "end"]) -> str:
    """Return ``IDRiD_00…e4.jpg`` or ``a sentence without its e…``."""
    if cell_len(text) <= width or where == "never":
        return text
    if where == "end":
        return f"{text[: width - 1]}…"
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"


def _print_lines(lines: Sequence[str], style: str, to: Console) -> None:
    # The one place where text reaches the terminal, and some of it is file names.
    for line in map(printable, lines):
        to.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def friendly_errors() -> Iterator[None]:
    """Turn an error that a user can meet into one message and its exit status.

    These are a :class:`DrdeployError`, and a file that the system does not let us use.
    """
    try:
        yield
    except DrdeployError as error:
        _print_error(error.code, str(error))
        raise SystemExit(error.exit_status) from None
    except OSError as error:
        if not error.filename:
            raise
        _print_error(type(error).__name__, printable(f"{error.filename}: {error.strerror}."))
        raise SystemExit(1) from None


def _print_error(code: str, sentence: str) -> None:
    lines = _wrapped("", f"error ({code}): {sentence}", GAP, _width(err))
    message = Text("\n".join(lines))
    message.stylize("bold red", 0, len("error"))
    err.print(message, soft_wrap=True)
