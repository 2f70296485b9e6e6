"""Write files atomically, make CSV cells safe, read JSON, compute SHA-256, find shipped files.

A server imports this module each time it starts. To keep the start short, modules that are needed
only to write files are imported inside functions.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import stat
from collections.abc import Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Literal, TextIO

from drdeploy.units import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

CHUNK_BYTES = MIB
"""How many bytes are read or copied at a time; enough to make the cost per call negligible."""

TOML_BYTES_MAX = 4 * MIB
"""The largest TOML file that is read; a price sheet of all regions is a tenth of this size."""

Json = dict[str, Any]
"""A JSON object after parsing."""

DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EIO, errno.EROFS})
"""The errors of a disk that is full, over its quota, broken or read-only."""

_PACKAGE = Path(__file__).parent
# Leading apostrophes are allowed. Without them, a string that begins with one could not be
# restored.
_FORMULA = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.ASCII | re.IGNORECASE)


@contextmanager
def open_for_atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file that replaces ``path`` when the block ends.

    Other processes read either the old file or the complete new file.  If the block raises, the old
    file stays and the temporary file is deleted. If the process is killed, the temporary file
    stays. An abandoned temporary file is deleted when the same ``path`` is written again, or by
    :func:`delete_abandoned_temporary_files`::

        with open_for_atomic_write(path) as file:
            np.savez(file, probabilities=probabilities)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    delete_abandoned_temporary_files(path.parent, of_file=path.name)
    with add_path_to_disk_errors(path):
        draft, file = _create_locked_draft(path)
        try:
            with file:
                yield file
                file.flush()
                # Without fsync, the file may be empty after a power failure.
                os.fsync(file.fileno())
                # The draft is still locked, so no process deletes it as abandoned.
                draft.replace(path)
        except BaseException:
            with suppress(OSError):  # keep the first error if the deletion fails too
                draft.unlink(missing_ok=True)
            raise


@contextmanager
def open_text_for_atomic_write(path: Path) -> Iterator[TextIO]:
    """Like :func:`open_for_atomic_write`, but the file is opened for text in UTF-8."""
    from io import TextIOWrapper

    with open_for_atomic_write(path) as file:
        text = TextIOWrapper(file, "utf-8", newline="")
        try:
            yield text
        finally:
            text.detach()  # flushes the text, and leaves the file open


def _create_locked_draft(path: Path) -> tuple[Path, BinaryIO]:
    """Create a temporary file, and lock it to show that it is in use.

    The kernel removes the lock when the process ends, even if the process is killed.
    """
    import fcntl

    while True:
        # Two processes may write the same cache entry at once, so no two drafts share a name.
        draft = path.with_name(f".{path.name}.{os.urandom(4).hex()}.part")
        file = draft.open("xb")
        with suppress(OSError):  # some network file systems have no locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if draft.exists():
            return draft, file
        file.close()  # another process deleted it before it was locked


@contextmanager
def add_path_to_disk_errors(path: Path) -> Iterator[None]:
    """Add the file's path to disk errors in a ``with`` block; Python's own errors lack it."""
    try:
        yield
    except OSError as err:
        if err.errno in DISK_ERRORS:
            err.filename = str(path)
        raise


def delete_abandoned_temporary_files(folder: Path, *, of_file: str | None = None) -> None:
    """Delete the temporary files that killed processes left in a folder.

    Files that a process is writing at the moment are kept. A file that cannot be deleted is
    ignored, because it does no harm.

    Args:
        folder: The folder.
        of_file: The name of the file whose temporary files are deleted, or None for every file.
    """
    import fcntl
    from glob import escape

    name = "*" if of_file is None else escape(of_file)
    for draft in folder.glob(f".{name}.????????.part"):
        with suppress(OSError), draft.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)  # fails during a write
            draft.unlink(missing_ok=True)


def write_file_atomically(path: Path, content: bytes | str) -> None:
    """Write a file so that other processes see only the old or the complete new content."""
    with open_for_atomic_write(path) as file:
        file.write(make_encodable(content).encode() if isinstance(content, str) else content)


def write_json_file(path: Path, document: object) -> None:
    """Write an indented JSON document to a file, which is replaced if it exists."""
    write_file_atomically(path, encode_json_document(document))


def encode_json_document(document: object) -> str:
    """Return an indented JSON document in ASCII, which every reader of JSON accepts."""
    import json

    return (
        json.dumps(_make_values_encodable(document), indent=2, default=_make_text_encodable) + "\n"
    )


def _make_values_encodable(value: object) -> object:
    if isinstance(value, str):
        return make_encodable(value)
    if isinstance(value, Mapping):
        return {
            _make_values_encodable(key): _make_values_encodable(item) for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_make_values_encodable(item) for item in value]
    return value


def _make_text_encodable(value: object) -> str:
    return make_encodable(str(value))


def make_encodable(text: str) -> str:
    r"""Return a string that can be encoded as UTF-8; bytes that cannot be encoded become escapes.

    A file name may contain bytes that are not UTF-8. Python reads such a byte, for example
    ``\xfc``, as a surrogate character (PEP 383), and a surrogate character cannot be written to a
    UTF-8 file.
    """
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def escape_formula_in_csv_cell(value: object) -> object:
    """Return a value in a form that no spreadsheet reads as a formula.

    A spreadsheet runs a string as a formula if it begins with ``=``, ``+``, ``-``, ``@``, a tab or
    a carriage return. File names may begin like this. The function puts an apostrophe before such a
    string. Spreadsheets do not show the apostrophe. Negative numbers stay unchanged. The function
    :func:`unescape_formula_in_csv_cell` removes the apostrophe again.
    """
    if not isinstance(value, str) or _NUMBER.fullmatch(value):
        return value
    text = value if value.isascii() else make_encodable(value)
    return f"'{text}" if _FORMULA.match(text) else text


def unescape_formula_in_csv_cell(cell: str) -> str:
    """Return the original text of a cell that :func:`escape_formula_in_csv_cell` made."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def open_regular_file(path: Path) -> BinaryIO:
    """Open a file to read it, and refuse a pipe, a socket or a device.

    Reading from a pipe could wait forever, and a pipe can be read only once.

    Raises:
        OSError: The file cannot be opened, or is not a regular file.
    """
    # With O_NONBLOCK, opening a pipe does not wait for its writer; a regular file is read as usual.
    # The open file is checked again, because the path may have been replaced meanwhile.
    mode = path.stat().st_mode
    if not stat.S_ISSOCK(mode):  # a socket cannot be opened
        handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        mode = os.fstat(handle).st_mode
        if stat.S_ISREG(mode):
            return os.fdopen(handle, "rb")
        os.close(handle)
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    kinds = {stat.S_IFIFO: "pipe", stat.S_IFSOCK: "socket"}
    kind = kinds.get(stat.S_IFMT(mode), "device")
    what = f"A {kind} cannot be read as a file: save its content to a file first"
    raise OSError(errno.EINVAL, what, str(path))


def explain_unusable_path(path: Path, missing: str, *, wanted: Literal["file", "folder"]) -> str:
    """Return why a path leads to no file or folder: nothing is there, or something else is.

    Args:
        path: The path.
        missing: The sentence to return if nothing is there.
        wanted: What should be there.
    """
    if not path.exists():
        return missing
    found = "a folder" if path.is_dir() else "a file" if path.is_file() else "something else"
    return f"The path leads to {found}, not to a {wanted}"


def read_bytes_up_to_limit(path: Path, most_bytes: int) -> bytes:
    """Return the content of a file; stop reading and raise if it is larger than the limit.

    The file may be a pipe, for example the one that a shell makes for ``<(command)``.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file has more than ``most_bytes`` bytes.
    """
    with path.open("rb") as file:
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise ValueError(f"the file has more than {most_bytes:,} bytes")
    return content


def read_toml_file(path: Path) -> dict[str, Any]:
    """Return the document in a TOML file of at most 4 MiB.

    Raises:
        OSError: The file cannot be read.
        ValueError: The file is larger than 4 MiB, is not TOML in UTF-8, is nested too deeply, or
            has a whole number of too many digits.
    """
    import tomllib

    content = read_bytes_up_to_limit(path, TOML_BYTES_MAX)
    try:
        return tomllib.loads(content.decode("utf-8-sig"))  # Notepad writes a byte order mark
    except UnicodeDecodeError as err:
        raise ValueError("the file is not text in UTF-8") from err
    except RecursionError as err:
        raise ValueError("the document is nested too deeply") from err


def make_folder_readable_for_every_user(folder: Path) -> None:
    """Let every user read the files of a folder, whatever the umask is.

    Only the owner may write the files. If the owner may execute a file, every user may execute it.
    """
    for path in (folder, *folder.rglob("*")):
        may_enter = path.is_dir() or os.access(path, os.X_OK)
        path.chmod(0o755 if may_enter else 0o644)


def sha256_of_bytes(content: bytes) -> str:
    """Return the SHA-256 of some bytes in hexadecimal."""
    return hashlib.sha256(content).hexdigest()


def sha256_of_file(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal, reading the file in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def path_of_shipped_file(name: str) -> Path:
    """Return the path of a file or folder that is part of the project, for example ``studies``.

    In a checkout the file is under the root; in an installed package it is under
    ``drdeploy/shipped``.  The caller must check whether the returned path exists.

    Args:
        name: Path relative to the root of the checkout, for example ``examples/photographs``.
    """
    in_checkout = _PACKAGE.parent.name == "src"
    return (_PACKAGE.parent.parent if in_checkout else _PACKAGE / "shipped") / name


def choose_output_folder(beside: Path) -> Path:
    """Return the folder in which a command should write the output that it makes from a file.

    The output goes to the folder of the file. If the file belongs to this package, the output goes
    to the current folder instead, because no command may change the installed files.
    """
    folder = beside.resolve().parent
    return Path.cwd() if folder.is_relative_to(_PACKAGE.resolve()) else folder


def parse_json(text: str | bytes) -> Any:
    """Parse untrusted JSON.

    Raises:
        ValueError: The text is not JSON, or its arrays and objects are nested too deeply.
    """
    import json  # not needed at a server's start

    try:
        return json.loads(text)  # noqa: TID251 - nothing else may
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
