"""The visitor of a page: the session and the device that a browser's cookies name, and the token its forms carry.

The cookies are `HttpOnly` and `SameSite=Lax`; behind TLS they are `Secure` and bound to this host by their `__Host-`
prefix. https://developer.mozilla.org/docs/Web/HTTP/Guides/Cookies#cookie_prefixes
"""

from __future__ import annotations

import hashlib
import hmac
import re
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from litestar import Request
from litestar.datastructures import Cookie

from returns_service.commands.devices import device_of
from returns_service.commands.sessions import SESSION_LIVES, SignedIn, session_in_force
from returns_service.commands.tokens import new_token
from returns_service.domain.problems import Problem
from returns_service.domain.provider_attempt import ATTEMPT_LIVES, ProviderAttempt, read_attempt
from returns_service.domain.roles import allows, scopes_of
from returns_service.domain.vocabulary import Scope
from returns_service.store.database import Tx
from returns_service.store.tables import Device
from returns_service.web.context import context_of
from returns_service.web.errors import ACTOR

AnyRequest = Request[Any, Any, Any]
SESSION: Final = "returns_session"
VISITOR: Final = "returns_visitor"  # binds the sign-in's own form to one browser
DEVICE: Final = "returns_device"
PROVIDER: Final = "returns_provider"  # a sign-in under way there
HINT: Final = "returns_hint"  # the provider's ID token, kept for the page that offers to end its session
PROVIDER_ENDED: Final = "/sign-in/provider/ended"
LONGEST_HINT: Final = 3800  # characters: browsers keep cookies of up to 4096 bytes; a longer token is left out
CSRF_FIELD: Final = "token"
_TOKEN: Final = re.compile(r"[A-Za-z0-9_.-]+")
_YEAR_SECONDS: Final = 365 * 86_400
_DAY_SECONDS: Final = 86_400


@dataclass(frozen=True)
class Visitor:
    """A browser: with or without a session in force, on an approved device or not."""

    token: str  # the session's, or that of a browser nobody has signed in with
    signed_in: SignedIn | None
    device: Device | None
    session_ended: bool  # it brought a session that is over
    is_new: bool  # the cookie with the token has still to be set

    @property
    def scopes(self) -> frozenset[Scope]:
        """What the person may do, as their role says now; nothing for a stranger."""
        if self.signed_in is None:
            return frozenset()
        return scopes_of(self.signed_in.user.role, receiving_only=self.signed_in.session.receiving_only)

    def may(self, scope: Scope) -> bool:
        """Return whether the person may do that."""
        return allows(self.scopes, scope)

    @property
    def form_token(self) -> str:
        """What each form of this browser carries: another site can't know it."""
        return hmac.new(self.token.encode(), b"form", hashlib.sha256).hexdigest()


async def visitor_of(request: AnyRequest, tx: Tx) -> Visitor:
    """Return who looks: what the cookies name, as far as it is in force."""
    session, visitor, device = (_cookie(request, name) for name in (SESSION, VISITOR, DEVICE))
    signed_in = await session_in_force(tx, session) if session else None
    known_device = await device_of(tx, device) if device else None
    token = session if signed_in else visitor
    request.scope["state"][ACTOR] = signed_in.user.id if signed_in else None
    return Visitor(token or new_token(), signed_in, known_device, bool(session) and signed_in is None, not token)


def check_form(request: AnyRequest, visitor: Visitor, form_token: str) -> None:
    """Let only this browser's own forms through. Raises Problem form_out_of_date.

    The browser itself says where a request comes from, where it is new enough; the token proves it everywhere.
    https://developer.mozilla.org/docs/Web/HTTP/Reference/Headers/Sec-Fetch-Site
    """
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        foreign = site not in ("same-origin", "none")
    else:
        foreign = origin is not None and not comes_from_us(request)
    if foreign or not hmac.compare_digest(form_token.encode(), visitor.form_token.encode()):
        raise Problem("form_out_of_date")


def comes_from_us(request: AnyRequest) -> bool:
    """Return whether the browser itself says that a form is of this site. It proves no session: show, don't do."""
    site, origin = request.headers.get("sec-fetch-site"), request.headers.get("origin")
    if site is not None:
        return site == "same-origin"
    return origin is not None and urlsplit(origin).netloc in _own_hosts(request)


def _own_hosts(request: AnyRequest) -> set[str]:
    public = context_of(request).settings.public_url
    return {request.headers.get("host", ""), urlsplit(public).netloc if public else ""} - {""}


def session_cookie(request: AnyRequest, token: str) -> Cookie:
    """Return the cookie of a session that begins."""
    return _make_cookie(request, SESSION, token, int(SESSION_LIVES.total_seconds()))


def device_cookie(request: AnyRequest, token: str) -> Cookie:
    """Return the cookie of a device that asks for its approval."""
    return _make_cookie(request, DEVICE, token, _YEAR_SECONDS)


def visitor_cookie(request: AnyRequest, visitor: Visitor) -> Cookie:
    """Return the cookie that binds the sign-in's form to this browser."""
    return _make_cookie(request, VISITOR, visitor.token, _DAY_SECONDS)


def no_session_cookie(request: AnyRequest) -> Cookie:
    """Return the cookie that takes a session's away."""
    return _make_cookie(request, SESSION, "", 0)


def provider_cookie(request: AnyRequest, attempt: ProviderAttempt) -> Cookie:
    """Return the cookie that binds a sign-in at the provider to this browser."""
    return _make_cookie(request, PROVIDER, attempt.to_cookie(), int(ATTEMPT_LIVES.total_seconds()))


def no_provider_cookie(request: AnyRequest) -> Cookie:
    """Return the cookie that takes away that of a sign-in at the provider."""
    return _make_cookie(request, PROVIDER, "", 0)


def hint_cookie(request: AnyRequest, id_token: str) -> Cookie:
    """Return the cookie that keeps the provider's ID token for one page of ours; empty, or too long, it takes it away.

    The browser holds it, since no other page needs it and a session's row is read for each.
    """
    kept = id_token if len(id_token) <= LONGEST_HINT else ""
    return Cookie(
        _hint_name(request), value=kept, path=PROVIDER_ENDED, secure=is_secure(request), httponly=True, samesite="lax",
        max_age=int(SESSION_LIVES.total_seconds()) if kept else 0,
    )  # fmt: skip


def hint_of(request: AnyRequest) -> str:
    """Return the provider's ID token that this browser kept; empty where it kept none."""
    kept = request.cookies.get(_hint_name(request), "")
    return kept if len(kept) <= LONGEST_HINT and _TOKEN.fullmatch(kept) else ""


def _hint_name(request: AnyRequest) -> str:
    return f"__Secure-{HINT}" if is_secure(request) else HINT  # `__Host-` is for cookies of all pages


def attempt_of(request: AnyRequest) -> ProviderAttempt | None:
    """Return the sign-in at the provider that this browser began last; None where it began none."""
    return read_attempt(_cookie(request, PROVIDER))


def session_token(request: AnyRequest) -> str | None:
    """Return the token of the session that a request brings, in force or not."""
    return _cookie(request, SESSION)


def is_secure(request: AnyRequest) -> bool:
    """Return whether the browser speaks TLS, with us or with the proxy in front."""
    public = context_of(request).settings.public_url or ""
    return request.url.scheme == "https" or public.startswith("https://")


def _cookie(request: AnyRequest, name: str) -> str | None:
    return request.cookies.get(_name(request, name)) or None


def _name(request: AnyRequest, name: str) -> str:
    return f"__Host-{name}" if is_secure(request) else name


def _make_cookie(request: AnyRequest, name: str, value: str, max_age: int) -> Cookie:
    return Cookie(
        _name(request, name), value=value, path="/", max_age=max_age, secure=is_secure(request), httponly=True,
        samesite="lax",
    )  # fmt: skip
