"""Sign in by password, by a link that works once, or by badge or PIN on an approved device; sign out."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final, TypeVar

from litestar import Response

from returns_service.commands import sign_in_throttle, staff_users
from returns_service.commands.devices import ask_for_device, count_code
from returns_service.commands.passwords import hash_pin, matches
from returns_service.commands.sessions import begin_session, end_session
from returns_service.commands.sign_in_throttle import Try
from returns_service.commands.staff_users import BADGE_DIGITS, PIN_DIGITS
from returns_service.domain.problems import Problem
from returns_service.domain.roles import RECEIVE, allows, scopes_of
from returns_service.domain.vocabulary import Way
from returns_service.store.database import Tx
from returns_service.store.tables import Device, StaffUser
from returns_service.web.authentication import address_of
from returns_service.web.pages.handler import redirect, safe_path
from returns_service.web.pages.navigation import landing_of
from returns_service.web.pages.page import Page, PageCall, posts, shows
from returns_service.web.pages.rendering import render
from returns_service.web.pages.visitor import (
    PROVIDER_ENDED,
    device_cookie,
    hint_cookie,
    no_session_cookie,
    session_cookie,
    session_token,
)

T = TypeVar("T")
DOESNT_MATCH: Final = "E-mail and password don’t match."
NO_SUCH_CODE: Final = "Nobody has this badge or PIN."


@shows("/sign-in", scope=None)
async def show_sign_in(call: PageCall) -> Response[Any]:
    """Ask for e-mail and password; somebody who is in goes to their own work."""
    signed_in = call.visitor.signed_in
    if signed_in is not None and not signed_in.session.receiving_only:
        return redirect(path_after(call, signed_in.user, call.query("next")))
    return _form(call)


def _form(call: PageCall, *, status: int = 200, error: str | None = None, email: str = "") -> Response[Any]:
    next_path = call.field("next") or call.query("next")
    return render(
        call, "sign_in.html", status=status, error=error, email=email, next=safe_path(next_path, ""),
        ended=call.visitor.session_ended, undone=bool(call.query("undone")), provider=call.context.provider,
        passwords=call.context.settings.password_sign_in,
    )  # fmt: skip


@posts("/sign-in", scope=None)
async def sign_in(call: PageCall) -> Response[Any]:
    """Begin a session for whoever knows the password."""
    if not call.context.settings.password_sign_in:
        return _form(call, status=403)
    email, password = call.field("email"), call.secret_field("password")
    subjects = {"account": email.casefold(), "address": address_of(call.request)}
    database = call.context.database
    attempt = await database.run(lambda tx: sign_in_throttle.take_try(tx, **subjects))
    if attempt.wait_seconds > 0:
        return slow_down(attempt, _form(call, status=429, error=describe_wait(attempt), email=email))
    async with database.reading() as tx:
        user = await staff_users.user_by_email(tx, email)
    password_hash = user.password_hash if user is not None and user.disabled_at is None else None
    if not await _in_thread(call, lambda: matches(password, password_hash)) or user is None:
        return _form(call, status=422, error=_tries_words(DOESNT_MATCH, attempt), email=email)

    async def begin(tx: Tx) -> str | None:
        row = await tx.get(StaffUser, user.id)
        if row is None or row.disabled_at is not None or row.password_hash != password_hash:
            return None
        await sign_in_throttle.give_back(tx, **subjects)
        return await begin_here(call, tx, row, "password")

    token = await database.run(begin)
    if token is None:
        return _form(call, status=422, error=DOESNT_MATCH, email=email)
    return lead_in(call, user, token, call.field("next"))


@shows("/sign-in/link/{link:str}", scope=None)
async def show_link(call: PageCall) -> Response[Any]:
    """Ask for one click: programs that look at links in mails must not use them up. The demo's sign in at once."""
    token = call.path("link")
    async with call.context.database.reading() as tx:
        present = await staff_users.link_in_force(tx, token, reusable=call.context.reusable_links)
    if present is None:
        return render(call, "link_over.html", status=410)
    link, user = present
    if link.reusable:
        return await _use_link(call, token)
    return render(call, "link.html", name=user.name or user.email, role=user.role, link=token)


@posts("/sign-in/link/{link:str}", scope=None)
async def sign_in_by_link(call: PageCall) -> Response[Any]:
    """Begin a session by a link, and use it up."""
    return await _use_link(call, call.path("link"))


async def _use_link(call: PageCall, link: str) -> Response[Any]:
    async def begin(tx: Tx) -> tuple[StaffUser, str] | None:
        user = await staff_users.use_link(tx, link, reusable=call.context.reusable_links)
        return (user, await begin_here(call, tx, user, "link")) if user is not None else None

    begun = await call.context.database.run(begin)
    if begun is None:
        return render(call, "link_over.html", status=410)
    user, token = begun
    return lead_in(call, user, token, "")


@shows("/sign-in/device", scope=None)
async def show_device(call: PageCall) -> Response[Any]:
    """Ask who is working, on an approved device; on another one, what it is called."""
    return _device_form(call, call.visitor.device)


def _device_form(
    call: PageCall, device: Device | None, *, status: int = 200, error: str | None = None
) -> Response[Any]:
    ready = device is not None and device.approved_at is not None
    return render(call, "device.html" if ready else "device_waits.html", status=status, error=error)


@posts("/sign-in/device/ask", scope=None)
async def ask_for_approval(call: PageCall) -> Response[Any]:
    """Let a device wait for an admin to approve it."""
    if call.visitor.device is not None:
        return redirect("/sign-in/device")
    database, name = call.context.database, call.field("name")
    attempt = await database.run(lambda tx: sign_in_throttle.take_try(tx, address=address_of(call.request)))
    if attempt.wait_seconds > 0:
        return slow_down(attempt, _device_form(call, None, status=429, error=describe_wait(attempt)))
    try:
        _, token = await database.run(lambda tx: ask_for_device(tx, name))
    except Problem as problem:
        return _device_form(call, None, status=problem.kind.status, error=problem.detail)
    response = redirect("/sign-in/device")
    response.set_cookie(device_cookie(call.request, token))
    return response


@posts("/sign-in/device", scope=None)
async def sign_in_by_code(call: PageCall) -> Response[Any]:
    """Begin a session for whoever has this badge or PIN: on an approved device, for receiving."""
    device, code = call.visitor.device, call.field("code")
    if device is None or device.approved_at is None:
        return _device_form(call, device, status=403)
    subjects, database = {"device": device.id, "address": address_of(call.request)}, call.context.database
    attempt = await database.run(lambda tx: sign_in_throttle.take_try(tx, **subjects))
    if attempt.wait_seconds > 0:
        return slow_down(attempt, _device_form(call, device, status=429, error=describe_wait(attempt)))
    way: Way = "badge" if len(code) == BADGE_DIGITS else "pin"
    is_pin = len(code) == PIN_DIGITS and code.isdecimal()
    pin_hash = await _in_thread(call, lambda: hash_pin(code)) if is_pin else None

    async def begin(tx: Tx) -> tuple[StaffUser, str] | Device:
        here = await tx.get_one(Device, device.id)
        by_badge = await staff_users.user_by_code(tx, badge=code) if way == "badge" else None
        user = by_badge or (await staff_users.user_by_code(tx, pin_hash=pin_hash) if pin_hash else None)
        if user is not None and not allows(scopes_of(user.role, receiving_only=True), RECEIVE):
            user = None  # the role has changed since
        count_code(tx, here, right=user is not None)
        if user is None or here.approved_at is None:
            return here
        await sign_in_throttle.give_back(tx, **subjects)
        return user, await begin_here(call, tx, user, way, here)

    begun = await database.run(begin)
    if isinstance(begun, Device):
        return _device_form(call, begun, status=422, error=_tries_words(NO_SUCH_CODE, attempt))
    user, token = begun
    return lead_in(call, user, token, "/receive")


@posts("/sign-out")
async def sign_out(call: PageCall) -> Response[Any]:
    """End this session; on a shared device ask who works next."""
    session, user = call.signed_in
    await call.context.database.run(lambda tx: end_session(tx, user.id, session.id))
    at_provider = session.way == "provider" and call.context.provider is not None
    otherwise = PROVIDER_ENDED if at_provider else "/sign-in"
    response = redirect("/sign-in/device" if session.device_id is not None else otherwise)
    response.set_cookie(no_session_cookie(call.request))
    return response


async def begin_here(call: PageCall, tx: Tx, user: StaffUser, way: Way, device: Device | None = None) -> str:
    """Return the token of a new session in this browser; the one that was here ends."""
    return await begin_session(
        tx, user, way, replaces=session_token(call.request), device=device,
        user_agent=call.request.headers.get("user-agent"), address=address_of(call.request),
    )  # fmt: skip


def lead_in(call: PageCall, user: StaffUser, token: str, next_path: str, id_token: str = "") -> Response[Any]:
    """Return the answer that hands the browser its session and leads on: to an address of ours, else to their work.

    `id_token`: the provider's, for the way out; somebody else's, from before, goes.
    """
    response = redirect(path_after(call, user, next_path))
    response.set_cookie(session_cookie(call.request, token))
    if call.context.provider is not None:
        response.set_cookie(hint_cookie(call.request, id_token))
    return response


def path_after(call: PageCall, user: StaffUser, next_path: str) -> str:
    """Return where somebody goes once they are in."""
    return safe_path(next_path, landing_of(user.role, call.paths))


def slow_down(attempt: Try, response: Response[Any]) -> Response[Any]:
    """Return an answer that says how long to wait."""
    response.headers["Retry-After"] = str(math.ceil(attempt.wait_seconds))
    return response


def describe_wait(attempt: Try) -> str:
    """Return how long somebody has to wait, and the way round."""
    wait = timedelta(seconds=math.ceil(attempt.wait_seconds))
    minutes = math.ceil(wait.total_seconds() / 60)
    span = f"{math.ceil(wait.total_seconds())} seconds" if wait < timedelta(minutes=2) else f"{minutes} minutes"
    return f"Too many tries. Wait {span}, or ask an admin for a sign-in link."


def _tries_words(message: str, attempt: Try) -> str:
    left = "1 try" if attempt.left == 1 else f"{attempt.left} tries"
    return f"{message} {left} left." if attempt.left else f"{message} After this one you have to wait."


async def _in_thread(call: PageCall, work: Callable[[], T]) -> T:
    async with call.context.password_slots:
        return await asyncio.to_thread(work)


PAGES: Final[tuple[Page, ...]] = (
    show_sign_in, sign_in, show_link, sign_in_by_link, show_device, ask_for_approval, sign_in_by_code, sign_out,
)  # fmt: skip
