"""A request and the fault that strikes it, played out: what the caller gets, if anything."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import replace

from .api import Request, Response, answer, response_of
from .faults import Fault, Faults
from .ledger import Ledger, Outgoing
from .refusals import Refusal, broken, key_in_use, lock_timeout, not_permitted, rate_limited, unauthorized

_HTML = b"<html><head><title>503 Service Unavailable</title></head><body><h1>503</h1></body></html>\n"


def play(ledger: Ledger, request: Request, fault: Fault | None) -> Response | None:
    """Return the answer to `request` as `fault` leaves it; None: the connection is cut without one.

    The latency of a fault (`seconds`) is the caller's to wait, before.
    """
    name = fault.name if fault is not None else "latency"
    if name == "drop_before":
        return None
    if name == "503_html":
        return _page()
    refusal = _refusal(name, request)
    if refusal is not None:
        return response_of(ledger, refusal)
    if name == "stored_500":
        return answer(ledger, request, "before")
    if name == "stored_500_done":
        return answer(ledger, request, "after")
    response = answer(ledger, request)
    if name == "drop_after":
        return None
    if name == "503_html_done":
        return _page()
    if name == "unreadable_200" and response.status == 200:
        return replace(response, body=response.body[: len(response.body) // 2])
    return response


def _refusal(name: str, request: Request) -> Refusal | None:
    refusals = {
        "500": broken,
        "429_rate_limit": lambda: rate_limited("global-rate"),
        "429_lock_timeout": lock_timeout,
        "409_key_in_use": lambda: key_in_use(request.key),
        "401": lambda: unauthorized("Expired API Key provided."),
        "403": not_permitted,
    }
    make = refusals.get(name)
    return make() if make is not None else None


def _page() -> Response:
    return Response(503, {"Content-Type": "text/html"}, _HTML)


def strike_mail(ledger: Ledger, faults: Faults, outgoing: Outgoing) -> int:
    """Let a fault strike a delivery before its first attempt; return how often to post it now (0: not now)."""
    if outgoing.attempts or outgoing.struck:
        return 1
    outgoing.struck = True
    fault = faults.strike_webhook(outgoing.event)
    if fault is None:
        return 1
    if fault.name == "lose":
        ledger.lose(outgoing)
        return 0
    if fault.name in ("delay", "reorder"):
        outgoing.next_attempt_at = ledger.now() + fault.seconds
        return 0
    if fault.name == "double_event":
        for mail in ledger.tell_again(outgoing.event, only=outgoing.endpoint):
            mail.struck = True  # or a fault that strikes all would tell it without end
        return 1
    return 2


def signature_of(body: bytes, secret: str, at: float) -> str:
    """Return the `Stripe-Signature` header of `body`, signed at `at` (seconds since 1970, UTC)."""
    second = int(at)
    mac = hmac.new(secret.encode(), f"{second}.".encode() + body, hashlib.sha256)
    return f"t={second},v1={mac.hexdigest()}"
