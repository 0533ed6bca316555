"""Your own account: the password, and where you are signed in."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any, Final

from litestar import Response

from returns_service.commands import staff_users
from returns_service.commands.passwords import SHORTEST_PASSWORD, hash_password, matches
from returns_service.commands.sessions import begin_session, end_session, end_sessions, sessions_of
from returns_service.domain.problems import Problem
from returns_service.store.database import Tx
from returns_service.web.authentication import address_of
from returns_service.web.pages.handler import redirect
from returns_service.web.pages.page import Page, PageCall, posts, shows
from returns_service.web.pages.rendering import render
from returns_service.web.pages.visitor import session_cookie, session_token

LINK_SETS_PASSWORD_FOR: Final = timedelta(minutes=15)  # after signing in by link, without the old password
DID: Final = {
    "password": "Your password is set. You are signed out everywhere else.",
    "session": "That session is ended.",
    "sessions": "All your other sessions are ended.",
}


@shows("/you", personal=True)
async def show_you(call: PageCall) -> Response[Any]:
    """Show the account and its sessions."""
    return await _page(call)


async def _page(call: PageCall, *, status: int = 200, error: str | None = None) -> Response[Any]:
    user = call.signed_in.user
    async with call.context.database.reading() as tx:
        sessions = await sessions_of(tx, user.id)
    return render(
        call, "you.html", status=status, error=error, sessions=sessions, asks_old=_asks_for_old_password(call),
        shortest=SHORTEST_PASSWORD, passwords=call.context.settings.password_sign_in, did=DID.get(call.query("did")),
    )  # fmt: skip


def _asks_for_old_password(call: PageCall) -> bool:
    session, user = call.signed_in
    fresh = call.context.database.now() - session.created_at < LINK_SETS_PASSWORD_FOR
    return user.password_hash is not None and not (session.way == "link" and fresh)


@posts("/you/password", personal=True)
async def set_password(call: PageCall) -> Response[Any]:
    """Set the password; every other session ends, and this one goes on under a new token."""
    if not call.context.settings.password_sign_in:
        return await _page(call, status=403)
    user, old, new = call.signed_in.user, call.secret_field("old"), call.secret_field("password")
    async with call.context.password_slots:
        if _asks_for_old_password(call) and not await asyncio.to_thread(matches, old, user.password_hash):
            return await _page(call, status=422, error="The old password doesn’t match.")
        try:
            password_hash = await asyncio.to_thread(hash_password, new)
        except Problem as problem:
            return await _page(call, status=422, error=problem.detail)

    async def change(tx: Tx) -> str:
        row = await staff_users.change_user(tx, user.email, password_hash=password_hash)
        return await begin_session(
            tx, row, "password", replaces=session_token(call.request),
            user_agent=call.request.headers.get("user-agent"), address=address_of(call.request),
        )  # fmt: skip

    token = await call.context.database.run(change)
    response = redirect("/you?did=password")
    response.set_cookie(session_cookie(call.request, token))
    return response


@posts("/you/sessions/{session:str}/end", personal=True)
async def end_one(call: PageCall) -> Response[Any]:
    """End one session, this one too; where it is over already, nothing changes."""
    user_id, session_id = call.signed_in.user.id, call.path("session")
    if not await call.context.database.run(lambda tx: end_session(tx, user_id, session_id), safe_to_repeat=True):
        raise Problem("not_found", "You have no such session.")
    return redirect("/you?did=session")


@posts("/you/sessions/end", personal=True)
async def end_others(call: PageCall) -> Response[Any]:
    """End all sessions but this one."""
    session, user = call.signed_in
    await call.context.database.run(lambda tx: end_sessions(tx, user.id, but=session.id))
    return redirect("/you?did=sessions")


PAGES: Final[tuple[Page, ...]] = (show_you, set_password, end_one, end_others)
