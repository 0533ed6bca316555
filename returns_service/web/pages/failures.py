"""A failure as a page. It says that nothing is lost, what to do next, and the number to tell an admin.

The API's answers stay as they are; a page is for a browser that asked for one.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode

from litestar import Response

from returns_service.domain.problems import Problem
from returns_service.domain.roles import allows, scopes_of
from returns_service.domain.vocabulary import ROLES
from returns_service.web.pages.handler import TOLD, page_before, safe_path
from returns_service.web.pages.portal_failures import is_portal, portal_failure
from returns_service.web.pages.problem_words import describe_problem
from returns_service.web.pages.rendering import render_alone
from returns_service.web.pages.visitor import AnyRequest

_ID: Final = re.compile(r"(ret|rfd|pay|rcp)_[0-9a-z]*")
_ID_LENGTH: Final = 26  # after the prefix; https://github.com/jetify-com/typeid
Answer = Callable[[AnyRequest, Any], Response[Any]]


class Explanation(NamedTuple):
    """What a page says of a failure: its head, whether anything was changed, and what to do."""

    title: str
    safe: str
    text: str


NOTHING_CHANGED: Final = "No money moved, nothing was changed"
NOT_HALF_DONE: Final = "Nothing is half done"  # a form's answer got lost: it may be done, and nobody knows here
EXPLAINED: Final[Mapping[int, Explanation]] = {
    400: Explanation("This can’t be read", NOTHING_CHANGED, "The form came damaged. Go back and send it again."),
    403: Explanation("This is not part of your role", NOTHING_CHANGED, "Ask an admin if you need it."),
    405: Explanation("This address takes forms only", NOTHING_CHANGED, "Go back to the page with its form."),
    413: Explanation("This is too large", NOTHING_CHANGED, "Send less at once, or a smaller file."),
    415: Explanation("This can’t be read", NOTHING_CHANGED, "The form came in a form we don’t know. Send it again."),
    429: Explanation("Too many tries", NOTHING_CHANGED, "Wait a little, then try again."),
    503: Explanation(
        "We can’t reach the database", NOTHING_CHANGED,
        "What was counted or decided before is kept. Trying again is safe: nothing counts or pays twice.",
    ),
}  # fmt: skip
MISTYPED: Final = "Or the address has a slip of the pen in it: open it from its list."
BY_BADGE: Final = Explanation(
    "A badge or PIN only receives", NOTHING_CHANGED, "Sign in with e-mail for this; then Receive is there as well."
)
OUT_OF_DATE: Final = Explanation(
    "This form is out of date",
    NOTHING_CHANGED,
    "It was opened before somebody signed in or out here, or it came from another site. Open the page again.",
)
OURS: Final = Explanation(
    "That didn’t work, and it’s our fault",
    NOT_HALF_DONE,
    "Either all of it was written or nothing. Trying once more is safe: it can’t count or pay twice.",
)


def with_pages(handlers: Mapping[int | type[Exception], Answer]) -> dict[int | type[Exception], Answer]:
    """Return handlers that answer a browser with a page, and everybody else as `handlers` do."""
    return {kind: _for_both(handler) for kind, handler in handlers.items()}


def _for_both(handler: Answer) -> Answer:
    def answer(request: AnyRequest, error: Any) -> Response[Any]:
        response = handler(request, error)
        return _page(request, error, response) if wants_page(request) else response

    return answer


def wants_page(request: AnyRequest) -> bool:
    """Return whether a browser asks for a page, and not for the API."""
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(("/v1/", "/webhooks/"))


def _page(request: AnyRequest, error: Exception, response: Response[Any]) -> Response[Any]:
    status = response.status_code or 500
    if is_portal(request):
        return portal_failure(request, error, response)
    again = _this_page(request) if request.method == "GET" else page_before(request)
    if status == 404 and not (request.method == "POST" and isinstance(error, Problem)):
        page = render_alone(request, "not_found.html", status=404, **_describe_missing(request))
    else:
        explained = _explanation(error, status)
        if status == 503 and request.method == "POST":
            explained = explained._replace(safe=NOT_HALF_DONE)
        where = None if _is_barred(error) else again
        page = render_alone(
            request, "error.html", status=status, explained=explained, again=where, detail=_detail(error),
            sign_in=f"/sign-in?next={quote(again, safe='/')}" if explained is BY_BADGE else None,
        )  # fmt: skip
    page.headers.update({name: value for name, value in response.headers.items() if name in ("Retry-After", "Allow")})
    return page


def _explanation(error: Exception, status: int) -> Explanation:
    if isinstance(error, Problem):
        if error.code == "form_out_of_date":
            return OUT_OF_DATE
        if _is_barred(error) and "required_scope" not in error.facts:
            return BY_BADGE
        if error.code == "not_found":
            return Explanation("It is not there any more", NOTHING_CHANGED, error.said or MISTYPED)
        if status in (404, 409, 412, 422) or error.code in ("stripe_unavailable", "stripe_refuses_us"):
            words = describe_problem(error)
            return Explanation(words.title, NOTHING_CHANGED if words.nothing_changed else NOT_HALF_DONE, words.text)
    return EXPLAINED.get(status, OURS)


def _is_barred(error: Exception) -> bool:
    return isinstance(error, Problem) and error.code == "insufficient_scope"


def _detail(error: Exception) -> str | None:
    if not isinstance(error, Problem) or not _is_barred(error):
        return None
    scope = error.facts.get("required_scope")
    if scope is None:
        return None
    roles = [role for role in ROLES if allows(scopes_of(role), scope)]
    return f"It belongs to these roles: {', '.join(roles)}."


def _describe_missing(request: AnyRequest) -> dict[str, Any]:
    """Return what a page says of an address that is none: an id out of it, and what is wrong with it."""
    last = request.url.path.rstrip("/").rpartition("/")[2]
    match = _ID.fullmatch(last)
    short = _ID_LENGTH - len(last.partition("_")[2]) if match else 0
    return {"id": last if match else None, "short": max(0, short), "path": request.url.path}


def _this_page(request: AnyRequest) -> str:
    """Return the address of the page that was asked for, with its filters but without what it told."""
    kept = [(name, value) for name, value in request.query_params.multi_items() if name not in TOLD]
    return safe_path(f"{request.url.path}?{urlencode(kept)}" if kept else request.url.path)
