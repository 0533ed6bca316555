"""Sign in by the OpenID Connect provider: the way there, the way back, and a page for each way it can go wrong."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final, Literal, NamedTuple

import structlog
from litestar import Response

from returns_service.commands import sign_in_throttle
from returns_service.commands.provider_sign_in import Refusal, admit
from returns_service.commands.sign_in_throttle import Try
from returns_service.commands.tokens import new_token
from returns_service.domain.identity import Identity
from returns_service.domain.problems import Problem
from returns_service.domain.provider_attempt import ProviderAttempt
from returns_service.identity_provider import CALLBACK_PATH, Fault, IdentityProvider, ProviderError
from returns_service.store.database import Tx
from returns_service.store.tables import StaffUser
from returns_service.web.authentication import address_of
from returns_service.web.pages.handler import redirect, safe_path
from returns_service.web.pages.page import Page, PageCall, shows
from returns_service.web.pages.rendering import render
from returns_service.web.pages.sign_in import begin_here, describe_wait, lead_in, path_after, slow_down
from returns_service.web.pages.visitor import (
    PROVIDER_ENDED,
    attempt_of,
    hint_cookie,
    hint_of,
    no_provider_cookie,
    provider_cookie,
)

AWAY_SECONDS: Final = 10  # before one looks again
LONGEST_NEXT: Final = 1000  # characters of an address that a cookie carries along
LONGEST_CODE: Final = 4000  # characters; codes of some providers are long
_ERROR: Final = re.compile(r"[a-z_]{1,50}")
log = structlog.get_logger("returns.sign_in")
Outcome = Literal[Fault, Refusal, "lost", "declined", "too_many"]


NOTHING_CHANGED: Final = "Nobody was signed in. Nothing was changed"


class Words(NamedTuple):
    """What a page says of a sign-in that didn't happen: status, head, what to do, what it left."""

    status: int
    title: str
    text: str
    again: bool = True
    safe: str = NOTHING_CHANGED


WORDS: Final[Mapping[Outcome, Words]] = {
    "lost": Words(
        400, "This sign-in was begun elsewhere, or too long ago",
        "That happens with the back button, in a second tab, after ten minutes, or where this service was opened under "
        "another address. Begin once more from here.",
    ),
    "declined": Words(
        403, "The sign-in was not finished",
        "The provider sent you back without signing you in: you stopped there, or it doesn’t let you into this "
        "service. Try again, or ask whoever looks after your company account.",
    ),
    "away": Words(
        503, "The sign-in provider doesn’t answer",
        "Wait a moment, then try again: that is safe. If it stays away, an admin makes a link that signs you in once.",
    ),
    "code_refused": Words(
        400, "This sign-in was used already",
        "The provider takes each answer once, and for a short while. Begin once more.",
    ),
    "token_wrong": Words(
        403, "The provider’s answer can’t be trusted",
        "It was not signed as it should be, or was made for another sign-in. Begin once more; if it happens again, "
        "tell an admin, with the number below.",
    ),
    "misconfigured": Words(
        503, "Sign-in with the provider is not set up right",
        "Trying again won’t help. Tell an admin: returns-service doctor says what is wrong. Meanwhile an admin makes "
        "a link that signs you in once.", again=False,
    ),
    "unknown": Words(
        403, "You have no account here yet",
        "The provider knows you, this service doesn’t. Ask an admin to add you under the same e-mail address.",
        again=False,
    ),
    "disabled": Words(
        403, "Your account here is disabled",
        "An admin has disabled it. Ask an admin to enable it if that is a mistake.", again=False,
    ),
    "no_role": Words(
        403, "None of your groups works here",
        "The group that gave you your role doesn’t name you any more. Ask whoever looks after your company account.",
        again=False, safe="You are signed out everywhere. No money moved",
    ),
    "email_missing": Words(
        403, "The provider doesn’t say your e-mail address",
        "Without it nobody knows who you are here. Ask whoever looks after your company account, or an admin.",
        again=False,
    ),
    "email_not_verified": Words(
        403, "Your e-mail address is not verified",
        "The provider doesn’t say that the address is yours. Verify it there and try again, or ask an admin to name "
        "you by hand.",
    ),
    "email_taken": Words(
        403, "Your e-mail address belongs to another account here",
        "Somebody else signed in with it before. Ask an admin: only a person can tell whether you are the same.",
        again=False,
    ),
    "too_many": Words(429, "Too many tries", ""),
}  # fmt: skip


def _provider(call: PageCall) -> IdentityProvider:
    """Return the provider. Raises Problem not_found where none is set."""
    if call.context.provider is None:
        raise Problem("not_found")
    return call.context.provider


@shows("/sign-in/provider", scope=None)
async def go_to_provider(call: PageCall) -> Response[Any]:
    """Lead the browser to the provider, with a cookie that knows it again."""
    provider, next_path = _provider(call), safe_path(call.query("next"), "")
    signed_in = call.visitor.signed_in
    if signed_in is not None and not signed_in.session.receiving_only:
        return redirect(path_after(call, signed_in.user, next_path))
    begun_at = int(call.context.database.now().timestamp())
    attempt = ProviderAttempt(new_token(), begun_at, next_path if len(next_path) <= LONGEST_NEXT else "")
    try:
        address = await provider.authorization_url(state=attempt.state, nonce=attempt.nonce, verifier=attempt.verifier)
    except ProviderError as error:
        log.warning("sign_in.provider", fault=error.fault, why=str(error))
        return _explain(call, error.fault, next_path)
    response = redirect(address)
    response.set_cookie(provider_cookie(call.request, attempt))
    return response


@shows(CALLBACK_PATH, scope=None)
async def come_back(call: PageCall) -> Response[Any]:
    """Begin a session for whoever the provider sends back, once, in the browser that was sent there."""
    provider, attempt = _provider(call), attempt_of(call.request)
    now = call.context.database.now()
    if attempt is None or not attempt.is_answered_by(call.query("state"), now):
        signed_in = call.visitor.signed_in
        if signed_in is not None and not signed_in.session.receiving_only:  # the other tab was quicker
            return redirect(path_after(call, signed_in.user, ""))
        return _explain(call, "lost", "")
    response = await _answer(call, provider, attempt)
    response.set_cookie(no_provider_cookie(call.request))
    return response


async def _answer(call: PageCall, provider: IdentityProvider, attempt: ProviderAttempt) -> Response[Any]:
    database, next_path = call.context.database, safe_path(attempt.next_path, "")
    code = call.request.query_params.get("code", "")
    if not code or len(code) > LONGEST_CODE or not code.isprintable():
        told = call.query("error")
        error = told if _ERROR.fullmatch(told) else "no code"
        log.warning("sign_in.provider", fault="declined", why=error)
        return _explain(call, "declined", next_path, detail=error)
    subjects = {"address": address_of(call.request)}
    tried = await database.run(lambda tx: sign_in_throttle.take_try(tx, **subjects))
    if tried.wait_seconds > 0:
        return _explain(call, "too_many", next_path, tried=tried)
    try:
        who = await provider.identify(
            code, nonce=attempt.nonce, verifier=attempt.verifier, issuer=call.query("iss") or None
        )
    except ProviderError as error:
        log.warning("sign_in.provider", fault=error.fault, why=str(error))
        if error.fault == "away":  # nobody guessed
            await database.run(lambda tx: sign_in_throttle.give_back(tx, **subjects))
        return _explain(call, error.fault, next_path)

    async def begin(tx: Tx) -> tuple[StaffUser, str] | Refusal:
        user = await admit(tx, who, provider.roles)
        if isinstance(user, str):
            return user
        await sign_in_throttle.give_back(tx, **subjects)
        return user, await begin_here(call, tx, user, "provider")

    begun = await database.run(begin)
    if isinstance(begun, str):
        # An admin names somebody by hand by this subject: returns-service users change EMAIL --subject SUBJECT
        log.warning("sign_in.refused", reason=begun, issuer=who.issuer, subject=who.subject)
        return _explain(call, begun, next_path, who=who)
    user, token = begun
    return lead_in(call, user, token, next_path, who.id_token)


def _explain(
    call: PageCall, outcome: Outcome, next_path: str, *, detail: str = "", who: Identity | None = None,
    tried: Try | None = None,
) -> Response[Any]:  # fmt: skip
    words = WORDS[outcome]
    text = describe_wait(tried) if tried is not None else words.text
    response = render(
        call, "sign_in_provider.html", status=words.status, title=words.title, text=text, again=words.again,
        safe=words.safe, next=next_path, detail=detail, who=who, passwords=call.context.settings.password_sign_in,
    )  # fmt: skip
    if words.status == 503:
        response.headers["Retry-After"] = str(AWAY_SECONDS)
    return slow_down(tried, response) if tried is not None else response


@shows(PROVIDER_ENDED, scope=None)
async def show_ended(call: PageCall) -> Response[Any]:
    """Say that the session here is over, and offer to end the provider's own."""
    elsewhere = await _provider(call).end_session_url(hint_of(call.request))
    response = render(call, "sign_in_ended.html", elsewhere=elsewhere)
    response.set_cookie(hint_cookie(call.request, ""))
    return response


PAGES: Final[tuple[Page, ...]] = (go_to_provider, come_back, show_ended)
