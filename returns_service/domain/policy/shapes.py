"""The policy's shapes, its defaults, and the snapshot stored on a return."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec

from returns_service.domain.money import Terms
from returns_service.domain.vocabulary import (
    STRIPE_REASONS,
    Condition,
    ExternalRefunds,
    RefundOn,
    ShippingRefunded,
    StripeReason,
    WindowFrom,
    find_word,
)

ACCEPTABLE: tuple[Condition, ...] = ("new", "opened", "damaged")


@dataclass(frozen=True, slots=True)
class Restocking:
    """The fee for units in one condition: a share of their worth, and minor units a unit by currency."""

    basis_points: int = 0
    fixed: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reason:
    """One entry of the catalogue of reasons. `restocking=False` waives the fee."""

    label: str
    stripe: StripeReason = "requested_by_customer"
    restocking: bool = True


def _catalogue() -> dict[str, Reason]:
    return {
        "too_small": Reason("Too small"),
        "too_large": Reason("Too large"),
        "not_as_described": Reason("Not as described", restocking=False),
        "damaged": Reason("Arrived damaged", restocking=False),
        "wrong_item": Reason("Wrong item sent", restocking=False),
        "changed_mind": Reason("Changed my mind"),
        "other": Reason("Another reason"),
    }


@dataclass(frozen=True, slots=True)
class Policy:
    """A policy, checked. Amounts are tables of minor units by lowercase currency."""

    window_days: int = 30
    window_from: WindowFrom = "purchase"
    time_zone: str = "UTC"  # of the IANA database: the window ends with a day there
    external_refunds: ExternalRefunds = "hold"
    refund_on: RefundOn = "receipt"
    refund_delay: int = 0  # seconds
    accepted_conditions: tuple[Condition, ...] = ACCEPTABLE
    excluded_skus: tuple[str, ...] = ()
    shipping_refunded: ShippingRefunded = "never"
    auto_approve_below: Mapping[str, int] = field(default_factory=dict)
    second_person_above: Mapping[str, int] = field(default_factory=dict)
    label_cost: Mapping[str, int] = field(default_factory=dict)
    refund_rate_alert: float = 0.1
    restocking: Mapping[str, Restocking] = field(default_factory=lambda: {"opened": Restocking()})
    reasons: Mapping[str, Reason] = field(default_factory=_catalogue)

    def stripe_reason(self, reason: str | None) -> StripeReason:
        """Return Stripe's code for a return's reason; `fraudulent` only where policy or caller says so."""
        if reason is not None and reason in self.reasons:
            return self.reasons[reason].stripe
        return find_word(STRIPE_REASONS, reason) or "requested_by_customer"

    def waives_restocking(self, reason: str | None) -> bool:
        """Whether a unit returned for `reason` bears no restocking fee."""
        return reason is not None and reason in self.reasons and not self.reasons[reason].restocking

    def terms(self, currency: str, *, shipping_amount: int = 0) -> Terms:
        """Return what this policy says about money in `currency`; `shipping_amount` is what was paid for it."""
        return Terms(
            currency=currency,
            restocking={c: (fee.basis_points, fee.fixed.get(currency, 0)) for c, fee in self.restocking.items()},
            label_cost=self.label_cost.get(currency, 0),
            shipping_amount=shipping_amount,
            shipping_refunded=self.shipping_refunded,
        )


DEFAULT = Policy()


def to_dict(policy: Policy) -> dict[str, Any]:
    """Return `policy` as JSON can hold it: the snapshot stored on a return."""
    plain: dict[str, Any] = msgspec.to_builtins(policy)
    return {name: list(value) if isinstance(value, tuple) else value for name, value in plain.items()}


def version_of(stored: Mapping[str, Any]) -> str:
    """Return the name of the version whose rules `to_dict` stored: equal rules have equal names, on any machine."""
    text = json.dumps(stored, sort_keys=True, separators=(",", ":"))
    return f"pol_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
