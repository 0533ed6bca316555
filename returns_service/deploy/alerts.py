"""The alerts, declared once: the README's table and Prometheus' rules are both written from here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import yaml

Severity = Literal["page", "ticket"]  # wakes somebody at night; waits for the morning
LONGER = {60: "a minute", 300: "5 minutes", 600: "10 minutes", 3600: "an hour"}


@dataclass(frozen=True, slots=True)
class Alert:
    """A figure, when it is wrong, and what that means. `above` None: any rise within `within_seconds` is wrong."""

    name: str
    figure: str  # as PromQL selects it
    meaning: str
    severity: Severity
    above: float | None = 0
    at_least: bool = False  # from `above` on, not only beyond it
    equals: bool = False  # exactly `above`
    for_seconds: int = 0
    within_seconds: int = 3600
    counts: bool = False  # it only ever grows, in each process by itself
    absent: bool = False  # nobody shows it

    @property
    def when(self) -> str:
        """When it is wrong, in words."""
        lasting = f" for {LONGER[self.for_seconds]}" if self.for_seconds else ""
        if self.absent:
            return f"nobody shows it{lasting}"
        if self.above is None:
            return "rises"
        sign = "" if self.equals else "≥ " if self.at_least else "> "
        return f"{sign}{self.above:g}{lasting}"

    @property
    def expression(self) -> str:
        """When it is wrong, in PromQL: all webs read the same rows, so the greatest value counts."""
        if self.absent:
            return f"absent({self.figure})"
        if self.above is None:
            window = f"{self.figure}[{self.within_seconds // 60}m]"
            return f"sum(increase({window})) > 0" if self.counts else f"max(delta({window})) > 0"
        if self.equals:
            return f"min({self.figure}) == {self.above:g}"
        return f"max({self.figure}) {'>=' if self.at_least else '>'} {self.above:g}"


ALERTS = (
    Alert(
        "NobodyAnswers",
        "returns_database_up",
        "No web answers Prometheus: none runs, or the way to it is wrong. Every other alert is blind then.",
        "page",
        absent=True,
        for_seconds=300,
    ),
    Alert(
        "DatabaseDown",
        "returns_database_up",
        "The database is away or takes no writes: the API answers 503, and Stripe sends its webhooks again.",
        "page",
        equals=True,
        for_seconds=60,
    ),
    Alert(
        "RefundsOverdue",
        "returns_refunds_overdue",
        "No worker runs, or it stands still, or Stripe is down.",
        "page",
        for_seconds=300,
    ),
    Alert(
        "ChoresOverdue",
        "returns_chores_overdue",
        "The same, for events, payments and returns to look at again, and for mail.",
        "ticket",
        for_seconds=600,
    ),
    Alert(
        "StripeSilent",
        "returns_stripe_failures_in_a_row",
        "Stripe gives no answer: calls pause, one is tried every 5 s.",
        "page",
        above=10,
        at_least=True,
    ),
    Alert(
        "RefundUnanswered",
        "returns_oldest_unanswered_refund_seconds",
        "Money is decided and Stripe has not taken it.",
        "page",
        above=3600,
        for_seconds=300,  # a refund that was held until now is sent within seconds
    ),
    Alert(
        "StripeEventsUnread",
        'returns_sweep_age_seconds{sweep="events"}',
        "Stripe's list of events can't be read: lost webhooks stay lost.",
        "ticket",
        above=3600,
    ),
    Alert(
        "ChargesUncounted",
        'returns_sweep_age_seconds{sweep="charges"}',
        "Stripe's charges can't be listed: no day's refund rate is judged.",
        "ticket",
        above=3600,
    ),
    Alert(
        "ReconciliationLate",
        'returns_sweep_age_seconds{sweep="reconciliation"}',
        "The daily comparison with Stripe doesn't get through.",
        "ticket",
        above=100_000,
    ),
    Alert(
        "LedgersDiffer",
        "returns_reconciliation_differences",
        "The ledgers differ: `returns-service reconcile --fix`.",
        "ticket",
    ),
    Alert(
        "StripeEventsFailed",
        "returns_stripe_events_failed",
        "Stripe says something that this release can't read.",
        "ticket",
        for_seconds=3600,
    ),
    Alert(
        "WebhookSecretWrong",
        'returns_stripe_webhooks_total{outcome="invalid_signature"}',
        "`STRIPE_WEBHOOK_SECRET` is not the endpoint's.",
        "page",
        above=None,
        counts=True,
    ),
    Alert(
        "PaidTwice",
        'returns_desk_items{kind="payment_overpaid"}',
        "A customer may have been paid twice.",
        "page",
    ),
    Alert(
        "DeskWaits",
        "returns_desk_oldest_seconds",
        "Something has waited three days for a person.",
        "ticket",
        above=259_200,
    ),
    Alert(
        "ListenerDown",
        "returns_oldest_pending_delivery_seconds",
        "A listener takes nothing: after three days it is given up.",
        "ticket",
        above=86_400,
    ),
    Alert(
        "NewDispute",
        "returns_disputes_open",
        "A dispute wants an answer in Stripe's Dashboard.",
        "ticket",
        above=None,
    ),
)


def prometheus_rules() -> str:
    """Return the alerts as a file of Prometheus' rules."""
    rules = [
        {
            "alert": f"Returns{alert.name}",
            "expr": alert.expression,
            **({"for": f"{alert.for_seconds}s"} if alert.for_seconds else {}),
            "labels": {"severity": alert.severity},
            "annotations": {"summary": alert.meaning.replace("`", "")},
        }
        for alert in ALERTS
    ]
    head = "# Alerts of returns-service, for `rule_files` of Prometheus. The README's table is written from the same.\n"
    groups = {"groups": [{"name": "returns-service", "rules": rules}]}
    return head + yaml.safe_dump(groups, sort_keys=False, allow_unicode=True, width=200)
