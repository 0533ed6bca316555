"""The one way a page is answered: find who looks, check their form, let them in or say why not, then do it."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

from litestar import HttpMethod, Response
from litestar.background_tasks import BackgroundTask
from litestar.datastructures import UploadFile
from litestar.exceptions import HTTPException
from litestar.handlers import HTTPRouteHandler

from returns_service.commands.sessions import SEEN_SHOWN_AFTER, touch_session
from returns_service.domain.problems import Problem
from returns_service.domain.roles import APPROVE, PAY, RECEIVE
from returns_service.queries.approvals import count_waiting
from returns_service.queries.desk import read_figures
from returns_service.store.database import Database, Tx
from returns_service.web.context import context_of
from returns_service.web.operations.bodies import parse_object
from returns_service.web.pages.page import Page, PageCall, PageWork
from returns_service.web.pages.rendering import render
from returns_service.web.pages.visitor import (
    CSRF_FIELD,
    AnyRequest,
    Visitor,
    check_form,
    comes_from_us,
    visitor_cookie,
    visitor_of,
)

SEE_OTHER: Final = 303
TOLD: Final = ("did", "checked", "back", "new", "undone")  # parameters of pages that tell what just happened
DESK_PAGES: Final = frozenset({"/", "/refunds"})  # they show the figures themselves, which agree with their lists
ASKS: Final = "asks"  # the field with a form's question, which its later pages repeat
LOOKED_BY_ITSELF: Final = "x-live"  # the header with which a page's script reads the page anew


def handler_of(page: Page) -> HTTPRouteHandler:
    """Return the route that serves a page."""

    async def answer(request: AnyRequest) -> Response[Any]:
        async with context_of(request).database.reading() as tx:
            visitor = await visitor_of(request, tx)
            call = await _with_waiting(PageCall(request, visitor), tx, page)
        if page.scope is not None and visitor.signed_in is None:
            return await _ask_to_sign_in(page, call)
        work = page.work
        if page.method == "POST":
            call = await _with_form(call)
            work = _checked_work(page, call)
        _let_in(page, visitor)
        response = await work(call)
        if visitor.is_new:
            response.set_cookie(visitor_cookie(request, visitor))
        response.background = response.background or _touch(request, visitor)
        return response

    route = HTTPRouteHandler(
        page.path,
        http_method=HttpMethod(page.method),
        name=page.name,
        status_code=200,
        include_in_schema=False,
        request_max_body_size=page.longest_bytes,
        opt={"page": page},
    )
    return route(answer)


def redirect(path: str) -> Response[Any]:
    """Return the answer that leads on after a form: a reload then repeats the page, not the form."""
    return Response(None, status_code=SEE_OTHER, headers={"Location": path, "Cache-Control": "no-store"})


def wants_json(request: AnyRequest) -> bool:
    """Return whether a script of ours asks, not a browser's own form."""
    return "application/json" in request.headers.get("accept", "")


def safe_path(path: str, otherwise: str = "/") -> str:
    """Return an address of ours to lead on to; `otherwise` for one of another site."""
    parts = urlsplit(path)
    ours = path.startswith("/") and not path.startswith(("//", "/\\")) and not parts.netloc and not parts.scheme
    return path if ours and path.isascii() and path.isprintable() and "\\" not in path else otherwise


def page_before(request: AnyRequest) -> str:
    """Return the address of ours that a form came from, without what it told; home where the browser doesn't say.

    A form that was refused stands at an address that only takes forms: the page above it is where it came from.
    """
    referer = urlsplit(request.headers.get("referer", ""))
    path = referer.path
    if referer.netloc != request.headers.get("host") or path.startswith("/sign-in"):
        return "/"
    kept = [(name, value) for name, value in parse_qsl(referer.query) if name not in TOLD]
    if kept and _is_shown(request, path):
        return safe_path(f"{path}?{urlencode(kept)}")
    while path and not _is_shown(request, path):
        path = path.rpartition("/")[0]
    return safe_path(path or "/")


def _is_shown(request: AnyRequest, path: str) -> bool:
    pages: tuple[Page, ...] = request.app.state.pages
    shown = (page.path for page in pages if page.method == "GET" and not page.path.startswith("/photos/"))
    return any(_pattern(one).fullmatch(path) for one in shown)


@cache
def _pattern(path: str) -> re.Pattern[str]:
    return re.compile(re.sub(r"\\{\w+:str\\}", "[^/]+", re.escape(path)))


def _checked_work(page: Page, call: PageCall) -> PageWork:
    """Return what a form may do: all of it, or, from a session that is over, only be shown again. Raises Problem."""
    token = call.field(CSRF_FIELD) if call.json is None else call.request.headers.get("x-csrf-token", "")
    try:
        check_form(call.request, call.visitor, token)
    except Problem as problem:
        if call.json is not None or not comes_from_us(call.request):
            raise
        show_again, why, typed = page.show_again, problem, page.typed_in(call.form)
        if show_again is not None:
            return lambda again: show_again(again, why)
        if not typed:
            raise
        return partial(_show_kept, typed=typed)
    return page.work


async def _ask_to_sign_in(page: Page, call: PageCall) -> Response[Any]:
    if wants_json(call.request):
        raise Problem("unauthorized", "Sign in, then send it again: nothing was taken.")
    if page.labels and comes_from_us(call.request):
        call = await _with_form(call)
        typed = page.typed_in(call.form)
        if typed:
            return await _show_kept(call, typed)
    told: dict[str, str] = {}
    if call.request.method == "GET":
        path, query = call.request.url.path, call.request.url.query
        path = safe_path(f"{path}?{query}" if query else path)
    else:  # nothing was typed into the form: its page is where to begin again
        path = page_before(call.request)
        told = {} if call.request.url.path == "/sign-out" else {"undone": "1"}
    wanted = told | ({} if path == "/" else {"next": path})
    return redirect(f"/sign-in?{urlencode(wanted, safe='/', quote_via=quote)}" if wanted else "/sign-in")


async def _show_kept(call: PageCall, typed: Sequence[tuple[str, str]]) -> Response[Any]:
    """Show what was typed into a form of a session that is over: to be sent once more, after a sign-in beside it."""
    sent = [(name, text) for name, texts in call.form.items() if name != CSRF_FIELD for text in texts]
    return render(
        call, "kept.html", status=403, typed=typed, sent=sent, asks=call.field(ASKS), back=page_before(call.request),
        photos=bool(call.files),
    )  # fmt: skip


def _let_in(page: Page, visitor: Visitor) -> None:
    if page.scope is not None and not any(visitor.may(scope) for scope in (page.scope, page.or_scope) if scope):
        raise Problem("insufficient_scope", f"It needs {page.scope}.", required_scope=page.scope)
    if page.personal and visitor.signed_in is not None and visitor.signed_in.session.receiving_only:
        raise Problem("insufficient_scope", "Sign in with e-mail and password for this: a badge only receives.")


async def _with_waiting(call: PageCall, tx: Tx, page: Page) -> PageCall:
    """Return the call with what waits for this person, by place. The dock shows none of it: it stays quick.

    What this process changes is in the numbers at once. Of others' changes a page's script hears, and reads it anew;
    without one they are a second old.
    """
    if page.scope in (None, RECEIVE) or call.visitor.signed_in is None:
        return call
    shows_desk = page.path in DESK_PAGES
    version, anew = call.context.database.commits, shows_desk or LOOKED_BY_ITSELF in call.request.headers
    waiting = {}
    if call.may(APPROVE):
        waiting["/approvals"] = await call.context.approvals.read(lambda: count_waiting(tx), version=version, anew=anew)
    if not call.may(PAY):
        return replace(call, waiting=waiting)
    desk = await call.context.desk.read(lambda: read_figures(tx), version=version, anew=anew)
    waiting["/refunds"] = sum(total.number for total in desk.totals)
    return replace(call, waiting=waiting, desk=desk if shows_desk else None)


async def _with_form(call: PageCall) -> PageCall:
    request = call.request
    content_type = request.headers.get("content-type", "")
    if content_type.startswith("application/json"):
        return replace(call, json=parse_object(await request.body(), content_type))
    form, files = await _read_form(request)
    return replace(call, form=form, files=files)


async def _read_form(request: AnyRequest) -> tuple[Mapping[str, Sequence[str]], Mapping[str, Sequence[UploadFile]]]:
    try:
        sent = await request.form()
    except HTTPException:
        raise
    except (ValueError, LookupError):  # a multipart body that is none, or a part in a character set that nobody knows
        raise Problem("malformed_request", "The form can't be read.") from None
    form: dict[str, list[str]] = {}
    files: dict[str, list[UploadFile]] = {}
    for name, value in sent.multi_items():
        if isinstance(value, UploadFile) and value.filename:  # a file field left empty sends one without a name
            files.setdefault(name, []).append(value)
        text = value if isinstance(value, str) else ""
        if "\0" in text or "\0" in name:
            raise Problem("malformed_request", "The form holds a character that no text may hold.")
        form.setdefault(name, []).append(text)
    return form, files


def _touch(request: AnyRequest, visitor: Visitor) -> BackgroundTask | None:
    """Return what keeps a session's last use current, done after the answer has gone; None where it is."""
    database = context_of(request).database
    if LOOKED_BY_ITSELF in request.headers:  # nobody did anything: an open page alone keeps no session alive
        return None
    if visitor.signed_in is None or database.now() - visitor.signed_in.session.seen_at < SEEN_SHOWN_AFTER:
        return None
    return BackgroundTask(_write_seen, database, visitor.signed_in.session.id)


async def _write_seen(database: Database, session_id: str) -> None:
    async with database.transaction() as tx:
        await touch_session(tx, session_id)
