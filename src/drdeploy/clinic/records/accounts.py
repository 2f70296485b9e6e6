"""The accounts that can sign in to the worklist page, and what each may do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal, get_args

from sqlalchemy import delete, func, insert, select, update

from drdeploy.clinic.records.audit import append_audit_entry
from drdeploy.clinic.records.database import ONLY_READS
from drdeploy.clinic.records.schema import ACCOUNTS
from drdeploy.errors import InvalidInput

if TYPE_CHECKING:
    from sqlalchemy import Engine

Role = Literal["viewer", "grader", "administrator"]
ROLES: tuple[Role, ...] = get_args(Role)
"""The roles; each role may do all that the role before it may do."""

PASSWORD_CHARACTERS_MIN, PASSWORD_CHARACTERS_MAX = 12, 256
"""The limits for the length of a password. The upper limit keeps the input of the hash small."""
_NAME_CHARACTERS_MAX = 64
_COST, _BLOCK, _LANES = 2**14, 8, 5
"""The parameters of scrypt (RFC 7914) that OWASP recommends for 16 MiB of memory per hash."""


@dataclass(frozen=True)
class ClinicAccount:
    """Somebody who may sign in.

    Attributes:
        name: The name that the audit log gives to this person.
        role: What this person may do.
        fingerprint: A hash of the stored password. A session ends when the fingerprint changes.
    """

    name: str
    role: Role
    fingerprint: str = field(default="", repr=False)

    def may_act_as(self, role: Role) -> bool:
        """Return whether this account has the rights of a role."""
        return ROLES.index(self.role) >= ROLES.index(role)


class Accounts:
    """The accounts in a clinic's records."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def set_account(self, name: str, role: Role, password: str) -> bool:
        """Create an account, or change the role and password of an existing one.

        Return whether the account is new.

        Raises:
            InvalidInput: The name or the password cannot be used.
        """
        _check_name(name)
        _check_password(password)
        values = {"role": role, "password": _hash_password(password)}
        mine = ACCOUNTS.c.name == name
        with self._engine.begin() as connection:
            is_new = not connection.execute(update(ACCOUNTS).where(mine).values(values)).rowcount
            if is_new:
                connection.execute(insert(ACCOUNTS).values(name=name, **values))
            append_audit_entry(
                connection, who="clinic command", action="set account", subject=name, details=role
            )
        return is_new

    def remove_account(self, name: str) -> bool:
        """Delete an account if it exists, and end its sessions; return whether it existed."""
        with self._engine.begin() as connection:
            gone = connection.execute(delete(ACCOUNTS).where(ACCOUNTS.c.name == name)).rowcount
            if gone:
                append_audit_entry(
                    connection, who="clinic command", action="remove account", subject=name
                )
        return bool(gone)

    def list_accounts(self) -> list[ClinicAccount]:
        """Return the accounts, sorted by name."""
        rows = select(ACCOUNTS.c.name, ACCOUNTS.c.role).order_by(ACCOUNTS.c.name)
        with self._engine.connect().execution_options(**{ONLY_READS: True}) as connection:
            return [ClinicAccount(name, role) for name, role in connection.execute(rows)]

    def count_accounts(self) -> int:
        """Return how many accounts there are."""
        with self._engine.connect().execution_options(**{ONLY_READS: True}) as connection:
            return connection.execute(select(func.count()).select_from(ACCOUNTS)).scalar_one()

    def find_account(self, name: str) -> ClinicAccount | None:
        """Return an account as it is now; None if it does not exist."""
        found = self._find_row(name)
        return (
            None
            if found is None
            else ClinicAccount(name, found[0], _fingerprint_of_stored_password(found[1]))
        )

    def check_password(self, name: str, password: str) -> ClinicAccount | None:
        """Return the account if the password is right.

        Checking an unknown name takes as long as checking a known one.
        """
        role, stored = self._find_row(name) or (None, _NOBODY)
        is_right = _is_right_password(password[:PASSWORD_CHARACTERS_MAX], stored)
        return (
            ClinicAccount(name, role, _fingerprint_of_stored_password(stored))
            if is_right and role is not None
            else None
        )

    def _find_row(self, name: str) -> tuple[Role, str] | None:
        if not name.isprintable():  # PostgreSQL refuses NUL even in a query
            return None
        mine = select(ACCOUNTS.c.role, ACCOUNTS.c.password).where(ACCOUNTS.c.name == name)
        with self._engine.connect().execution_options(**{ONLY_READS: True}) as connection:
            row = connection.execute(mine).one_or_none()
        return None if row is None else (row[0], row[1])


def _check_name(name: str) -> None:
    if not (0 < len(name) <= _NAME_CHARACTERS_MAX and name.isprintable() and name == name.strip()):
        raise InvalidInput(
            f"An account's name must have 1 to {_NAME_CHARACTERS_MAX} printable characters, and "
            "must not begin or end with a space",
            where="NAME",
            remedy="Give a name like ana.silva",
        )


def _check_password(password: str) -> None:
    if not PASSWORD_CHARACTERS_MIN <= len(password) <= PASSWORD_CHARACTERS_MAX:
        raise InvalidInput(
            f"A password must have {PASSWORD_CHARACTERS_MIN} to {PASSWORD_CHARACTERS_MAX} "
            "characters",
            where="the password",
            remedy="Use several unrelated words",
        )


def _hash_password(password: str) -> str:
    salt = secrets.token_bytes(16)
    return f"scrypt {base64.b64encode(salt).decode()} {_compute_digest(password, salt)}"


def _is_right_password(password: str, stored: str) -> bool:
    _, salt, digest = stored.split(" ")
    return hmac.compare_digest(_compute_digest(password, base64.b64decode(salt)), digest)


def _compute_digest(password: str, salt: bytes) -> str:
    digest = hashlib.scrypt(
        password.encode("utf-8", "surrogatepass"), salt=salt, n=_COST, r=_BLOCK, p=_LANES
    )
    return base64.b64encode(digest).decode()


def _fingerprint_of_stored_password(stored: str) -> str:
    return hashlib.sha256(stored.encode()).hexdigest()[:16]


_NOBODY = f"scrypt {base64.b64encode(bytes(16)).decode()} {base64.b64encode(bytes(64)).decode()}"
"""The hash with which the password for an unknown name is compared; no password matches it."""
