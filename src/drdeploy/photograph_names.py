"""Name photographs in results by a keyed hash, because file names often name a patient.

Every table, page, log and note calls a photograph ``photo-`` followed by twelve hexadecimal digits.
The digits come from the HMAC-SHA256 (RFC 2104) of the file's content under a random key. With the
same key, a photograph has the same name in all results, even if its file is renamed. Without the
key, nobody can find out which photograph or patient a name belongs to.

If a file cannot be read, its absolute path is hashed instead of its content. If a photograph in S3
is not read by this machine, its ``s3://`` address is hashed. A capture session or a
patient in a table of labels is called ``group-`` followed by twelve hexadecimal digits (48 bits).
Two photographs could get the same name by chance. Among 100,000 photographs, the probability that
any two share a name is one in 56,000. Among a million photographs, it is one in 560.

The key is created on first use and kept in the user's state folder, readable only by the user. To
give the same names on two machines, copy the key file and set ``DRDEPLOY_NAMES_KEY`` to the path of
the copy. If the key is lost, results stay valid, but nobody can find out any more which photographs
they belong to: with a new key, ``drdeploy names`` gives other names. A person with the key and the
photographs can tell which photograph each result belongs to.
"""

from __future__ import annotations

import hmac
import os
import re
import secrets
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Self

from drdeploy.errors import InvalidInput, escape_control_characters

if TYPE_CHECKING:
    from collections.abc import Mapping

KEY_VARIABLE = "DRDEPLOY_NAMES_KEY"
KEY_BYTES = 32
DIGITS = 12

Named = Literal["photo", "group"]

_HASHED = re.compile(rf"(photo|group)-[0-9a-f]{{{DIGITS}}}")
_SHORT_NUMBER = re.compile(r"[+-]?\d{0,2}(\.\d?)?", re.ASCII)


@dataclass(frozen=True)
class PhotographNames:
    """The names that results give to photographs, and to sessions and patients.

    ::

        names = PhotographNames.with_user_key()
        digest = sha256_of_bytes(content)
        names.name_of_photograph(file, "left/eye.jpg", digest)  # photo-3f9a1c2b4d5e

    Attributes:
        key: Key of the hash; if None, photographs are named by their file names.
    """

    key: bytes | None = field(repr=False)

    @classmethod
    def with_user_key(cls, environ: Mapping[str, str] = os.environ) -> Self:
        """Return names that are hashed with the user's key; the key is created if there is none.

        Raises:
            InvalidInput: The key cannot be read or stored, or the key file does not contain a key.
        """
        named = environ.get(KEY_VARIABLE)
        return cls(_read_key_file(Path(named)) if named else _read_or_create_user_key(environ))

    @classmethod
    def choose_file_names_or_hashes(cls, *, own: bool) -> Self:
        """Return names that are file names if ``own`` is true, else hashes with the user's key."""
        return cls(None) if own else cls.with_user_key()

    @property
    def are_file_names(self) -> bool:
        """Whether photographs are named by their file names."""
        return self.key is None

    @property
    def description_of_photograph_names(self) -> str:
        """How photographs are named, and with which key, as a text to record with a run."""
        if self.key is None:
            return "file names"
        return f"keyed hash, key {self._hex_hmac_of_message(b'key')[:8]}"

    def name_of_photograph(self, file: Path, own: str, sha256: str = "") -> str:
        """Return the name of a photograph in a form that any table, page or terminal can show.

        Control characters, and bytes that are not UTF-8, are replaced by visible escapes.

        Args:
            file: Path of the photograph.
            own: The photograph's file name, which is returned if photographs are named by file
                names.
            sha256: SHA-256 of the file's content; empty if the file cannot be read.
        """
        if self.key is None:
            return escape_control_characters(own)
        if sha256:
            return self._make_hashed_name("photo", "content", sha256.encode())
        return self._make_hashed_name("photo", "path", os.fsencode(os.path.abspath(file)))  # noqa: PTH100 - links stay

    def name_of_s3_object(self, uri: str, sha256: str = "") -> str:
        """Return the name of a photograph in S3.

        Args:
            uri: The ``s3://`` URI of the photograph, which is returned if photographs are named by
                file names.
            sha256: SHA-256 of the photograph's content. If it is empty, because this machine has
                not read the photograph, the URI is hashed instead of the content.
        """
        if sha256:
            return self.name_of_photograph(Path(), uri, sha256)
        return self.name_of_table_entry("photo", uri)

    def name_of_table_entry(self, kind: Named, text: str) -> str:
        """Return the name for a photograph, a session or a patient in a table.

        A string that is already a hashed name stays unchanged.
        """
        if self.key is None or _HASHED.fullmatch(text):
            return escape_control_characters(text)
        return self._make_hashed_name(kind, "text", text.encode("utf-8", "surrogateescape"))

    def quote_table_cell(self, cell: str) -> str:
        """Return how an error message should refer to a cell of a table.

        If file names may be shown, the message quotes the cell. Otherwise, the cell may hold a
        patient's name, so the message quotes it only if it is a small number.
        """
        return f"'{cell}'" if self.key is None else quote_cell_if_number(cell)

    def _make_hashed_name(self, kind: Named, of_what: str, value: bytes) -> str:
        # The kind is hashed, too. Without it, a patient's name and a photograph with the same bytes
        # as content would get the same hash.
        return f"{kind}-{self._hex_hmac_of_message(f'{kind} {of_what} '.encode() + value)[:DIGITS]}"

    def _hex_hmac_of_message(self, message: bytes) -> str:
        return hmac.digest(self.key or b"", message, "sha256").hex()


OWN_NAMES = PhotographNames(None)
"""Calls photographs by their file names.

Use file names only if they are public.
"""


def quote_cell_if_number(cell: str) -> str:
    """Return how an error message should refer to a cell of a table, without naming a patient.

    If the cell is a small number, the message quotes it. Any other text may name a patient, so the
    message says "The text of the cell" instead.
    """
    return f"'{cell}'" if _SHORT_NUMBER.fullmatch(cell) else "The text of the cell"


def path_of_user_key(environ: Mapping[str, str] = os.environ) -> Path:
    """Return the path of the user's key in the state folder (XDG base directories)."""
    base = environ.get("XDG_STATE_HOME")
    try:
        folder = Path(base) if base else Path.home() / ".local" / "state"
    except RuntimeError as err:  # a container's user may have no home
        raise _key_not_stored_error("this user has no home folder", "") from err
    return folder / "drdeploy" / "photograph-names.key"


def _read_or_create_user_key(environ: Mapping[str, str]) -> bytes:
    path = path_of_user_key(environ)
    try:
        if not path.exists():
            _create_key_file(path)
    except OSError as err:
        raise _key_not_stored_error(err.strerror or "", str(path)) from err
    return _read_key_file(path)


def _create_key_file(path: Path) -> None:
    """Write a new key, or keep the key that another process has just written."""
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        # The file is private from the start. If the mode were set later, others could read it
        # before.
        with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(f"{secrets.token_hex(KEY_BYTES)}\n")
            file.flush()
            os.fsync(file.fileno())
        # Making a link is atomic, and fails if a key exists, so a key is never replaced.
        with suppress(FileExistsError):
            path.hardlink_to(draft)
    finally:
        draft.unlink(missing_ok=True)


def _read_key_file(path: Path) -> bytes:
    try:
        text = path.read_text("ascii").strip()
        key = bytes.fromhex(text)
    except OSError as err:
        raise InvalidInput(
            f"The key for the names of photographs cannot be read: {err.strerror}",
            where=str(path),
            remedy=f"Make the file readable, or set {KEY_VARIABLE} to the path of another key file",
        ) from err
    except ValueError as err:
        raise _invalid_key_file_error(path) from err
    if len(key) != KEY_BYTES:
        raise _invalid_key_file_error(path)
    return key


def _invalid_key_file_error(path: Path) -> InvalidInput:
    return InvalidInput(
        "The file does not contain a key for the names of photographs",
        where=str(path),
        remedy=f"A key file is one line of {2 * KEY_BYTES} hexadecimal digits. To use the names of "
        "another machine, copy its ~/.local/state/drdeploy/photograph-names.key",
    )


def _key_not_stored_error(why: str, where: str) -> InvalidInput:
    return InvalidInput(
        f"The key for the names of photographs cannot be stored: {why}",
        where=where,
        remedy=f"Set XDG_STATE_HOME to a writable folder, or {KEY_VARIABLE} to a key file. "
        "A command that has the option --names needs no key with it",
    )
