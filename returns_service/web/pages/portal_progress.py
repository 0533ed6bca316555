"""How far a customer's return is, in their words; and what the form says of the offer."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

import segno
from markupsafe import Markup

from returns_service.domain.policy import Policy
from returns_service.domain.portal_offer import Offer
from returns_service.domain.refund_status import OPEN
from returns_service.domain.return_machine import State
from returns_service.queries.portal import PortalView
from returns_service.return_case.case import COUNTS_AS_PAID, ReturnCase
from returns_service.return_case.rows import counted
from returns_service.web.pages.portal_words import Words


@dataclass(frozen=True, slots=True)
class Headline:
    """The truth about a return now: a head and a sentence; the shop's own reason where it declined."""

    title: Markup
    text: Markup
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the path: passed, the present one, or to come."""

    label: Markup
    passed: bool = False
    present: bool = False
    at: datetime | None = None
    state: State = "requested"  # colours the present one


@dataclass(frozen=True, slots=True)
class OfferRow:
    """A row of the amount, named as customers know it. `amount` in minor units."""

    label: Markup | str
    amount: int


def rows_of(offer: Offer, view: PortalView, words: Words, exact: int | None) -> list[OfferRow]:
    """Return an offer's rows in the customer's words; they sum to `exact` (minor units), where that is known."""
    shown = []
    for row in offer.rows:
        name = view.items[int(row.line)].line.name if row.line is not None else ""
        if row.kind == "line":
            label: Markup = Markup("<bdi>{}</bdi> × {}").format(name, row.units)
        elif row.kind == "restocking_fee":
            label = words("row.restocking_fee", item=name)
        else:
            label = words(f"row.{row.kind}" if row.kind in ("label", "shipping") else "row.other")
        shown.append(OfferRow(label, row.amount))
    if exact is not None and exact != offer.amount:
        shown.append(OfferRow(words("row.other"), exact - offer.amount))
    return shown


def offer_notes(offer: Offer | None, policy: Policy, words: Words) -> list[Markup]:
    """Return what a customer should know before they send."""
    if offer is None:
        return []
    notes = []
    decision = offer.decision
    if any(violation.code == "outside_window" for violation in decision.violations):
        notes.append(words("ask.outside_window"))
    elif decision.auto_approve and decision.approvals_required == 1:
        notes.append(words("ask.auto"))
    else:
        notes.append(words("ask.person"))
    if decision.warning is not None and decision.warning.settle_outside:
        notes.append(words("ask.no_refund"))
    else:
        notes.append(words("ask.arrival_now" if policy.refund_on == "approval" else "ask.arrival"))
    fees = any(fee.basis_points or fee.fixed for fee in policy.restocking.values())
    if fees or len(policy.accepted_conditions) < 3:
        notes.append(words("ask.fees"))
    return notes


def window_end(view: PortalView, policy: Policy) -> datetime | None:
    """Return a moment on the last day of the policy's window; None where nothing begins it."""
    begins_at = view.session.delivered_at if policy.window_from == "delivery" else view.session.purchased_at
    return begins_at + timedelta(days=policy.window_days) if begins_at else None


def headline_of(case: ReturnCase, words: Words, decline_reason: str | None) -> Headline:
    """Return what a customer is told of their return."""
    currency, state = case.row.currency, case.row.state
    paid = sum(refund.amount for refund in case.refunds if refund.status in COUNTS_AS_PAID)
    amounts: dict[State, int] = {
        "approved": case.due if units_here(case) else case.estimate,
        "refunding": sum(refund.amount for refund in case.refunds if refund.status in OPEN),
        "refunded": paid,
        "failed": sum(refund.amount for refund in case.unresolved()),
    }
    key: str = state
    if state == "approved" and units_here(case):
        key = "partly" if case.units_expected and not case.due else "here"
    amount, shown_paid = words.cash(amounts.get(state, 0), currency), words.cash(paid, currency)
    text = words(f"sent.{key}_text", amount=amount, paid=shown_paid)
    return Headline(words(f"sent.{key}"), text, decline_reason)


def path_of(case: ReturnCase, view: PortalView, words: Words) -> list[Step]:
    """Return the steps from the request to the money; none where there is no way on."""
    state = case.row.state
    if state in ("declined", "canceled"):
        return []
    order: dict[State, int] = {"requested": 1, "approved": 2, "refunding": 3, "failed": 3, "refunded": 4}
    present = order[state]
    if state == "approved" and units_here(case):
        present = 3
    worth = sum(refund.amount for refund in case.refunds if refund.status in (*OPEN, *COUNTS_AS_PAID))
    amount = words.cash(worth if state == "refunded" else max(worth, case.estimate), case.row.currency)
    keys = [
        ("sent.step_told", "sent.step_told"), ("sent.step_yes", "sent.step_yes_soon"),
        ("sent.step_parcel", "sent.step_parcel_soon"), ("sent.step_paid", "sent.step_paid_soon"),
    ]  # fmt: skip
    labels = [words(done if place < present else soon, amount=amount) for place, (done, soon) in enumerate(keys)]
    times = [view.sent_at, None, None, view.refunded_at if state == "refunded" else None]
    return [
        Step(label, number < present, number == present, times[number], state) for number, label in enumerate(labels)
    ]


def units_here(case: ReturnCase) -> bool:
    """Return whether the dock has counted any unit."""
    return any(counted(line) for line in case.lines)


def can_keep(case: ReturnCase) -> bool:
    """Return whether the customer may still take their return back."""
    return "cancel" in case.available() and not units_here(case)


def qr_path(code: str) -> tuple[str, int]:
    """Return the drawing of a slip's QR code as an SVG path, and its side in modules with a quiet zone of none."""
    matrix = segno.make(code, error="m", micro=False).matrix
    runs = []
    for y, row in enumerate(matrix):
        x = 0
        while x < len(row):
            width = 0
            while x + width < len(row) and row[x + width]:
                width += 1
            if width:
                runs.append(f"M{x} {y}h{width}v1h-{width}z")
            x += width or 1
    return "".join(runs), len(matrix)
