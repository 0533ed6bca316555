"""One HTTP request in, one HTTP answer out: the whole API as a function of the ledger."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from . import refunds, routes
from .expand import checked, expanded
from .form import Form, Params, decoded
from .idempotency import MAX_KEY_LENGTH, Kept
from .ledger import Cause, Ledger
from .objects import API_VERSION
from .refusals import (
    Refusal,
    broken,
    invalid,
    key_in_use,
    key_used_otherwise,
    lock_timeout,
    rate_limited,
    unauthorized,
)
from .routes import Perform, Route
from .shelf import Json

Breakage = Literal["before", "after"]

_SECRET_KEY = re.compile(r"(?:sk|rk)_test_\w{3,}")


@dataclass(frozen=True, slots=True)
class Request:
    """What came over the wire; names of headers in lower case."""

    method: str
    path: str
    query: str = ""
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    body: bytes = b""

    @property
    def key(self) -> str:
        """Its idempotency key; '' if it has none, or is no POST."""
        return self.headers.get("idempotency-key", "") if self.method == "POST" else ""


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Json:
        """Return the body, decoded."""
        found: Json = json.loads(self.body)
        return found


@dataclass(frozen=True, slots=True)
class _Call:
    """A request, its place and its parameters."""

    request_id: str
    request: Request
    route: Route
    target: str
    form: Form


def answer(ledger: Ledger, request: Request, broken_at: Breakage | None = None) -> Response:
    """Do what `request` asks and return Stripe's answer.

    `broken_at`: execution begins and ends in a 500, which the key keeps; `before`: nothing was done (a repair may
    do it later, see `repair`), `after`: it was all done.
    """
    request_id = ledger.new_id("req_")
    headers = {
        "Content-Type": "application/json",
        "Request-Id": request_id,
        "Stripe-Version": request.headers.get("stripe-version", API_VERSION),
    }
    if request.key:
        headers["Idempotency-Key"] = request.key
    try:
        call = _received(ledger, request, request_id)
        kept = _kept(ledger, call)
        if kept is not None:
            headers |= {"Idempotent-Replayed": "true", "Original-Request": kept.request_id}
            return Response(kept.status, headers, kept.body)
        status, body, more = _executed(ledger, call, broken_at)
        return Response(status, headers | more, body)
    except Refusal as refusal:
        return Response(refusal.status, {**headers, **refusal.headers}, _bytes(refusal.body(request_id)))


def repair(ledger: Ledger, key: str) -> Json:
    """Do, at last, what was asked by a request that was answered with a stored 500 `before` anything was done.

    `key`: its idempotency key, or its request id if it had none. The key goes on answering 500: only webhooks and
    a fresh look tell. Raises LookupError if there is no such request; Refusal if it can't be done any more.
    """
    call = ledger.unfinished.pop(key, None)
    if call is None:
        raise LookupError(f"no request with the key {key!r} waits for a repair")
    with ledger.caused_by(Cause(call.request_id, call.request.key or None)):
        return _prepared(ledger, call)[0]()


def lock_of(ledger: Ledger, request: Request) -> str | None:
    """Return the charge that a request to refund would write to, or None."""
    if (request.method, request.path) != ("POST", "/v1/refunds"):
        return None
    try:
        form = decoded(request.query, _text(request.body))
        charge, intent = form.get("charge"), form.get("payment_intent")
        names = (charge if isinstance(charge, str) else None, intent if isinstance(intent, str) else None)
        return str(refunds.charge_to_refund(ledger, *names)["id"]) if any(names) else None
    except Refusal:
        return None


def enter(ledger: Ledger, request: Request) -> Response | None:
    """Mark `request` as in flight; returns the refusal if its key, or its charge's lock, is taken.

    Call `leave` before `answer`: the mark is for the time that only a server can let pass.
    """
    keys, lock = ledger.keys, lock_of(ledger, request)
    refusal = None
    if request.key and request.key in keys.in_flight:
        refusal = key_in_use(request.key)
    elif ledger.settings.lock_timeouts and lock is not None and lock in keys.locked:
        refusal = lock_timeout()
    if refusal is not None:
        return response_of(ledger, refusal)
    if request.key:
        keys.in_flight.add(request.key)
    if lock is not None:
        keys.locked.add(lock)
    return None


def leave(ledger: Ledger, request: Request) -> None:
    """Take the marks of `enter` away."""
    ledger.keys.in_flight.discard(request.key)
    ledger.keys.locked.discard(lock_of(ledger, request) or "")


def response_of(ledger: Ledger, refusal: Refusal) -> Response:
    """Return the answer that `refusal` is."""
    request_id = ledger.new_id("req_")
    headers = {"Content-Type": "application/json", "Request-Id": request_id, **refusal.headers}
    return Response(refusal.status, headers, _bytes(refusal.body(request_id)))


def _received(ledger: Ledger, request: Request, request_id: str) -> _Call:
    _authorize(request.headers.get("authorization", ""))
    found = routes.find(request.method, request.path)
    if found is None:
        words = f"Unrecognized request URL ({request.method}: {request.path}). If you are trying to list objects, "
        words += "remove the trailing slash. If you are trying to retrieve an object, make sure you passed a valid "
        raise Refusal(404, words + "(non-empty) identifier in your code.", stored=False)
    route, target = found
    _count(ledger, f"{route.method} {route.template}")
    body = "" if request.method == "GET" else _text(request.body)
    return _Call(request_id, request, route, target, decoded(request.query, body))


def _text(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise invalid("Invalid request: the body is not valid UTF-8.") from None


def _authorize(header: str) -> None:
    scheme, _, credentials = header.partition(" ")
    key = credentials.strip()
    if scheme.lower() == "basic":
        try:
            key = base64.b64decode(key, validate=True).decode().partition(":")[0]
        except (binascii.Error, UnicodeDecodeError):
            key = ""
    elif scheme.lower() != "bearer":
        key = ""
    if not key:
        raise unauthorized(
            "You did not provide an API key. You need to provide your API key in the Authorization header, using "
            "Bearer auth (e.g. 'Authorization: Bearer YOUR_SECRET_KEY')."
        )
    if not _SECRET_KEY.fullmatch(key):
        raise unauthorized(f"Invalid API Key provided: {key[:8]}{'*' * 8}")


def _count(ledger: Ledger, endpoint: str) -> None:
    """Refuse what is more than the endpoint's calls a second; refused calls don't count."""
    limit = ledger.settings.rate_limit
    if limit is None:
        return
    now, times = ledger.now(), ledger.calls_of.setdefault(endpoint, deque())
    while times and not now - 1 < times[0] <= now:
        times.popleft()
    if len(times) >= limit:
        raise rate_limited("endpoint-rate")
    times.append(now)


def _kept(ledger: Ledger, call: _Call) -> Kept | None:
    """Return the answer kept under the request's key; refuses a key that is too long, in use, or used otherwise."""
    key = call.request.key
    if not key:
        return None
    if len(key) > MAX_KEY_LENGTH:
        raise invalid(f"Invalid idempotency key: it may have up to {MAX_KEY_LENGTH} characters.")
    if key in ledger.keys.in_flight:
        raise key_in_use(key)
    kept = ledger.keys.find(key, ledger.now(), ledger.settings.key_life_seconds)
    if kept is not None and (kept.path != call.request.path or kept.form != call.form):
        raise key_used_otherwise(key, kept.path, call.request.path)
    return kept


def _executed(ledger: Ledger, call: _Call, broken_at: Breakage | None) -> tuple[int, bytes, dict[str, str]]:
    perform, paths = _prepared(ledger, call)
    headers: dict[str, str] = {}
    key = call.request.key
    try:
        if broken_at == "before":
            if call.request.method == "POST":
                ledger.unfinished[key or call.request_id] = call
            raise broken()
        with ledger.caused_by(Cause(call.request_id, key or None)):
            row = perform()
        if broken_at == "after":
            raise broken()
        status, body = 200, _bytes(expanded(ledger, row, paths) if paths else row)
    except Refusal as refusal:
        if not refusal.stored:
            raise
        status, body, headers = refusal.status, _bytes(refusal.body(call.request_id)), dict(refusal.headers)
    if key:
        now = ledger.now()
        ledger.keys.keep(key, Kept(call.request.path, call.form, call.request_id, status, body, now))
    return status, body, headers


def _prepared(ledger: Ledger, call: _Call) -> tuple[Perform, list[list[str]]]:
    given = Params(call.form, call.route.allowed)
    paths = checked(call.route.kind, call.route.is_list, given.texts("expand"))
    return call.route.handler(ledger, given, call.target), paths


def _bytes(row: Json) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
