"""What the policy says about one return, before any person has."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from returns_service.domain.policy.shapes import Policy
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


def decide(
    policy: Policy,
    *,
    currency: str,
    estimate: int,
    purchased_at: datetime | None,
    now: datetime,
    skus: Sequence[str],
    reasons: Sequence[str | None] = (),
) -> Decision:
    """Return what `policy` says about a return worth `estimate` minor units. Both times carry a zone.

    Without `purchased_at` the window can't be judged: nothing is violated, but nothing approves itself
    either. A return that needs two people never approves itself.
    """
    violations = [*_window(policy, purchased_at, now), *_exclusions(policy, skus)]
    people = 2 if _needs_second_person(policy, currency, estimate) else 1
    below = policy.auto_approve_below.get(currency)
    return Decision(
        allowed=not violations,
        auto_approve=(
            purchased_at is not None and not violations and people == 1 and below is not None and estimate < below
        ),
        approvals_required=people,
        violations=tuple(violations),
        unlisted_reasons=tuple(dict.fromkeys(r for r in reasons if r and r not in policy.reasons)),
    )


def _window(policy: Policy, purchased_at: datetime | None, now: datetime) -> list[Violation]:
    if purchased_at is None or now - purchased_at <= timedelta(days=policy.window_days):
        return []
    bought = f"Bought {(now - purchased_at).days} days ago"
    return [Violation("outside_window", f"{bought}; returns are taken for {policy.window_days} days.")]


def _exclusions(policy: Policy, skus: Sequence[str]) -> list[Violation]:
    return [
        Violation("excluded_sku", f"{sku} can't be returned (the policy excludes {pattern}).")
        for sku in dict.fromkeys(skus)
        for pattern in [p for p in policy.excluded_skus if _matches(sku, p)][:1]
    ]


def _matches(sku: str, pattern: str) -> bool:
    """Return whether a shell pattern names an SKU, whatever the capitals and the width of either."""
    return fnmatchcase(normalise(sku), normalise(pattern))


def _needs_second_person(policy: Policy, currency: str, estimate: int) -> bool:
    """A currency the table forgot is the dangerous one, so it needs a second person always."""
    if not policy.second_person_above:
        return False
    above = policy.second_person_above.get(currency)
    return above is None or estimate > above
