"""The pages on which people sign in and out."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from drdeploy.clinic.page.request_guard import RateLimit
from drdeploy.errors import turn_import_error_into_missing_extra

with turn_import_error_into_missing_extra("clinic", "The worklist page"):
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import RedirectResponse, Response

if TYPE_CHECKING:
    from starlette.requests import Request

    from drdeploy.clinic.page.access import PageAccess
    from drdeploy.clinic.page.rendering import PageRenderer
    from drdeploy.clinic.records import ClinicRecords


UNKNOWN_NAMES_PER_MINUTE = 10
"""How many sign-ins with unknown names the audit log names within a minute. The others are only
counted, because a stranger can try any number of names, and the audit log never shrinks.
"""


class SignInPages:
    """The handlers of signing in and out."""

    def __init__(self, records: ClinicRecords, access: PageAccess, renderer: PageRenderer) -> None:
        self._records = records
        self._access = access
        self._renderer = renderer
        self._unknown_names = RateLimit(UNKNOWN_NAMES_PER_MINUTE)
        self._not_recorded = 0
        self._counting = threading.Lock()

    def show_sign_in(self, request: Request) -> Response:
        """Show the form for signing in."""
        if self._access.find_account(request) is not None:
            return RedirectResponse("/", 303)
        return self._renderer.render(request, "sign_in.html.j2", problem="")

    async def sign_in(self, request: Request) -> Response:
        """Sign somebody in."""
        fields = await self._access.read_form(request)
        return await run_in_threadpool(self._check_password_and_start_session, request, fields)

    def _check_password_and_start_session(
        self, request: Request, fields: dict[str, str]
    ) -> Response:
        name, password = fields.get("name", "")[:64], fields.get("password", "")
        paused = self._access.sessions.is_sign_in_paused(name)
        identifier = self._access.sessions.sign_in(name, password)
        if identifier is None:
            problem = "The name or the password is wrong."
            if paused:
                problem = "Too many wrong passwords. Wait a minute."
            else:
                self._record_failed_sign_in(name)
            return self._renderer.render(request, "sign_in.html.j2", 403, problem=problem)
        language = request.session.get("language")
        request.session.clear()
        request.session.update(session=identifier, language=language)
        self._records.worklist.record_sign_in(name, "sign in")
        return RedirectResponse("/", 303)

    def _record_failed_sign_in(self, name: str) -> None:
        action = "fail to sign in"
        if self._records.accounts.find_account(name) is not None:
            self._records.worklist.record_sign_in(name, action)
            return
        # Somebody may have typed a password into the field for the name.
        who = "unknown name"
        with self._counting:
            if not self._unknown_names.allows_request(who):
                self._not_recorded += 1
                return
            withheld, self._not_recorded = self._not_recorded, 0
        details = f"{withheld} more before this one" if withheld else ""
        self._records.worklist.record_sign_in(who, action, details)

    async def sign_out(self, request: Request) -> Response:
        """Sign somebody out."""
        await self._access.read_form(request)
        account = self._access.require_account_with_role(request, "viewer")
        self._access.sessions.sign_out(str(request.session.get("session", "")))
        request.session.clear()
        self._records.worklist.record_sign_in(account.name, "sign out")
        return RedirectResponse("/sign-in", 303)
