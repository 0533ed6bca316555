"""A failure on the customer's portal: in their language, with what is safe and what comes next."""

from __future__ import annotations

from typing import Any, Final

from litestar import Response

from returns_service.domain.problems import Problem
from returns_service.web.context import context_of
from returns_service.web.pages.portal_look import render_portal
from returns_service.web.pages.portal_words import words_for
from returns_service.web.pages.visitor import AnyRequest

_KINDS: Final = {403: "form", 404: "wrong", 413: "large", 429: "slow"}


def is_portal(request: AnyRequest) -> bool:
    """Return whether a customer asks."""
    path = request.url.path
    return path == "/portal" or path.startswith("/portal/")


def portal_failure(request: AnyRequest, error: Exception, response: Response[Any]) -> Response[Any]:
    """Return the page that tells a customer what became of their request, with the answer's status."""
    status = response.status_code or 500
    out_of_date = isinstance(error, Problem) and error.code in ("form_out_of_date", "invalid_request")
    kind = "form" if out_of_date else _KINDS.get(status, "ours")
    words = words_for(request, None, context_of(request).settings.shop_language)
    again = request.url.path.removesuffix("/cancel") if kind != "wrong" else None
    page = render_portal(request, "portal_problem.html", words, status=status, kind=kind, again=again)
    page.headers.update({name: value for name, value in response.headers.items() if name in ("Retry-After", "Allow")})
    return page
