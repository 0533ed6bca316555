"""How far a customer's return is, in their words; and what the form says of the offer."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import segno
from markupsafe import Markup

from returns_service.domain.policy import Policy
from returns_service.domain.portal_offer import Offer
from returns_service.domain.refund_status import COUNTS_AS_PAID, OPEN
from returns_service.domain.return_machine import State
from returns_service.domain.vocabulary import SettlementMethod
from returns_service.queries.portal import PortalView
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.rows import counted_units
from returns_service.web.pages.portal_words import Words

OUTSIDE_METHODS: Final[tuple[SettlementMethod, ...]] = ("store_credit", "exchange")
GIVEN_METHODS: Final[tuple[SettlementMethod, ...]] = (*OUTSIDE_METHODS, "cash", "dispute")  # no bank has it on its way


class Shares(NamedTuple):
    """What a customer gets, minor units: back to how they paid, and as store credit or in an exchange."""

    refunded: int
    outside: int

    @property
    def both(self) -> int:
        """All of it, minor units."""
        return self.refunded + self.outside


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


def shares_of(offer: Offer | None) -> Shares:
    """Return what an offer promises."""
    return Shares(offer.amount_refunded, offer.amount_outside) if offer else Shares(0, 0)


def rows_of(offer: Offer, view: PortalView, words: Words, amount: int) -> list[OfferRow]:
    """Return an offer's rows in the customer's words; they sum to `amount`, minor units."""
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
    if amount != offer.amount:
        shown.append(OfferRow(words("row.other"), amount - offer.amount))
    return shown


def offer_notes(offer: Offer | None, policy: Policy, words: Words) -> list[Markup]:
    """Return what a customer should know before they send."""
    if offer is None:
        return []
    notes = []
    decision = offer.decision
    if any(violation.code == "outside_window" for violation in decision.violations):
        notes.append(words("ask.outside_window"))
    elif offer.approves_itself:
        notes.append(words("ask.auto"))
    else:
        notes.append(words("ask.person"))
    if "refund" in offer.wanted and decision.warning is not None and decision.warning.settle_outside:
        notes.append(words("ask.no_refund"))
    elif "refund" in offer.wanted:
        notes.append(words("ask.arrival_now" if policy.refund_on == "approval" else "ask.arrival"))
    if "store_credit" in offer.wanted:
        notes.append(words("ask.credit"))
    if "exchange" in offer.wanted:
        notes.append(words("ask.exchange"))
    fees = any(fee.basis_points or fee.fixed for fee in policy.restocking.values())
    if fees or len(policy.accepted_conditions) < 3:
        notes.append(words("ask.fees"))
    return notes


def window_end(view: PortalView, policy: Policy) -> datetime | None:
    """Return a moment on the last day of the policy's window; None where nothing begins it."""
    begins_at = view.session.delivered_at if policy.window_from == "delivery" else view.session.purchased_at
    return begins_at + timedelta(days=policy.window_days) if begins_at else None


def outside_word(wanted: Collection[str]) -> str:
    """Return the word for what is given instead of money: one of the two, or either."""
    given = [word for word in OUTSIDE_METHODS if word in wanted]
    return given[0] if len(given) == 1 else "outside"


def say_shares(words: Words, shares: Shares, wanted: Collection[str], currency: str) -> Markup:
    """Return what a customer gets, as the part of a sentence."""
    parts = []
    if shares.refunded or not shares.outside:
        parts.append(words("part.refund", amount=words.cash(shares.refunded, currency)))
    if shares.outside:
        parts.append(words(f"part.{outside_word(wanted)}", amount=words.cash(shares.outside, currency)))
    return words.join(parts)


def headline_of(case: ReturnCase, words: Words, decline_reason: str | None) -> Headline:
    """Return what a customer is told of their return."""
    currency, state, wanted = case.row.currency, case.row.state, set(case.outside_lines.values())
    paid, given = paid_shares(case), given_amounts(case)
    due = Shares(case.due, case.due_outside)
    by_bank = bank_amount(case, given)
    amounts: dict[State, int] = {
        "refunding": sum(refund.amount for refund in case.refunds if refund.status in OPEN),
        "refunded": by_bank,
        "failed": sum(refund.amount for refund in case.unresolved_refunds()),
    }
    key: str = state
    if state == "approved" and units_here(case):
        key = "partly" if case.units_expected and not due.refunded else "here"
    what = due if key == "here" else Shares(case.estimate, case.estimate_outside)
    told = {
        "amount": words.cash(amounts.get(state, 0), currency),
        "paid": words.cash(paid.both, currency),
        "what": say_shares(words, what, wanted, currency),
    }
    title, texts = f"sent.{key}", [words(f"sent.{key}_text", **told)]
    waived = waived_amount(case)
    if state == "refunded" and (given or waived):
        title, texts = "sent.settled", texts if by_bank else []
        if given:
            texts.append(words("sent.settled_text", what=words.join(say_given(words, given, currency))))
        if waived:
            texts.append(words("sent.waived_text", amount=words.cash(waived, currency)))
    elif key in ("partly", "refunding", "failed") and due.outside:
        texts.append(words("sent.also_text", what=say_shares(words, Shares(0, due.outside), wanted, currency)))
    return Headline(words(title), Markup(" ").join(texts), decline_reason)


def paid_shares(case: ReturnCase) -> Shares:
    """Return what a customer has got; nothing of what was waived."""
    paid = [refund for refund in case.refunds if refund.status in COUNTS_AS_PAID and refund.method != "waived"]
    outside = sum(refund.amount for refund in paid if refund.method in OUTSIDE_METHODS)
    return Shares(sum(refund.amount for refund in paid) - outside, outside)


def given_amounts(case: ReturnCase) -> dict[SettlementMethod, int]:
    """Return what a customer has got in hand, minor units, by the way they got it."""
    paid = [refund for refund in case.refunds if refund.status in COUNTS_AS_PAID]
    sums = {method: sum(refund.amount for refund in paid if refund.method == method) for method in GIVEN_METHODS}
    return {method: amount for method, amount in sums.items() if amount}


def bank_amount(case: ReturnCase, given: Mapping[SettlementMethod, int]) -> int:
    """Return what a customer has got by their bank, minor units: all but what was `given` in hand."""
    return paid_shares(case).both - sum(given.values())


def waived_amount(case: ReturnCase) -> int:
    """Return what a customer has agreed not to get, minor units."""
    return sum(refund.amount for refund in case.refunds if refund.method == "waived")


def say_given(words: Words, given: Mapping[SettlementMethod, int], currency: str) -> list[Markup]:
    """Return what was given in hand (minor units), each by its way."""
    return [words(f"part.{method}", amount=words.cash(amount, currency)) for method, amount in given.items()]


def say_paid(case: ReturnCase, words: Words) -> Markup:
    """Return all that a customer has got, as the part of a sentence."""
    given, currency = given_amounts(case), case.row.currency
    by_bank = bank_amount(case, given)
    back = [words("part.refund", amount=words.cash(by_bank, currency))] if by_bank or not given else []
    return words.join([*back, *say_given(words, given, currency)])


def path_of(case: ReturnCase, view: PortalView, words: Words) -> list[Step]:
    """Return the steps from the request to the money; none where there is no way on."""
    state = case.row.state
    if state in ("declined", "canceled"):
        return []
    order: dict[State, int] = {"requested": 1, "approved": 2, "refunding": 3, "failed": 3, "refunded": 4}
    present = order[state]
    if state == "approved" and units_here(case):
        present = 3
    what = say_paid(case, words) if state == "refunded" else say_shares(words, *_shares_in_all(case), case.row.currency)
    keys = [
        ("sent.step_told", "sent.step_told"), ("sent.step_yes", "sent.step_yes_soon"),
        ("sent.step_parcel", "sent.step_parcel_soon"), ("sent.step_paid", "sent.step_paid_soon"),
    ]  # fmt: skip
    labels = [words(done if place < present else soon, what=what) for place, (done, soon) in enumerate(keys)]
    if state == "refunded" and not paid_shares(case).both:
        labels[-1] = words("sent.settled")
    times = [view.sent_at, None, None, view.refunded_at if state == "refunded" else None]
    return [
        Step(label, number < present, number == present, times[number], state) for number, label in enumerate(labels)
    ]


def _shares_in_all(case: ReturnCase) -> tuple[Shares, Collection[str]]:
    """Return what a customer gets in the end, as far as anybody knows, and the words for what is no refund."""
    paid = paid_shares(case)
    on_the_way = sum(refund.amount for refund in case.refunds if refund.status in OPEN)
    refunded = max(paid.refunded + on_the_way, case.estimate)
    return Shares(refunded, max(paid.outside, case.estimate_outside)), set(case.outside_lines.values())


def units_here(case: ReturnCase) -> bool:
    """Return whether the dock has counted any unit."""
    return any(counted_units(line) for line in case.lines)


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
