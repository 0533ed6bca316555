"""What each rule of a policy says about one return, in whole sentences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from returns_service.domain.money import format_amount
from returns_service.domain.plural import pluralize
from returns_service.domain.policy.deciding import Decision, local_day
from returns_service.domain.policy.shapes import Policy

Effect = Literal["allows", "bars", "asks", "approves", "pays", "takes", "tells"]


@dataclass(frozen=True, slots=True)
class AppliedRule:
    """What a setting of the policy does to a return: a word for programs, a sentence for people."""

    setting: str
    effect: Effect
    message: str


def explain(
    policy: Policy,
    decision: Decision,
    *,
    currency: str,
    estimate: int,
    purchased_at: datetime | None,
    delivered_at: datetime | None,
    requested_at: datetime,
    reasons: Sequence[str | None],
) -> list[AppliedRule]:
    """Return every rule that bears on a return worth `estimate` minor units. `decision` is what `decide` made of it."""
    begins_at = delivered_at if policy.window_from == "delivery" else purchased_at
    rules = [
        _window(policy, decision, begins_at, requested_at),
        *_exclusions(decision),
        _people(policy, decision, currency, estimate),
        _approves_itself(policy, decision, currency, estimate, begins_at),
        *_reasons(policy, decision, reasons),
        *_fees(policy, currency, reasons),
        *_payment(policy),
    ]
    if decision.warning is not None:
        rules.append(AppliedRule("payment_method", "tells", decision.warning.message))
    return rules


def _window(policy: Policy, decision: Decision, begins_at: datetime | None, requested_at: datetime) -> AppliedRule:
    what = "delivery" if policy.window_from == "delivery" else "purchase"
    if begins_at is None:
        return AppliedRule(
            "window_days", "asks", f"The day of the {what} is unknown: nothing is barred, nothing approves itself."
        )
    if barring := [one.message for one in decision.violations if one.code == "outside_window"]:
        return AppliedRule("window_days", "bars", barring[0])
    first, last = (local_day(time, policy.time_zone) for time in (begins_at, requested_at))
    days = pluralize(max(0, (last - first).days), "day")
    message = f"Asked for on {last}, {days} after the {what} on {first}, of {policy.window_days} ({policy.time_zone})."
    return AppliedRule("window_days", "allows", message)


def _exclusions(decision: Decision) -> list[AppliedRule]:
    barring = [one.message for one in decision.violations if one.code == "excluded_sku"]
    return [AppliedRule("excluded_skus", "bars", message) for message in barring] or [
        AppliedRule("excluded_skus", "allows", "None of its SKUs is excluded.")
    ]


def _people(policy: Policy, decision: Decision, currency: str, estimate: int) -> AppliedRule:
    worth, above = format_amount(estimate, currency), policy.second_person_above.get(currency)
    if not policy.second_person_above:
        return AppliedRule("second_person_above", "allows", "No amount needs two people.")
    if above is None:
        message = f"No amount is listed for {currency.upper()}, so two people have to approve."
    elif decision.approvals_required > 1:
        message = f"Worth {worth}, more than {format_amount(above, currency)}: two people have to approve."
    else:
        message = f"Worth {worth}, not more than {format_amount(above, currency)}: one person is enough."
    return AppliedRule("second_person_above", "asks" if decision.approvals_required > 1 else "allows", message)


def _approves_itself(
    policy: Policy, decision: Decision, currency: str, estimate: int, begins_at: datetime | None
) -> AppliedRule:
    worth, below = format_amount(estimate, currency), policy.auto_approve_below.get(currency)
    if below is None:
        return AppliedRule("auto_approve_below", "asks", f"No return in {currency.upper()} approves itself.")
    limit = format_amount(below, currency)
    if decision.auto_approve:
        return AppliedRule("auto_approve_below", "approves", f"Worth {worth}, less than {limit}: it approves itself.")
    if estimate >= below:
        return AppliedRule("auto_approve_below", "asks", f"Worth {worth}, not less than {limit}: a person approves it.")
    if begins_at is None:
        why = "the day that its window begins on is unknown"
    elif decision.violations:
        why = "the policy doesn't allow it"
    elif decision.approvals_required > 1:
        why = "two people have to approve it"
    else:
        why = "its payment can't be refunded through Stripe"
    message = f"Worth {worth}, less than {limit}, but {why}: a person approves it."
    return AppliedRule("auto_approve_below", "asks", message)


def _reasons(policy: Policy, decision: Decision, reasons: Sequence[str | None]) -> list[AppliedRule]:
    unlisted = [
        AppliedRule("reasons", "tells", f"The catalogue has no reason {reason}.")
        for reason in decision.unlisted_reasons
    ]
    waiving = [
        AppliedRule("reasons", "pays", f"No restocking fee for units that come back as {reason}.")
        for reason in dict.fromkeys(reasons)
        if reason is not None and policy.waives_restocking(reason)
    ]
    return [*unlisted, *waiving]


def _fees(policy: Policy, currency: str, reasons: Sequence[str | None]) -> list[AppliedRule]:
    rules = []
    bears_fee = any(not policy.waives_restocking(reason) for reason in reasons)
    for condition, fee in policy.restocking.items():
        parts = [f"{fee.basis_points / 100:g} %"] if fee.basis_points else []
        if fixed := fee.fixed.get(currency, 0):
            parts.append(f"{format_amount(fixed, currency)} a unit")
        if parts and bears_fee:
            rules.append(AppliedRule("restocking", "takes", f"{' and '.join(parts)} for units that are {condition}."))
    if cost := policy.label_cost.get(currency, 0):
        message = f"{format_amount(cost, currency)} for the label, once, with the first accepted unit."
        rules.append(AppliedRule("label_cost", "takes", message))
    return rules


def _payment(policy: Policy) -> list[AppliedRule]:
    shipping = {
        "never": "Shipping stays paid.",
        "full_return": "Shipping goes back with the order's last unit.",
        "always": "Shipping goes back with the first unit.",
    }
    when = {
        "approval": "Refunded when it is approved, before anything comes back.",
        "receipt": "Refunded for what the dock accepts, when it is counted.",
        "manual": "Refunded when a person says so.",
    }
    delay = f" {policy.refund_delay} seconds after the count." if policy.refund_delay else ""
    accepted = ", ".join(policy.accepted_conditions) or "none"
    return [
        AppliedRule("accepted_conditions", "pays", f"The dock accepts units that are: {accepted}."),
        AppliedRule("shipping_refunded", "pays", shipping[policy.shipping_refunded]),
        AppliedRule("refund_on", "pays", when[policy.refund_on] + delay),
    ]
