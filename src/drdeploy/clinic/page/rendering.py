"""Fill the page's templates, and make the pages that are shown after an error."""

from __future__ import annotations

import secrets
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any
from urllib.parse import urlencode

from drdeploy.clinic.page.request_guard import HEADERS
from drdeploy.clinic.page.translations import (
    LANGUAGES,
    SENTENCES_OF_HTTP,
    TEXTS_OF_SCRIPT,
    translate_page_text,
)
from drdeploy.clinic.page.worklist_view import describe_probability_in_words
from drdeploy.clinic.patients import EYES
from drdeploy.clinic.referral_rules import OUTCOMES
from drdeploy.errors import turn_import_error_into_missing_extra
from drdeploy.grader.grading.grade import ICDR_CLASSES, RESEARCH_USE_NOTICE
from drdeploy.pages.page import create_template_environment

with turn_import_error_into_missing_extra("clinic", "The worklist page"):
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import (
        HTMLResponse,
        JSONResponse,
        PlainTextResponse,
        RedirectResponse,
        Response,
    )

if TYPE_CHECKING:
    from starlette.requests import Request

    from drdeploy.clinic.page.access import PageAccess

PACKAGE = "drdeploy.clinic.page"
UPLOAD_PATH = "/photographs"


class PageRenderer:
    """Fills the templates of the page."""

    def __init__(self, access: PageAccess) -> None:
        self._access = access
        self._templates = create_template_environment(PACKAGE)

    def render(self, request: Request, name: str, status: int = 200, **values: Any) -> Response:
        """Fill a template, in the language of the person who sent the request.

        Args:
            request: The request.
            name: The template's name.
            status: The HTTP status.
            values: The values that the template shows.
        """
        session = request.session
        if request.query_params.get("language") in LANGUAGES:
            session["language"] = request.query_params["language"]
        if session.get("language") not in LANGUAGES:
            wanted = request.headers.get("accept-language", "")
            session["language"] = "pt" if wanted.lower().startswith("pt") else "en"
        session.setdefault("token", secrets.token_urlsafe(32))
        language = session["language"]
        # The link to the other language keeps the filter of the list.
        kept = [(key, text) for key, text in request.query_params.items() if key != "language"]
        html = self._templates.get_template(name).render(
            _=lambda text: translate_page_text(text, language),
            account=self._access.find_account(request),
            describe_probability_in_words=describe_probability_in_words,
            classes=ICDR_CLASSES,
            eyes=EYES,
            format_time=lambda time_s: _format_time(time_s, language),
            language=language,
            languages=LANGUAGES,
            link_to=lambda **more: "?" + urlencode({**dict(kept), **more}),
            needs_sign_in=self._access.needs_sign_in(),
            notice=RESEARCH_USE_NOTICE,
            outcomes=OUTCOMES,
            path=request.url.path,
            script_texts={text: translate_page_text(text, language) for text in TEXTS_OF_SCRIPT},
            token=session["token"],
            **values,
        )
        return HTMLResponse(html, status)


class ErrorPages:
    """Answers requests that end with an error."""

    def __init__(self, renderer: PageRenderer) -> None:
        self._renderer = renderer

    async def show_http_error(self, request: Request, error: Exception) -> Response:
        """Answer a request with the page of an HTTP error."""
        status = getattr(error, "status_code", 500)
        detail = str(getattr(error, "detail", ""))
        return await run_in_threadpool(
            self._make_answer_to_error, request, status, detail, getattr(error, "headers", None)
        )

    async def show_error(self, request: Request, error: Exception) -> Response:
        """Answer a request that this program refuses. The answer says why."""
        status = getattr(error, "http_status", 500)
        sentence = getattr(error, "sentence", "")
        return await run_in_threadpool(self._make_answer_to_error, request, status, sentence, None)

    async def show_fault(self, request: Request, _error: Exception) -> Response:
        """Answer a request that failed because of the disk, the database or this program."""
        sentence = "The program could not answer. The administrator finds the cause in the log."
        if request.url.path == UPLOAD_PATH:
            sentence = "The photograph could not be kept. Send it again later."
        answer = await run_in_threadpool(self._make_answer_to_fault, request, sentence)
        answer.headers.update(HEADERS)  # RequestGuard does not see this answer
        return answer

    def _make_answer_to_fault(self, request: Request, sentence: str) -> Response:
        language = request.session.get("language", "en") if "session" in request.scope else "en"
        shown = translate_page_text(sentence, language)
        if request.url.path == UPLOAD_PATH:
            return JSONResponse({"error": shown}, 500)
        return PlainTextResponse(shown, 500)

    def _make_answer_to_error(
        self, request: Request, status: int, sentence: str, headers: dict[str, str] | None
    ) -> Response:
        if (
            status == 401
            and request.method == "GET"
            and "html" in request.headers.get("accept", "")
        ):
            return RedirectResponse("/sign-in", 303)
        language = request.session.get("language", "en")
        sentence = SENTENCES_OF_HTTP.get(sentence, sentence)
        if request.url.path == UPLOAD_PATH:
            answer: Response = JSONResponse(
                {"error": translate_page_text(sentence, language)}, status
            )
        else:
            answer = self._renderer.render(request, "error.html.j2", status, sentence=sentence)
        answer.headers.update(headers or {})
        return answer


def _format_time(time_s: float, language: str) -> str:
    local = datetime.fromtimestamp(time_s or time.time(), UTC).astimezone()
    return f"{local:%d/%m/%Y %H:%M}" if language == "pt" else f"{local:%Y-%m-%d %H:%M}"
