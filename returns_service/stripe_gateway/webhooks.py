"""Stripe's webhooks: a body is verified first and parsed only then."""

from __future__ import annotations

import time
from collections.abc import Sequence

import stripe

from returns_service.domain.stripe_objects import StripeEventData
from returns_service.stripe_gateway.interface import InvalidSignature
from returns_service.stripe_gateway.parse import event_data_of, event_from

LONGEST_WEBHOOK_BYTES = 256 * 1024


def read_webhook(
    payload: bytes,
    signature: str | None,
    secrets: Sequence[str],
    *,
    now: float | None = None,
    tolerance_seconds: int = 300,
) -> StripeEventData:
    """Return the news of a webhook signed with one of `secrets`. Raises InvalidSignature.

    `now` is Unix time in seconds, this machine's clock where not given. A signature older than `tolerance_seconds` is
    refused, one of the future passes, as in Stripe's SDK (https://docs.stripe.com/webhooks#verify-official-libraries).
    The body is parsed only after its signature was found right.
    """
    if len(payload) > LONGEST_WEBHOOK_BYTES:
        raise InvalidSignature(f"The body is longer than {LONGEST_WEBHOOK_BYTES} bytes.")
    if not signature:
        raise InvalidSignature("There is no Stripe-Signature header.")
    if not any(_is_signed(payload, signature, secret) for secret in secrets):
        raise InvalidSignature("No signature fits: another secret, another sender, or the body was changed.")
    # The header is well-formed, or it wouldn't fit; its first `t` is the one that was signed.
    signed_at = int(next(item for item in signature.split(",") if item.startswith("t=")).split("=")[1])
    if signed_at < (time.time() if now is None else now) - tolerance_seconds:
        raise InvalidSignature(f"The signature is older than {tolerance_seconds} seconds.")
    try:
        return event_data_from_payload(payload.decode())
    except ValueError as error:
        raise InvalidSignature(f"The body is signed, but it is no event: {error}.") from None


def event_data_from_payload(raw: str) -> StripeEventData:
    """Return the news in a stored body, whose signature was checked when it came. Raises ValueError if it is none."""
    return event_data_of(event_from(raw), raw)


def _is_signed(payload: bytes, signature: str, secret: str) -> bool:
    try:
        # Without an age check: that one is ours, on the caller's clock.
        return stripe.WebhookSignature.verify_header(payload, signature, secret) is True
    except (ValueError, TypeError, stripe.SignatureVerificationError):  # bad UTF-8, a non-ASCII signature, no match
        return False
