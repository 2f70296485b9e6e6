"""Print sentences, tables, JSON and errors; every command prints with these functions.

Results go to standard output, and everything else goes to standard error. On a terminal, or if the
variable ``COLUMNS`` gives a width, sentences are wrapped and tables are fitted to the width. In a
pipe without ``COLUMNS``, nothing is wrapped or shortened.
"""

from __future__ import annotations

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

from drdeploy.errors import DrdeployError, escape_control_characters
from drdeploy.files import DISK_ERRORS, encode_json_document
from drdeploy.grader.grading.grade import RESEARCH_USE_NOTICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from drdeploy.grader.artifacts import ModelManifest

# Without emoji=False, a file name such as "p:eye:.jpg" would be printed with an emoji.
out = Console(emoji=False)
err = Console(stderr=True, emoji=False)
"""The console on standard error, for progress, notes and errors. Standard output carries only
results.
"""

NARROWEST = 12
"""The smallest width to which a column is shortened, in characters."""
UNUSED_NAMED = 5
GAP = "  "
DISK_REMEDY = " Free space on the disk or repair the disk, then run the same command again."
PATH_REMEDIES: Mapping[type[OSError], str] = {
    FileExistsError: " Give another path, or move the file elsewhere.",
    IsADirectoryError: " Give a file instead of the folder.",
    NotADirectoryError: " Give another path: a part of this path is a file, not a folder.",
}
"""What to do about a path at which something else is, by the class of Python's error."""


def print_json(value: Any) -> None:
    """Print one JSON document to standard output, never wrapped or coloured."""
    sys.stdout.write(encode_json_document(value))


def print_line(
    text: str, *, indent: int = 0, hang: int = 2, style: str = "", to: Console = out
) -> None:
    """Print a sentence.

    Args:
        text: The sentence. It is printed as it is, even if it looks like rich's markup.
        indent: The number of spaces before the sentence.
        hang: The number of additional spaces before each further line of the sentence.
        style: The name of a style of rich.
        to: The console for standard output or standard error.
    """
    prefix = " " * indent
    _print_lines(_wrap_text(prefix, text, prefix + " " * hang, _get_terminal_width(to)), style, to)


def print_note(text: str) -> None:
    """Print a note about the result to standard error."""
    print_line(f"note: {text}", to=err)


def print_note_on_photograph_names(*, own: bool, source: str = "FOLDER") -> None:
    """Print to standard error how to find the photograph behind a hashed name.

    Args:
        own: Whether photographs are named by their file names, so that no note is needed.
        source: The arguments of ``drdeploy names`` that list these photographs.
    """
    if not own:
        print_note(
            f"photographs are named by a keyed hash. `drdeploy names {source}` lists the file of "
            "each name; with --names, file names are shown instead"
        )


def print_note_on_unused_artifact_files(paths: Sequence[str]) -> None:
    """Print to standard error which files of an artifact are not part of the model."""
    if paths:
        named = ", ".join(paths[:UNUSED_NAMED])
        more = f" and {len(paths) - UNUSED_NAMED} more" if len(paths) > UNUSED_NAMED else ""
        print_note(f"not used, because not part of the model: {named}{more}")


def print_note_on_quantization(manifest: ModelManifest) -> None:
    """Print to standard error that a quantized model is, or may be, worse than its original."""
    found = manifest.quantization
    if found is None or found.verdict == "accepted":
        return
    verdict = (
        "was refused as a replacement for" if found.verdict == "refused" else "may be worse than"
    )
    print_note(
        f"this quantized model {verdict} the fp32 model that it was made from: {found.reason}"
    )


def print_notice() -> None:
    """Print the notice that results are for research use, to standard error."""
    print_line(RESEARCH_USE_NOTICE, style="yellow", to=err)


def print_facts(facts: Iterable[tuple[str, str]], *, indent: int = 2) -> None:
    """Print names and their values in two aligned columns."""
    pairs = list(facts)
    longest = max((cell_len(name) for name, _ in pairs), default=0)
    for name, text in pairs:
        prefix = f"{' ' * indent}{name:{longest}}{GAP}"
        _print_lines(_wrap_text(prefix, text, " " * len(prefix), _get_terminal_width(out)), "", out)


@dataclass(frozen=True)
class Column:
    """A column of a table in the terminal.

    Attributes:
        title: The header of the column.
        align: The side on which the cells are aligned.
        shorten: The part that is cut out of a long cell if the table is wider than the terminal.
    """

    title: str
    align: Literal["left", "right"] = "left"
    shorten: Literal["never", "middle", "end"] = "never"

    @classmethod
    def of_numbers(cls, title: str) -> Self:
        """Make a column of numbers, which are never shortened."""
        return cls(title, align="right")

    @classmethod
    def of_names(cls, title: str) -> Self:
        """Make a column of names, which are shortened in the middle."""
        return cls(title, shorten="middle")

    @classmethod
    def of_sentences(cls, title: str) -> Self:
        """Make a column of sentences, which are shortened at the end."""
        return cls(title, shorten="end")


@dataclass
class Table:
    """A table in the terminal with one line per row.

    ::

        table = Table([Column.of_names("image"), Column.of_numbers("grade")])
        table.add_row("left.jpg", "3")
        table.print()
    """

    columns: Sequence[Column]
    _rows: list[tuple[tuple[str, ...], str]] = field(default_factory=list)

    def add_row(self, *cells: str, style: str = "") -> None:
        """Add a row."""
        self._rows.append((tuple(map(escape_control_characters, cells)), style))

    def add_separator_line(self) -> None:
        """Draw a line between the rows that were added before and those that are added later."""
        self._rows.append(((), ""))

    def print(self) -> None:
        """Print the table to standard output."""
        titles = tuple(column.title for column in self.columns)
        rows = [cells for cells, _ in self._rows if cells]
        widths = [max(map(cell_len, column)) for column in zip(titles, *rows, strict=True)]
        widths = _fit_column_widths(widths, self.columns, _get_terminal_width(out))
        rule = "─" * (sum(widths) + len(GAP) * (len(widths) - 1))
        _print_lines([self._format_line(titles, widths)], "bold", out)
        _print_lines([rule], "dim", out)
        for cells, style in self._rows:
            _print_lines([self._format_line(cells, widths) if cells else rule], style, out)

    def _format_line(self, cells: Sequence[str], widths: Sequence[int]) -> str:
        padded = []
        for cell, width, column in zip(cells, widths, self.columns, strict=True):
            text = _shorten_text(cell, width, column.shorten)
            padding = " " * (width - cell_len(text))
            padded.append(padding + text if column.align == "right" else text + padding)
        return GAP.join(padded).rstrip()


def shorten_paths_to_common_folder(paths: Sequence[str]) -> list[str]:
    """Return the paths relative to the innermost folder that contains all of them."""
    if not paths:
        return []
    parents = {str(Path(path).parent) for path in paths}
    try:
        common = os.path.commonpath(parents)
    except ValueError:  # a mix of absolute and relative paths
        return list(paths)
    return [os.path.relpath(path, common or ".") for path in paths]


def _get_terminal_width(console: Console) -> int | None:
    """Return the width of the terminal in characters; None in a pipe."""
    return console.width if console.is_terminal or "COLUMNS" in os.environ else None


def _wrap_text(prefix: str, text: str, continued: str, width: int | None) -> list[str]:
    """Break a text into lines, but only at spaces, so that a path stays whole."""
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


def _fit_column_widths(
    widths: list[int], columns: Sequence[Column], width: int | None
) -> list[int]:
    """Narrow the widest columns until the table fits, and return the new widths."""
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


def _shorten_text(text: str, width: int, where: Literal["never", "middle", "end"]) -> str:
    """Return a string shortened to a width, for example ``IDRiD_00…e4.jpg``."""
    if cell_len(text) <= width or where == "never":
        return text
    if where == "end":
        return f"{text[: width - 1]}…"
    tail = (width - 1) // 2
    return f"{text[: width - 1 - tail]}…{text[-tail:]}"


def _print_lines(lines: Sequence[str], style: str, to: Console) -> None:
    # All text for the terminal passes through this function. File names in it may hold control
    # characters.
    for line in map(escape_control_characters, lines):
        to.print(line, style=style, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def print_errors_and_exit() -> Iterator[None]:
    """Print an error of the ``with`` block as one message, and exit with the error's status.

    The function handles a :class:`DrdeployError`, and an ``OSError`` about a file or the disk.
    """
    try:
        yield
    except DrdeployError as error:
        _print_error(error.code, str(error))
        _print_notes_of_error(error)
        raise SystemExit(error.exit_status) from None
    except OSError as error:
        if not error.filename and error.errno not in DISK_ERRORS:
            raise
        place = f"{error.filename}: " if error.filename else ""
        remedy = DISK_REMEDY if error.errno in DISK_ERRORS else PATH_REMEDIES.get(type(error), "")
        _print_error(
            type(error).__name__, escape_control_characters(f"{place}{error.strerror}.{remedy}")
        )
        _print_notes_of_error(error)
        raise SystemExit(1) from None


def _print_notes_of_error(error: BaseException) -> None:
    """Print what was added to an error on its way, for example what a deployment has left."""
    for note in getattr(error, "__notes__", ()):
        print_note(note)


def _print_error(code: str, sentence: str) -> None:
    lines = _wrap_text("", f"error ({code}): {sentence}", GAP, _get_terminal_width(err))
    message = Text("\n".join(lines))
    message.stylize("bold red", 0, len("error"))
    err.print(message, soft_wrap=True)


def format_figure_with_interval_and_n(figure: dict[str, Any], digits: int = 3) -> str:
    """Format a number with its interval and n, like ``0.812 (0.770 to 0.850, n = 405)``.

    If there is no value or no interval, the text gives the reason.

    ``figure`` is a result of ``drdeploy.grader.evaluation.document.estimate_as_dict``.
    """
    if figure["value"] is None:
        return f"- ({figure.get('reason', 'unknown')})"
    value = f"{figure['value']:.{digits}f}"
    if figure["low"] is None:
        return f"{value} ({figure.get('reason', 'no interval')}, n = {figure['n']})"
    low, high = (f"{figure[limit]:.{digits}f}" for limit in ("low", "high"))
    return f"{value} ({low} to {high}, n = {figure['n']})"


def format_figure_with_interval(
    figure: dict[str, Any], digits: int = 2, factor: float = 1.0
) -> str:
    """Format a number with its interval but without n, like ``0.72 (0.65, 0.78)``.

    The number and its limits are multiplied by ``factor``, for example to show seconds as ms.
    """
    value, low, high = (
        None if figure[name] is None else f"{figure[name] * factor:.{digits}f}"
        for name in ("value", "low", "high")
    )
    return f"{value or '-'}" if value is None or low is None else f"{value} ({low}, {high})"
