"""Answers a request, or sends a webhook, as a fault leaves it."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Callable
from dataclasses import replace

from . import routes
from .api import Request, Response, answer, format_date, render_refusal
from .api_keys import name_permission
from .faults import Fault, Faults
from .ledger import Ledger, OutgoingWebhook
from .refusals import (
    Refusal,
    authentication_error,
    key_in_use_error,
    lock_timeout_error,
    permission_error,
    rate_limit_error,
    server_error,
)

_HTML = b"<html><head><title>503 Service Unavailable</title></head><body><h1>503</h1></body></html>\n"


def answer_with_fault(ledger: Ledger, request: Request, fault: Fault | None) -> Response | None:
    """Return the answer to `request` as `fault` leaves it. None: the connection is cut without an answer.

    The caller waits out the fault's latency (`seconds`) before.
    """
    name = fault.name if fault is not None else "latency"
    if name == "drop_before":
        return None
    if name == "503_html":
        return _build_html(ledger)
    refusal = _build_refusal(ledger, name, request)
    if refusal is not None:
        return render_refusal(ledger, refusal)
    if name == "stored_500":
        return answer(ledger, request, "before")
    if name == "stored_500_done":
        return answer(ledger, request, "after")
    response = answer(ledger, request)
    if name == "drop_after":
        return None
    if name == "503_html_done":
        return _build_html(ledger)
    if name == "unreadable_200" and response.status == 200:
        return replace(response, body=response.body[: len(response.body) // 2])
    return response


def _build_refusal(ledger: Ledger, name: str, request: Request) -> Refusal | None:
    builders: dict[str, Callable[[], Refusal]] = {
        "500": server_error,
        "429_rate_limit": lambda: rate_limit_error("global-rate"),
        "429_lock_timeout": lock_timeout_error,
        "409_key_in_use": lambda: key_in_use_error(request.key),
        "401": lambda: authentication_error("Expired API Key provided: sk_test_********.", "api_key_expired"),
        "403": lambda: permission_error("rk_test_********", ledger.account_id, _guess_permission(request)),
    }
    build = builders.get(name)
    return build() if build is not None else None


def _guess_permission(request: Request) -> str:
    match = routes.find(request.method, request.path)
    return name_permission(request.method, match[0].kind if match is not None else "account")


def _build_html(ledger: Ledger) -> Response:
    return Response(503, {"Content-Type": "text/html", "Date": format_date(ledger)}, _HTML)


def draw_webhook_fault(ledger: Ledger, faults: Faults, webhook: OutgoingWebhook) -> int:
    """Draw a fault for a webhook's first attempt. Return how often to post it now (0: not now)."""
    if webhook.attempts or webhook.fault_drawn:
        return 1
    webhook.fault_drawn = True
    fault = faults.draw_for_event(webhook.event)
    if fault is None:
        return 1
    if fault.name == "lose":
        ledger.lose(webhook)
        return 0
    if fault.name in ("delay", "reorder"):
        webhook.next_attempt_at = ledger.now() + fault.seconds
        return 0
    if fault.name == "double_event":
        for second in ledger.emit_again(webhook.event, only=webhook.endpoint):
            second.fault_drawn = True  # else a fault that hits every webhook would double it without end
        return 1
    return 2


def signature_of(body: bytes, secret: str, at: float) -> str:
    """Return the `Stripe-Signature` header of `body`, signed at `at` (seconds since 1970, UTC)."""
    second = int(at)
    mac = hmac.new(secret.encode(), f"{second}.".encode() + body, hashlib.sha256)
    return f"t={second},v1={mac.hexdigest()}"
