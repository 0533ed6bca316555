"""The API as a function of the ledger: one HTTP request in, one HTTP answer out."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from email.utils import formatdate
from typing import Literal

from . import refunds, routes
from .api_keys import authenticate, check_permission
from .collection import Json
from .expand import expand, find_kinds, parse_paths
from .form import Form, Params, decode_form
from .idempotency import MAX_KEY_LENGTH, StoredResponse
from .ledger import Cause, Ledger
from .refusals import (
    Refusal,
    key_in_use_error,
    key_reuse_error,
    lock_timeout_error,
    param_error,
    rate_limit_error,
    server_error,
)
from .routes import Perform, Route
from .versions import check_version, render_object

Breakage = Literal["before", "after"]


@dataclass(frozen=True, slots=True)
class Request:
    """An HTTP request. The names of its headers are in lower case."""

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
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Json:
        """Decode the body."""
        row: Json = json.loads(self.body)
        return row


@dataclass(frozen=True, slots=True)
class _ApiCall:
    """A request with its route, the id in its path and its parameters."""

    request_id: str
    request: Request
    api_version: str
    route: Route
    target: str
    form: Form

    @property
    def cause(self) -> Cause:
        """What the events of this call say about it."""
        return Cause(self.request_id, self.request.key or None, self.api_version)


def answer(ledger: Ledger, request: Request, broken_at: Breakage | None = None) -> Response:
    """Execute `request` and return Stripe's answer.

    `broken_at`: execution begins and ends in a 500, which the idempotency key stores. `before`: the request had no
    effect (`repair` may execute it later). `after`: it had all of its effect.
    """
    request_id = ledger.new_id("req_")
    version = request.headers.get("stripe-version", ledger.settings.api_version)
    headers = {**_build_headers(ledger, request_id), "Stripe-Version": version}
    if request.key:
        headers["Idempotency-Key"] = request.key
    try:
        call = _receive(ledger, request, request_id, version)
        response = _find_stored(ledger, call)
        if response is not None:
            headers |= {"Idempotent-Replayed": "true", "Original-Request": response.request_id}
            return Response(response.status, headers, response.body)
        status, body, more = _execute(ledger, call, broken_at)
        return Response(status, headers | more, body)
    except Refusal as refusal:
        return Response(refusal.status, {**headers, **refusal.headers}, _encode(refusal.body(request_id)))


def repair(ledger: Ledger, key: str) -> Json:
    """Execute, late, a request that got a stored 500 `before` it had any effect.

    `key` is its idempotency key, or its request id if it had none. The key goes on answering 500: only webhooks and
    a new read show the effect. Raises LookupError if there is no such request; Refusal if it is forbidden by now.
    """
    call = ledger.unfinished.pop(key, None)
    if call is None:
        raise LookupError(f"no request with the key {key!r} waits for a repair")
    with ledger.caused_by(call.cause):
        return _prepare(ledger, call)[0]()


def find_lock(ledger: Ledger, request: Request) -> str | None:
    """Return the id of the charge that a request to refund would write to; None for any other request."""
    if (request.method, request.path) != ("POST", "/v1/refunds"):
        return None
    try:
        form = decode_form(request.query, _decode_body(request.body))
        charge, intent = form.get("charge"), form.get("payment_intent")
        names = (charge if isinstance(charge, str) else None, intent if isinstance(intent, str) else None)
        return str(refunds.find_charge_to_refund(ledger, *names)["id"]) if any(names) else None
    except Refusal:
        return None


def enter(ledger: Ledger, request: Request) -> Response | None:
    """Mark `request` as in flight. Return a refusal if another request holds its key, or its charge's lock.

    A server calls `enter`, waits out the latency, then calls `leave` and `answer`.
    """
    keys, lock = ledger.keys, find_lock(ledger, request)
    refusal = None
    if request.key and request.key in keys.in_flight:
        refusal = key_in_use_error(request.key)
    elif ledger.settings.lock_timeouts and lock is not None and lock in keys.locked:
        refusal = lock_timeout_error()
    if refusal is not None:
        return render_refusal(ledger, refusal)
    if request.key:
        keys.in_flight.add(request.key)
    if lock is not None:
        keys.locked.add(lock)
    return None


def leave(ledger: Ledger, request: Request) -> None:
    """Remove the marks of `enter`."""
    ledger.keys.in_flight.discard(request.key)
    ledger.keys.locked.discard(find_lock(ledger, request) or "")


def render_refusal(ledger: Ledger, refusal: Refusal) -> Response:
    """Return `refusal` as an answer with a request id of its own."""
    request_id = ledger.new_id("req_")
    headers = {**_build_headers(ledger, request_id), **refusal.headers}
    return Response(refusal.status, headers, _encode(refusal.body(request_id)))


def format_date(ledger: Ledger) -> str:
    """Return the `Date` header: the simulator's clock, ahead by `clock_skew_seconds` (RFC 9110)."""
    return formatdate(ledger.now() + ledger.settings.clock_skew_seconds, usegmt=True)


def _build_headers(ledger: Ledger, request_id: str) -> dict[str, str]:
    return {"Content-Type": "application/json", "Date": format_date(ledger), "Request-Id": request_id}


def _receive(ledger: Ledger, request: Request, request_id: str, version: str) -> _ApiCall:
    secret, key = authenticate(request.headers, ledger.api_keys, ledger.account_id)
    check_version(version)
    match = routes.find(request.method, request.path)
    if match is None:
        words = f"Unrecognized request URL ({request.method}: {request.path}). If you are trying to list objects, "
        words += "remove the trailing slash. If you are trying to retrieve an object, make sure you passed a valid "
        raise Refusal(404, words + "(non-empty) identifier in your code.", stored=False)
    route, target = match
    check_permission(secret, key, ledger.account_id, route.method, route.kind)
    _count_call(ledger, f"{route.method} {route.template}")
    body = "" if request.method == "GET" else _decode_body(request.body)
    form = decode_form(request.query, body)
    paths = parse_paths(route.kind, route.is_list, Params({"expand": form.get("expand", {})}, ()).get_texts("expand"))
    for kind in sorted(find_kinds(route.kind, paths)):
        check_permission(secret, key, ledger.account_id, "GET", kind)
    return _ApiCall(request_id, request, version, route, target, form)


def _decode_body(body: bytes) -> str:
    try:
        return body.decode()
    except UnicodeDecodeError:
        raise param_error("Invalid request: the body is not valid UTF-8.") from None


def _count_call(ledger: Ledger, endpoint: str) -> None:
    """Refuse a call beyond the endpoint's limit a second. Refused calls don't count."""
    limit = ledger.settings.rate_limit
    if limit is None:
        return
    now, times = ledger.now(), ledger.calls_of.setdefault(endpoint, deque())
    while times and not now - 1 < times[0] <= now:
        times.popleft()
    if len(times) >= limit:
        raise rate_limit_error("endpoint-rate")
    times.append(now)


def _find_stored(ledger: Ledger, call: _ApiCall) -> StoredResponse | None:
    """Return the answer stored under the request's key. Refuses a key too long, in use, or of another request."""
    key = call.request.key
    if not key:
        return None
    if len(key) > MAX_KEY_LENGTH:
        raise param_error(f"Invalid idempotency key: it may have up to {MAX_KEY_LENGTH} characters.")
    if key in ledger.keys.in_flight:
        raise key_in_use_error(key)
    response = ledger.keys.find(key, ledger.now(), ledger.settings.key_life_seconds)
    if response is not None and (response.path != call.request.path or response.form != call.form):
        raise key_reuse_error(key, response.path, call.request.path)
    return response


def _execute(ledger: Ledger, call: _ApiCall, broken_at: Breakage | None) -> tuple[int, bytes, dict[str, str]]:
    """Execute the call and store its answer under its key. Return status, body and further headers."""
    perform, paths = _prepare(ledger, call)
    headers: dict[str, str] = {}
    key = call.request.key
    try:
        if broken_at == "before":
            if call.request.method == "POST":
                ledger.unfinished[key or call.request_id] = call
            raise server_error()
        with ledger.caused_by(call.cause):
            row = perform()
        if broken_at == "after":
            raise server_error()
        row = render_object(ledger, expand(ledger, row, paths) if paths else row, call.api_version)
        status, body = 200, _encode(row)
    except Refusal as refusal:
        if not refusal.stored:
            raise
        status, body, headers = refusal.status, _encode(refusal.body(call.request_id)), dict(refusal.headers)
    if key:
        now = ledger.now()
        ledger.keys.store(key, StoredResponse(call.request.path, call.form, call.request_id, status, body, now))
    return status, body, headers


def _prepare(ledger: Ledger, call: _ApiCall) -> tuple[Perform, list[list[str]]]:
    """Check the parameters. Return the function that performs the call, and the paths to expand in its answer."""
    params = Params(call.form, call.route.allowed)
    paths = parse_paths(call.route.kind, call.route.is_list, params.get_texts("expand"))
    return call.route.handler(ledger, params, call.target), paths


def _encode(row: Json) -> bytes:
    return json.dumps(row, ensure_ascii=False, separators=(",", ":")).encode()
