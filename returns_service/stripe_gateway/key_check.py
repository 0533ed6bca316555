"""Try a key for the doctor: its account, the clock, what a restricted one may do, the webhook endpoints.

Each permission is tried by the smallest call that needs it. A refusal here is an answer, and nothing to mend: the
responses are not watched. https://docs.stripe.com/keys/restricted-api-keys
"""

from __future__ import annotations

import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from returns_service.stripe_gateway.classify import WireResponse
from returns_service.stripe_gateway.interface import (
    MissingPermission,
    StripeChecked,
    StripeSilent,
    endpoint_of,
)

Ask = Callable[[Callable[[], Awaitable[Any]], float | None, WireResponse], Awaitable[dict[str, Any]]]
ONE: Final = {"limit": 1}
# No payment has this id, so Stripe refuses: with 404 where refunds may be written, with 403 where not.
NO_REFUND: Final = {"payment_intent": "pi_of_no_payment", "amount": 1}
FORBIDDEN: Final = (401, 403)


async def check_key(
    service: Any, ask: Ask, endpoints: AsyncIterator[dict[str, Any]], checked: StripeChecked, *, restricted: bool
) -> StripeChecked:
    """Return `checked` with all that Stripe tells. `service`: the SDK's `v1`; `endpoints`: its list of them."""
    response = WireResponse(watched=False)
    try:
        account = await ask(service.accounts.retrieve_current_async, None, response)
        checked = replace(checked, account=str(account.get("id")))
    except StripeSilent as silence:
        checked = replace(checked, silence=silence.answer)
    told_at = time.monotonic()
    date = response.headers.get("date")
    if checked.silence is None or checked.account_hidden:
        checked = await _check_rest(service, ask, endpoints, checked, restricted=restricted)
    return replace(checked, stripe_time=time_now(date, time.monotonic() - told_at))


async def _check_rest(
    service: Any,
    ask: Ask,
    endpoints: AsyncIterator[dict[str, Any]],
    checked: StripeChecked,
    *,
    restricted: bool,
) -> StripeChecked:
    if restricted:
        checked = replace(checked, missing=await missing_permissions(service, ask))
    try:
        return replace(checked, endpoints=tuple([endpoint_of(endpoint) async for endpoint in endpoints]))
    except StripeSilent:
        return checked


def time_now(date: str | None, seconds_since: float) -> datetime | None:
    """Return the time by an HTTP `Date` that was told some seconds ago; None where it is none (RFC 9110 5.6.7)."""
    try:
        return parsedate_to_datetime(date or "") + timedelta(seconds=seconds_since)
    except ValueError:
        return None


async def missing_permissions(service: Any, ask: Ask) -> tuple[MissingPermission, ...]:
    """Return the permissions that a restricted key lacks, with Stripe's own sentence."""
    key = f"doctor:{secrets.token_hex(8)}"
    tries: list[tuple[str, bool, Callable[[], Awaitable[Any]]]] = [
        ("PaymentIntents: read", True, lambda: service.payment_intents.list_async(ONE)),
        ("Charges: read", True, lambda: service.charges.list_async(ONE)),
        ("Refunds: write", True, lambda: service.refunds.create_async(NO_REFUND, {"idempotency_key": key})),
        ("Disputes: read", True, lambda: service.disputes.list_async(ONE)),
        ("Events: read", True, lambda: service.events.list_async(ONE)),
        ("Balance transactions: read", False, lambda: service.balance_transactions.list_async(ONE)),
        ("Webhook endpoints: read", False, lambda: service.webhook_endpoints.list_async(ONE)),
    ]
    missing = []
    for permission, needed, call in tries:
        response = WireResponse(watched=False)
        try:
            await ask(call, None, response)
        except StripeSilent as silence:
            if response.status in FORBIDDEN:
                missing.append(MissingPermission(permission, silence.answer.message, needed))
    return tuple(missing)
