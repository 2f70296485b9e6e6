"""Keep track of who is signed in and which pages they see, in the memory of this program."""

from __future__ import annotations

import secrets
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.units import SECONDS_PER_HOUR

if TYPE_CHECKING:
    from collections.abc import Callable

    from drdeploy.clinic.records.accounts import Accounts, ClinicAccount

SESSION_S = 8.0 * SECONDS_PER_HOUR
"""A session ends after a working day."""
SESSIONS_MAX = 1000
FAILURES_MAX = 5
PAUSE_S = 60.0
"""The seconds in which :data:`FAILURES_MAX` wrong passwords block an account. Nobody can then sign
in to the account until this many seconds have passed since the first wrong password.
"""
VIEW_S = 600.0
"""A page that has not been requested for this many seconds counts as closed."""
_NAMES_WATCHED_MAX = 10_000
_VIEWS_MAX = 10_000


@dataclass(frozen=True)
class _Session:
    account: str
    fingerprint: str
    ends_s: float


class Sessions:
    """The sessions of the people who are signed in. All of them end when the program ends."""

    def __init__(self, accounts: Accounts, clock: Callable[[], float] = time.monotonic) -> None:
        self._accounts = accounts
        self._clock = clock
        self._sessions: dict[str, _Session] = {}
        self._failures: dict[str, deque[float]] = {}
        self._lock = threading.Lock()
        self._one_hash_at_a_time = threading.Semaphore(2)

    def sign_in(self, name: str, password: str) -> str | None:
        """Return a new session's identifier; None if the name or the password is wrong."""
        # This is checked while the semaphore is held. Otherwise, many waiting attempts would all
        # pass the check before the first of them has failed.
        with self._one_hash_at_a_time:
            if self.is_sign_in_paused(name):
                return None
            account = self._accounts.check_password(name, password)
            if account is None:
                self._record_failed_sign_in(name)
                return None
        with self._lock:
            self._failures.pop(name, None)
            identifier = secrets.token_urlsafe(32)
            self._sessions[identifier] = _Session(
                account.name, account.fingerprint, self._clock() + SESSION_S
            )
            while len(self._sessions) > SESSIONS_MAX:
                self._sessions.pop(next(iter(self._sessions)))
            return identifier

    def _record_failed_sign_in(self, name: str) -> None:
        with self._lock:
            if len(self._failures) >= _NAMES_WATCHED_MAX:
                self._failures.clear()
            self._failures.setdefault(name, deque(maxlen=FAILURES_MAX)).append(self._clock())

    def is_sign_in_paused(self, name: str) -> bool:
        """Return whether too many wrong passwords were given for a name."""
        with self._lock:
            failures = self._failures.get(name)
            if failures is None or len(failures) < FAILURES_MAX:
                return False
            return self._clock() - failures[0] < PAUSE_S

    def find_account(self, identifier: str) -> ClinicAccount | None:
        """Return the account of a session.

        The result is None if the session has ended, or if the account was deleted or got a new
        password.
        """
        with self._lock:
            session = self._sessions.get(identifier)
        if session is None or session.ends_s < self._clock():
            return None
        account = self._accounts.find_account(session.account)
        if account is None or account.fingerprint != session.fingerprint:
            return None
        return account

    def sign_out(self, identifier: str) -> None:
        """End a session."""
        with self._lock:
            self._sessions.pop(identifier, None)


class RecentViews:
    """Remembers which page each person has seen recently.

    An open page reloads itself again and again. The audit log counts only the first of these
    requests as a view.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._seen: dict[tuple[str, int | None], float] = {}
        self._lock = threading.Lock()

    def record_view_and_tell_if_recent(self, view: tuple[str, int | None]) -> bool:
        """Remember that a person sees a page; return whether the person saw it a moment ago."""
        now = self._clock()
        with self._lock:
            earlier = self._seen.get(view)
            if len(self._seen) >= _VIEWS_MAX:
                self._seen.clear()
            self._seen[view] = now
        return earlier is not None and now - earlier < VIEW_S
