"""What each rule of a policy says about one return."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from returns_service.domain.policy import DEFAULT, Policy, Restocking, decide, explain, to_dict, version_of
from returns_service.domain.refund_windows import RefundWarning

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
BOUGHT = NOW - timedelta(days=3)
BELOW = replace(DEFAULT, auto_approve_below={"usd": 5000})
ABOVE = replace(DEFAULT, second_person_above={"usd": 5000})


def said(
    policy: Policy,
    setting: str,
    *,
    estimate: int = 3000,
    purchased_at: datetime | None = BOUGHT,
    sku: str = "MUG",
    reason: str = "too_small",
    currency: str = "usd",
    warning: RefundWarning | None = None,
) -> list[tuple[str, str]]:
    """Return what a setting does to a return, and how it is said."""
    case = {"currency": currency, "estimate": estimate, "purchased_at": purchased_at, "delivered_at": None}
    shared = {**case, "requested_at": NOW, "reasons": [reason]}
    decision = decide(policy, **shared, skus=[sku], warning=warning)  # type: ignore[arg-type]
    rules = explain(policy, decision, **shared)  # type: ignore[arg-type]
    return [(rule.effect, rule.message) for rule in rules if rule.setting == setting]


@pytest.mark.parametrize(
    "policy, setting, more, effect, words",
    [
        (DEFAULT, "window_days", {}, "allows", "3 days after the purchase on 2026-02-26, of 30 (UTC)"),
        (DEFAULT, "window_days", {"purchased_at": None}, "asks", "the purchase is unknown"),
        (replace(DEFAULT, window_days=2), "window_days", {}, "bars", "returns are taken for 2 days"),
        (replace(DEFAULT, window_from="delivery"), "window_days", {}, "asks", "the delivery is unknown"),
        (DEFAULT, "excluded_skus", {}, "allows", "None"),
        (replace(DEFAULT, excluded_skus=("M*",)), "excluded_skus", {}, "bars", "the policy excludes M*"),
        (DEFAULT, "second_person_above", {}, "allows", "No amount"),
        (ABOVE, "second_person_above", {}, "allows", "Worth 30.00 USD, not more than 50.00 USD"),
        (ABOVE, "second_person_above", {"estimate": 5001}, "asks", "two people"),
        (ABOVE, "second_person_above", {"currency": "eur"}, "asks", "No amount is listed for EUR"),
        (DEFAULT, "auto_approve_below", {}, "asks", "No return in USD approves itself"),
        (BELOW, "auto_approve_below", {}, "approves", "Worth 30.00 USD, less than 50.00 USD"),
        (BELOW, "auto_approve_below", {"estimate": 5000}, "asks", "not less than 50.00 USD"),
        (BELOW, "auto_approve_below", {"purchased_at": None}, "asks", "the day that its window begins on is unknown"),
        (replace(BELOW, window_days=1), "auto_approve_below", {}, "asks", "the policy doesn't allow it"),
        (replace(BELOW, second_person_above={"usd": 1}), "auto_approve_below", {}, "asks", "two people have to"),
        (BELOW, "auto_approve_below", {"warning": RefundWarning("method_not_refundable", "No.")}, "asks", "Stripe"),
        (DEFAULT, "reasons", {"reason": "ugly"}, "tells", "The catalogue has no reason ugly."),
        (DEFAULT, "reasons", {"reason": "damaged"}, "pays", "No restocking fee"),
        (replace(DEFAULT, restocking={"opened": Restocking(1250, {"usd": 100})}), "restocking", {}, "takes",
         "12.5 % and 1.00 USD a unit for units that are opened."),
        (replace(DEFAULT, label_cost={"usd": 495}), "label_cost", {}, "takes", "4.95 USD for the label"),
        (DEFAULT, "shipping_refunded", {}, "pays", "Shipping stays paid."),
        (replace(DEFAULT, refund_delay=60), "refund_on", {}, "pays", "60 seconds after the count"),
        (DEFAULT, "payment_method", {"warning": RefundWarning("refund_window_over", "Over.")}, "tells", "Over."),
    ],
)  # fmt: skip
def test_a_rule_says_what_it_does(
    policy: Policy, setting: str, more: dict[str, object], effect: str, words: str
) -> None:
    (found,) = said(policy, setting, **more)  # type: ignore[arg-type]
    assert found[0] == effect
    assert words in found[1]


def test_a_fee_that_the_reason_waives_is_not_named() -> None:
    fee = replace(DEFAULT, restocking={"opened": Restocking(1000)})
    assert said(fee, "restocking", reason="damaged") == []


def test_a_version_is_named_by_its_rules() -> None:
    assert version_of(to_dict(DEFAULT)) == version_of(dict(reversed(to_dict(DEFAULT).items())))
    assert version_of(to_dict(DEFAULT)) != version_of(to_dict(BELOW))
