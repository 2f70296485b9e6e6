"""The web application of the worklist page."""

from __future__ import annotations

import asyncio
import secrets
import threading
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from drdeploy.clinic.page.access import PageAccess
from drdeploy.clinic.page.decided_results import decide_result
from drdeploy.clinic.page.exports import (
    make_csv_of_studies,
    make_fhir_bundle_with_decision,
    make_pdf_page_of_study,
)
from drdeploy.clinic.page.forms import (
    UPLOAD_BYTES_MAX,
    read_grades,
    read_photograph_upload,
    read_reason_of_decision,
    read_study_number_from_path,
)
from drdeploy.clinic.page.photographs import (
    DetailsMissing,
    PhotographHeaders,
    read_picture_for_browser,
    receive_photograph,
)
from drdeploy.clinic.page.rendering import PACKAGE, UPLOAD_PATH, ErrorPages, PageRenderer
from drdeploy.clinic.page.request_guard import RateLimit, RequestGuard
from drdeploy.clinic.page.sessions import SESSION_S, RecentViews
from drdeploy.clinic.page.signing_in import SignInPages
from drdeploy.clinic.page.translations import translate_page_text
from drdeploy.clinic.page.worklist_view import make_worklist_view
from drdeploy.clinic.patients import EYES
from drdeploy.clinic.records.worklist_queries import WorklistFilter
from drdeploy.clinic.referral_rules import OUTCOMES
from drdeploy.errors import (
    ClinicError,
    DrdeployError,
    InvalidInput,
    RequestRefused,
    StudyChanged,
    turn_import_error_into_missing_extra,
)

with turn_import_error_into_missing_extra("clinic", "The worklist page"):
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.exceptions import HTTPException
    from starlette.middleware import Middleware
    from starlette.middleware.sessions import SessionMiddleware
    from starlette.responses import JSONResponse, RedirectResponse, Response
    from starlette.routing import Route

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request

    from drdeploy.clinic.page.access import PageOptions
    from drdeploy.clinic.records import ClinicRecords
    from drdeploy.clinic.records.accounts import ClinicAccount
    from drdeploy.clinic.records.worklist import ListedStudy

COOKIE = "drdeploy_clinic"
UPLOADS_AT_ONCE, UPLOADS_PER_MINUTE = 4, 1200
UPLOAD_S = 300.0
"""Seconds within which a photograph must arrive."""
PICTURES_AT_ONCE = 2
"""The largest number of photographs that are decoded at the same time. Each takes about 100 MB of
memory.
"""
AUDIT_ENTRIES_SHOWN = 200
_STATIC = {"page.css": "text/css", "page.js": "text/javascript", "icon.svg": "image/svg+xml"}


class WorklistPage:
    """The handlers of the page.

    ::

        app = WorklistPage(records, PageOptions(hosts={"127.0.0.1"})).make_app()
    """

    def __init__(
        self,
        records: ClinicRecords,
        options: PageOptions,
        on_arrival: Callable[[], None] = lambda: None,
    ) -> None:
        """Prepare the page.

        Args:
            records: The clinic's records.
            options: How the page is served.
            on_arrival: Called after each new photograph.
        """
        self._records = records
        self._options = options
        self._on_arrival = on_arrival
        self._access = PageAccess(records, options)
        self._renderer = PageRenderer(self._access)
        self._views = RecentViews()
        self._headers = PhotographHeaders(records)
        self._uploads = RateLimit(UPLOADS_PER_MINUTE)
        self._uploading = asyncio.Semaphore(UPLOADS_AT_ONCE)
        self._decoding = threading.BoundedSemaphore(PICTURES_AT_ONCE)

    def make_app(self) -> Starlette:
        """Return the application."""
        signing = SignInPages(self._records, self._access, self._renderer)
        errors = ErrorPages(self._renderer)
        routes = [
            Route("/", self.show_worklist),
            Route("/sign-in", signing.show_sign_in),
            Route("/sign-in", signing.sign_in, methods=["POST"]),
            Route("/sign-out", signing.sign_out, methods=["POST"]),
            Route(UPLOAD_PATH, self.upload, methods=["POST"]),
            Route("/list", self.show_list),
            Route("/worklist.csv", self.export_csv),
            Route("/audit", self.show_audit_log),
            Route("/studies/{study:int}", self.show_study),
            Route("/studies/{study:int}/decision", self.record_or_undo_decision, methods=["POST"]),
            Route("/studies/{study:int}/erasure", self.erase, methods=["POST"]),
            Route("/studies/{study:int}/bundle.json", self.export_bundle),
            Route("/studies/{study:int}/page.pdf", self.export_page),
            Route("/studies/{study:int}/photographs/{number:int}/{frame:int}", self.show_picture),
            Route("/static/{name}", self.show_static_file),
        ]
        middleware = [
            Middleware(
                RequestGuard,
                hosts=self._options.hosts,
                is_tls=self._options.is_tls,
                upload_path=UPLOAD_PATH,
            ),
            # The key exists only in this process, so cookies of an earlier process are refused.
            Middleware(
                SessionMiddleware,
                secret_key=secrets.token_hex(32),
                session_cookie=COOKIE,
                max_age=int(SESSION_S),
                same_site="strict",
                https_only=self._options.is_tls,
            ),
        ]
        handlers: Any = {
            HTTPException: errors.show_http_error,
            DrdeployError: errors.show_error,
            Exception: errors.show_fault,
        }
        return Starlette(routes=routes, middleware=middleware, exception_handlers=handlers)

    # ---- pages

    def show_worklist(self, request: Request) -> Response:
        """Show the whole page."""
        account = self._access.find_account(request)
        if account is None:
            return RedirectResponse("/sign-in", 303)
        self._record_view_in_audit_log(account, "see worklist")
        return self._renderer.render(
            request, "worklist.html.j2", **self._make_values_of_worklist(request)
        )

    def show_list(self, request: Request) -> Response:
        """Show only the list, which an open page requests repeatedly."""
        account = self._access.require_account_with_role(request, "viewer")
        self._record_view_if_page_was_not_opened(account, "see worklist")
        return self._renderer.render(
            request, "list.html.j2", **self._make_values_of_worklist(request)
        )

    def _make_values_of_worklist(self, request: Request) -> dict[str, Any]:
        chosen = WorklistFilter.parse(request.query_params)
        view = make_worklist_view(self._records.worklist.load_page(chosen))
        who = "this"
        if view.counts["waiting"] and not self._options.is_grading():
            who = "another" if self._options.is_graded_elsewhere() else "none"
        return {"chosen": chosen, "view": view, "who_grades": who}

    # ---- the audit log says who saw what

    def _record_view_in_audit_log(
        self, account: ClinicAccount, action: str, number: int | None = None
    ) -> None:
        self._views.record_view_and_tell_if_recent((account.name, number))
        self._records.worklist.record_view(account.name, action, number)

    def _record_view_if_page_was_not_opened(
        self, account: ClinicAccount, action: str, number: int | None = None
    ) -> None:
        """Record a view in the audit log, unless the person has seen the same page recently."""
        if not self._views.record_view_and_tell_if_recent((account.name, number)):
            self._records.worklist.record_view(account.name, action, number)

    def show_study(self, request: Request) -> Response:
        """Show a study."""
        account = self._access.require_account_with_role(request, "viewer")
        study = self._load_study_or_raise_404(request)
        # A page that waits for the grades reloads itself, and each reload would add an entry.
        note = (
            self._record_view_if_page_was_not_opened
            if study.state == "waiting"
            else self._record_view_in_audit_log
        )
        note(account, "see study", study.number)
        earlier, later = self._records.worklist.find_neighbours_of_study(study.number)
        pictures = list(self._headers.list_shown_photographs(study.number))
        others = 0
        if account.may_act_as("administrator"):
            others = self._records.erasure.count_studies_of_other_issuers(study.identity)
        return self._renderer.render(
            request, "study.html.j2", study=study, pictures=pictures, earlier=earlier, later=later,
            frames_not_shown=self._headers.count_frames_not_shown(study.number),
            others=others, sent=self._records.deliveries.list_deliveries_of_study(study.number),
            points=self._options.operating_points if self._options.is_grading() else (),
        )  # fmt: skip

    def _load_study_or_raise_404(self, request: Request) -> ListedStudy:
        study = self._records.worklist.find_study(read_study_number_from_path(request))
        if study is None:
            raise HTTPException(404)
        return study

    def show_picture(self, request: Request) -> Response:
        """Send a photograph in full resolution."""
        account = self._access.require_account_with_role(request, "viewer")
        study, number = read_study_number_from_path(request), request.path_params["number"]
        sha256 = self._records.worklist.list_photographs(study).get(number)
        if sha256 is None:
            raise HTTPException(404)
        self._record_view_if_page_was_not_opened(account, "see photograph", study)
        with self._decoding:
            content, media_type = read_picture_for_browser(
                self._records, sha256, request.path_params["frame"]
            )
        return Response(content, media_type=media_type)

    def show_audit_log(self, request: Request) -> Response:
        """Show the newest entries of the audit log, and whether its chain of hashes is unbroken."""
        self._access.require_account_with_role(request, "administrator")
        entries = self._records.worklist.list_audit_entries(AUDIT_ENTRIES_SHOWN)
        count, sha256 = self._records.verify_audit_log()
        return self._renderer.render(
            request, "audit.html.j2", entries=entries, entry_count=count, sha256=sha256
        )

    def show_static_file(self, request: Request) -> Response:
        """Send the style sheet, the script or the icon."""
        name = request.path_params["name"]
        if name not in _STATIC:
            raise HTTPException(404)
        content = files(PACKAGE).joinpath("static", name).read_bytes()
        return Response(content, media_type=_STATIC[name])

    # ---- photographs that are dropped

    async def upload(self, request: Request) -> Response:
        """Take in one photograph."""
        account = await run_in_threadpool(self._access.require_account_with_role, request, "grader")
        self._access.check_token(request, request.headers.get("x-token", ""))
        if int(request.headers["content-length"]) > UPLOAD_BYTES_MAX:
            raise HTTPException(413, "The photograph is too large.")
        if not self._uploads.allows_request(account.name):
            raise HTTPException(429, headers={"Retry-After": "10"})
        async with self._uploading:
            try:
                async with asyncio.timeout(UPLOAD_S):
                    content, fields = await read_photograph_upload(request)
            except TimeoutError:
                raise HTTPException(408) from None
            return await run_in_threadpool(
                self._store_uploaded_photograph, account, content, fields, request
            )

    def _store_uploaded_photograph(
        self, account: ClinicAccount, content: bytes, fields: dict[str, str], request: Request
    ) -> Response:
        language = request.session.get("language", "en")
        eye: Any = fields.get("eye") if fields.get("eye") in EYES else None
        try:
            is_new = receive_photograph(
                self._records.with_actor(account.name),
                content,
                patient=fields.get("patient", ""),
                eye=eye,
            )
        except DetailsMissing as error:
            return JSONResponse({"needs": error.names}, 422)
        except (RequestRefused, ClinicError) as error:
            return JSONResponse(
                {"error": translate_page_text(error.sentence, language)}, error.http_status
            )
        if is_new:
            self._on_arrival()
        return JSONResponse({"new": is_new})

    # ---- decisions

    async def record_or_undo_decision(self, request: Request) -> Response:
        """Record a decision, or undo the last one."""
        fields = await self._access.read_form(request)
        return await run_in_threadpool(self._record_or_undo_in_thread, request, fields)

    def _record_or_undo_in_thread(self, request: Request, fields: dict[str, str]) -> Response:
        account = self._access.require_account_with_role(request, "grader")
        study = self._load_study_or_raise_404(request)
        here = f"/studies/{study.number}"
        kind = fields.get("kind", "")
        if kind == "undo":
            seen = "" if study.decision is None else repr(study.decision.decided_s)
            if study.decision is None or fields.get("decided") != seen:
                raise StudyChanged
            self._records.worklist.undo_decision(
                study.number, account.name, study.decision.decided_s, decide_result
            )
            return RedirectResponse(here, 303)
        if kind not in {"accept", "overrule", "refer"} or study.state != "graded":
            raise HTTPException(400)
        if fields.get("graded") != repr(study.graded_s):
            raise StudyChanged
        reason = read_reason_of_decision(fields)
        grades: dict[str, int | None] = {}
        outcome = {"accept": study.outcome, "refer": "refer"}.get(kind, fields.get("outcome", ""))
        if kind == "overrule":
            if not reason:
                raise InvalidInput("To overrule, give a reason", where="reason")
            grades = read_grades(fields, study)
            if outcome == study.outcome and not grades:
                raise InvalidInput(
                    "You chose the suggested outcome and changed no grade",
                    where="outcome",
                    remedy="Choose another outcome or grade, or accept",
                )
        if outcome not in OUTCOMES:
            raise HTTPException(400)
        self._records.worklist.record_decision(
            study, who=account.name, kind=kind, outcome=outcome, grades=grades,  # type: ignore[arg-type]
            reason=reason, decide_result=decide_result,
        )  # fmt: skip
        return RedirectResponse(here, 303)

    async def erase(self, request: Request) -> Response:
        """Erase a patient."""
        fields = await self._access.read_form(request)
        return await run_in_threadpool(self._erase_patient, request, fields)

    def _erase_patient(self, request: Request, fields: dict[str, str]) -> Response:
        account = self._access.require_account_with_role(request, "administrator")
        study = self._load_study_or_raise_404(request)
        if fields.get("confirm") != "yes":
            raise InvalidInput("The patient is erased only if you confirm it", where="erasure")
        self._records.with_actor(account.name).erasure.erase_patient(study.identity)
        return RedirectResponse("/", 303)

    # ---- exports

    def export_csv(self, request: Request) -> Response:
        """Send the list as CSV."""
        account = self._access.require_account_with_role(request, "viewer")
        chosen = WorklistFilter.parse(request.query_params)
        self._records.worklist.record_view(account.name, "export worklist")
        studies = self._records.worklist.list_studies(chosen)
        return _make_download(
            make_csv_of_studies(studies), "text/csv; charset=utf-8", "worklist.csv"
        )

    def export_bundle(self, request: Request) -> Response:
        """Send a study as a FHIR bundle."""
        account = self._access.require_account_with_role(request, "viewer")
        number = read_study_number_from_path(request)
        found = self._records.worklist.export_study(
            number, account.name, "export FHIR bundle", "bundle"
        )
        if found is None or not found.result:
            raise HTTPException(404)
        content = make_fhir_bundle_with_decision(found.result, found.study)
        return _make_download(content, "application/fhir+json", "bundle.json")

    def export_page(self, request: Request) -> Response:
        """Send a study as a PDF."""
        account = self._access.require_account_with_role(request, "viewer")
        number = read_study_number_from_path(request)
        found = self._records.worklist.export_study(number, account.name, "export PDF")
        if found is None:
            raise HTTPException(404)
        content = make_pdf_page_of_study(found.study, request.session.get("language", "en"))
        return _make_download(content, "application/pdf", "page.pdf")


def _make_download(content: bytes, media_type: str, name: str) -> Response:
    """Return a file under a name that does not identify a patient."""
    disposition = f'attachment; filename="{name}"'
    return Response(content, media_type=media_type, headers={"Content-Disposition": disposition})
