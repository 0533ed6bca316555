"""What the policy says about one return, before any person has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from fnmatch import fnmatchcase
from zoneinfo import ZoneInfo

from returns_service.domain.plural import pluralize
from returns_service.domain.policy.shapes import Policy
from returns_service.domain.refund_windows import RefundWarning
from returns_service.domain.search_text import normalise


@dataclass(frozen=True, slots=True)
class Violation:
    """One thing in a return that the policy doesn't allow: a code for programs, a sentence for people."""

    code: str
    message: str


@dataclass(frozen=True, slots=True)
class Decision:
    """What the policy says about one return, before any person has."""

    allowed: bool
    auto_approve: bool
    approvals_required: int
    violations: tuple[Violation, ...]
    unlisted_reasons: tuple[str, ...] = ()  # free text: no violation, shown to the approver
    warning: RefundWarning | None = None  # the money may have to go another way: no violation, shown to the approver


def decide(
    policy: Policy,
    *,
    currency: str,
    estimate: int,
    purchased_at: datetime | None,
    requested_at: datetime,
    skus: Sequence[str],
    delivered_at: datetime | None = None,
    reasons: Sequence[str | None] = (),
    warning: RefundWarning | None = None,
    decided_alone: int = 0,
) -> Decision:
    """Return what `policy` says about a return worth `estimate` minor units. All times carry a zone.

    `decided_alone`: what single persons have decided about the payment lately, minor units.

    Without the time that the window begins at it can't be judged: nothing is violated, but nothing approves itself
    either. A return that needs two people never approves itself, nor does one that Stripe can't refund.
    """
    begins_at = delivered_at if policy.window_from == "delivery" else purchased_at
    violations = [*_window(policy, begins_at, requested_at), *_exclusions(policy, skus)]
    people = 2 if needs_second_person(policy, currency, estimate, decided_alone) else 1
    below = policy.auto_approve_below.get(currency)
    return Decision(
        allowed=not violations,
        auto_approve=(
            begins_at is not None
            and not violations
            and people == 1
            and below is not None
            and estimate < below
            and not (warning and warning.settle_outside)
        ),
        approvals_required=people,
        violations=tuple(violations),
        unlisted_reasons=tuple(dict.fromkeys(r for r in reasons if r and r not in policy.reasons)),
        warning=warning,
    )


def _window(policy: Policy, begins_at: datetime | None, requested_at: datetime) -> list[Violation]:
    """Judge the day of the request, as the policy's zone counts days: an approver who takes long costs nobody a return.

    A window of 0 days holds no request.
    """
    if begins_at is None:
        return []
    days = (local_day(requested_at, policy.time_zone) - local_day(begins_at, policy.time_zone)).days
    if policy.window_days > 0 and days <= policy.window_days:
        return []
    bought, taken = pluralize(max(0, days), "day"), pluralize(policy.window_days, "day")
    event = "Delivered" if policy.window_from == "delivery" else "Bought"
    message = f"{event} {bought} before the request; returns are taken for {taken}."
    return [Violation("outside_window", message)]


def local_day(time: datetime, zone: str) -> date:
    """Return the day that a time is on in a zone of the IANA database."""
    try:
        return time.astimezone(ZoneInfo(zone)).date()
    except OverflowError:  # within a day of the first or the last that there is
        return time.date()


def _exclusions(policy: Policy, skus: Sequence[str]) -> list[Violation]:
    return [
        Violation("excluded_sku", f"{sku} can't be returned (the policy excludes {pattern}).")
        for sku in dict.fromkeys(skus)
        for pattern in [p for p in policy.excluded_skus if _matches(sku, p)][:1]
    ]


def _matches(sku: str, pattern: str) -> bool:
    """Return whether a shell pattern names an SKU, whatever the capitals and the width of either."""
    return fnmatchcase(normalise(sku), normalise(pattern))


def needs_second_person(policy: Policy, currency: str, amount: int, decided_alone: int) -> bool:
    """Return whether one person may not decide an amount, minor units, after what was `decided_alone` before it.

    A currency the table forgot is the dangerous one, so it needs a second person always.
    """
    if not policy.second_person_above:
        return False
    above = policy.second_person_above.get(currency)
    return above is None or amount + decided_alone > above
