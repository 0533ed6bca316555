"""The refund that is none: what a partial capture or a canceled authorization gave back to the customer's bank.

Where the shop captures under an API version before 2025-03-31.basil, Stripe keeps a succeeded Refund of the rest and
counts it in `amount_refunded`; later versions do neither.
https://docs.stripe.com/changelog/basil/2025-03-31/remove-refund-from-partial-capture-and-payment-cancellation-flow
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

# https://docs.stripe.com/reports/reporting-categories
RELEASE = "partial_capture_reversal"


def may_hold_release(intent: Mapping[str, Any] | None, charge: Mapping[str, Any] | None) -> bool:
    """Say whether a charge may hold such a refund: it was captured for the last time, and for less than authorized."""
    still_open = intent is not None and intent.get("status") == "requires_capture"
    return charge is not None and not still_open and _difference(charge) > 0


def releases_in(charge: Mapping[str, Any], refunds: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Return the ids of the releases among a charge's refunds, newest first as Stripe lists them.

    The balance transaction tells. Only for a refund whose balance transaction can't be read its form does: the charge's
    oldest, succeeded, over exactly what was not captured, and not asked for by this service.
    """
    told = {str(one.get("id")) for one in refunds if _category(one) == RELEASE}
    if told or not refunds:
        return frozenset(told)
    oldest = refunds[-1]
    metadata = oldest.get("metadata")
    fits = (
        _category(oldest) is None
        and oldest.get("status") == "succeeded"
        and oldest.get("amount") == _difference(charge)
        and not (isinstance(metadata, Mapping) and metadata.get("refund_id"))
    )
    return frozenset({str(oldest.get("id"))} if fits else ())


def _category(refund: Mapping[str, Any]) -> str | None:
    """Return a refund's reporting category; None where its balance transaction wasn't expanded, or there is none."""
    transaction = refund.get("balance_transaction")
    category = transaction.get("reporting_category") if isinstance(transaction, Mapping) else None
    return category if isinstance(category, str) else None


def _difference(charge: Mapping[str, Any]) -> int:
    amount, captured = charge.get("amount"), charge.get("amount_captured") or 0
    return amount - captured if type(amount) is int and type(captured) is int else 0
