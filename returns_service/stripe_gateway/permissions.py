"""What a restricted key may do, tried out: each permission by the smallest call that needs it.

https://docs.stripe.com/keys/restricted-api-keys
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable
from typing import Any, Final

from returns_service.stripe_gateway.classify import WireResponse
from returns_service.stripe_gateway.interface import MissingPermission, StripeSilent

Ask = Callable[[Callable[[], Awaitable[Any]], float | None, WireResponse], Awaitable[dict[str, Any]]]
ONE: Final = {"limit": 1}
# No payment has this id, so Stripe refuses: with 404 where refunds may be written, with 403 where not.
NO_REFUND: Final = {"payment_intent": "pi_of_no_payment", "amount": 1}
FORBIDDEN: Final = (401, 403)


async def missing_permissions(service: Any, ask: Ask) -> tuple[MissingPermission, ...]:
    """Return the permissions that the key lacks, with Stripe's own sentence. `service`: the SDK's `v1`."""
    key = f"doctor:{secrets.token_hex(8)}"
    tries: dict[str, Callable[[], Awaitable[Any]]] = {
        "PaymentIntents: read": lambda: service.payment_intents.list_async(ONE),
        "Charges: read": lambda: service.charges.list_async(ONE),
        "Refunds: write": lambda: service.refunds.create_async(NO_REFUND, {"idempotency_key": key}),
        "Disputes: read": lambda: service.disputes.list_async(ONE),
        "Events: read": lambda: service.events.list_async(ONE),
        "Balance transactions: read": lambda: service.balance_transactions.list_async(ONE),
        "Webhook endpoints: read": lambda: service.webhook_endpoints.list_async(ONE),
    }
    missing = []
    for permission, call in tries.items():
        response = WireResponse()
        try:
            await ask(call, None, response)
        except StripeSilent as silence:
            if response.status in FORBIDDEN:
                missing.append(MissingPermission(permission, silence.answer.message))
    return tuple(missing)
