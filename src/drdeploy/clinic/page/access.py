"""Find out who requests a page, and whether a form was sent from the program's own page."""

from __future__ import annotations

import asyncio
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from drdeploy.clinic.page.sessions import Sessions
from drdeploy.clinic.records.accounts import ClinicAccount
from drdeploy.errors import turn_import_error_into_missing_extra

with turn_import_error_into_missing_extra("clinic", "The worklist page"):
    from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from starlette.requests import Request

    from drdeploy.clinic.records import ClinicRecords
    from drdeploy.clinic.records.accounts import Role
    from drdeploy.grader.artifacts import OperatingPoint

FORM_S = 30.0
"""Seconds within which a form must arrive."""


@dataclass(frozen=True)
class PageOptions:
    """How the page is served.

    Attributes:
        hosts: The names that browsers may use for the page.
        is_tls: Whether the page is served by TLS.
        needs_sign_in: Whether people must sign in even if the records have no accounts.
        user: The name in the audit log if nobody needs to sign in.
        is_grading: Returns whether this program grades now.
        is_graded_elsewhere: Returns whether another program grades now. It is called only if this
            program does not grade.
        operating_points: The grader's operating points that the referral rules use. While this
            program grades, the page shows their sensitivity and specificity.
    """

    hosts: Collection[str]
    is_tls: bool = False
    needs_sign_in: bool = False
    user: str = "local user"
    is_grading: Callable[[], bool] = lambda: True
    is_graded_elsewhere: Callable[[], bool] = lambda: True
    operating_points: tuple[OperatingPoint, ...] = ()


class PageAccess:
    """Finds out who sent a request, and refuses it if the sender's role does not allow it.

    Attributes:
        sessions: The sessions of those who are signed in.
    """

    def __init__(self, records: ClinicRecords, options: PageOptions) -> None:
        self.sessions = Sessions(records.accounts)
        self._records = records
        self._options = options

    def needs_sign_in(self) -> bool:
        """Return whether people must sign in."""
        # As soon as the records have an account, a page that was open to everybody needs a sign-in.
        return self._options.needs_sign_in or self._records.accounts.count_accounts() > 0

    def find_account(self, request: Request) -> ClinicAccount | None:
        """Return the account of the person who sent the request, or None."""
        if not self.needs_sign_in():
            return ClinicAccount(self._options.user, "administrator")
        return self.sessions.find_account(str(request.session.get("session", "")))

    def require_account_with_role(self, request: Request, role: Role) -> ClinicAccount:
        """Return the account of the person who sent the request, if the role allows the request.

        Raises:
            HTTPException: Nobody is signed in, or the person may not do this.
        """
        account = self.find_account(request)
        if account is None:
            raise HTTPException(401)
        if not account.may_act_as(role):
            raise HTTPException(403, "Your role does not allow it.")
        return account

    @staticmethod
    def check_token(request: Request, token: str) -> None:
        """Check by a secret token that the request comes from a page of this program.

        Raises:
            HTTPException: The token is missing or wrong.
        """
        expected = str(request.session.get("token", ""))
        if not expected or not secrets.compare_digest(expected.encode(), token.encode()):
            raise HTTPException(403, "The page is out of date. Load it again.")

    async def read_form(self, request: Request) -> dict[str, str]:
        """Return the fields of a form.

        Raises:
            HTTPException: The form arrived incomplete, or was not sent by a page of this program.
        """
        try:
            async with asyncio.timeout(FORM_S):
                form = await request.form(max_files=0, max_fields=20)
        except TimeoutError:
            raise HTTPException(408) from None
        fields = {name: value for name, value in form.items() if isinstance(value, str)}
        self.check_token(request, fields.get("token", ""))
        return fields
