"""Forget a person: their words and names go out of rows, history, inbox and stored answers; the money's history stays.

Amounts, statuses, ids, times, who decided and Stripe's references are kept: they prove that money moved once. Free
text of people is replaced, since nobody can say whose name it holds; reasons out of the catalogue stay, because fees
depend on them. Deliveries hold nothing of a person: the worker makes their bodies from the event as it is then.
Stripe's own data about its customer stays with Stripe: https://docs.stripe.com/disputes/data-redaction
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import col, func, or_, select

from returns_service.commands.photos import forget_photos
from returns_service.commands.portal_erasure import delete_photos, forget_sessions
from returns_service.commands.saved_views import forget_views
from returns_service.commands.search_index import index_return
from returns_service.commands.unmatched_receipts import of_tracking_numbers
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.refund_status import UNANSWERED
from returns_service.domain.search_text import normalise
from returns_service.domain.vocabulary import STRIPE_REASONS
from returns_service.return_case.events import Actor
from returns_service.return_case.loader import lock_case
from returns_service.return_case.transition import RecordedTrigger, record_transition
from returns_service.store.database import Tx
from returns_service.store.tables import (
    DockScan,
    Event,
    IdempotencyKey,
    Receipt,
    Refund,
    ReturnAuthorization,
    StripeEvent,
    UndeclaredItem,
    UnmatchedReceipt,
)

REDACTED = "[forgotten]"
METADATA_OF_OURS = ("refund_id", "lines", "return_id", "order_id")  # metadata that the money is found again by
# Triggers whose reasons are this service's own words, or Stripe's.
SAID_BY_US: tuple[RecordedTrigger, ...] = (
    "refund_barred",
    "settle",
    "fail",
    "adopt",
    "withdraw",
    "take_back",
    "resolution",
)
FREE_TEXT = ("internal_note", "note", "override_reason", "reversed_reason")
# The rest is found again by its order: the address is forgotten.
NEW_METADATA_HOLDS = (
    "An unanswered refund keeps what Stripe has to be asked with; once it is settled: forget --order {order}"
)
PARCEL_HOLDS = "Tracking numbers stay until the parcel is counted or the return closed; then: forget --order {order}"
ADDRESS_ELSEWHERE = "The same address is on returns of another order: forget --order {order}"
NO_RETURN = "No return holds this {named}: nothing was looked for anywhere else."
UNFOLDED_HOLDS = "An event of Stripe's could not be understood yet and is kept; once it is: forget --order {order}"


@dataclass
class Forgotten:
    """Counts of redacted things by kind, and the things that had to stay for now."""

    returns: list[str] = field(default_factory=list)  # that something was redacted of
    counts: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)

    def shown(self) -> dict[str, Any]:
        """Return it as it is printed; without personal data."""
        return {
            "object": "forgotten",
            "returns": self.returns,
            "redacted": dict(sorted(self.counts.items())),
            "left": self.left,
        }


async def forget(
    tx: Tx, by: Actor, policy: Policy, *, order_id: str | None = None, email: str | None = None
) -> Forgotten:
    """Redact what is personal in all returns of an order, or of a customer. Safe to do twice; the second finds nothing.

    Raises Problem invalid_request unless exactly one is named.
    """
    if (order_id is None) == (email is None):
        raise Problem("invalid_request", "Name an order or an e-mail address, not both.")
    chosen = select(col(ReturnAuthorization.id), col(ReturnAuthorization.payment_id))
    if email is not None:
        chosen = chosen.where(col(ReturnAuthorization.email_text) == normalise(email))
    else:
        chosen = chosen.where(col(ReturnAuthorization.order_id) == (order_id or "").strip())
    ordered = chosen.order_by(col(ReturnAuthorization.payment_id), col(ReturnAuthorization.id))
    returns = (await tx.exec(ordered)).all()
    done, addresses = Forgotten(), set[str]()
    if not returns:
        done.left.append(NO_RETURN.format(named="order" if email is None else "address"))
    for return_id, _ in returns:
        addresses |= await _forget_return(tx, by, policy, return_id, done)
    order, address = (order_id.strip() if order_id is not None else None), normalise(email) if email else None
    sessions, photos = await forget_sessions(tx, order_id=order, email_text=address)
    photos += await delete_photos(tx, [], [return_id for return_id, _ in returns])
    done.counts += Counter({"portal_sessions": sessions, "photos": photos})
    await _name_other_orders(tx, addresses, done)
    return done


async def _name_other_orders(tx: Tx, addresses: set[str], done: Forgotten) -> None:
    """Say which other orders hold the addresses that were forgotten."""
    await tx.flush()
    chosen = select(ReturnAuthorization.order_id).where(col(ReturnAuthorization.email_text).in_(addresses)).distinct()
    for order_id in sorted((await tx.exec(chosen)).all()):
        done.left.append(ADDRESS_ELSEWHERE.format(order=order_id))


async def _forget_return(tx: Tx, by: Actor, policy: Policy, return_id: str, done: Forgotten) -> set[str]:
    """Redact one return; return the address it held, as addresses are compared."""
    case = await lock_case(tx, by, policy, return_id)
    row, policy = case.row, case.policy
    addresses = {row.email_text} if row.email_text else set[str]()
    awaited = case.units_expected and row.closed_at is None and row.state not in ("declined", "canceled")
    words = Words(policy, [row.customer_email, row.customer_name], keep_parcels=awaited)
    before = done.counts.total()
    refunds = [r for r in case.payment_refunds if r.return_id in (None, row.id)]
    _count(done, "returns", words.forget_row(row, ("internal_note",), ("reason",)))
    _count(done, "emails", words.clear(row, "customer_email"))
    row.email_text = None
    _count(done, "names", words.clear(row, "customer_name"))
    parcels = await _forget_parcels(tx, words, row, awaited, done)
    if awaited and row.tracking_numbers:
        _leave(done, PARCEL_HOLDS, row)  # the dock knows the parcel by them
    elif row.tracking_numbers:
        row.tracking_numbers = []
        _count(done, "tracking_numbers", True)
    _count(done, "metadata", words.forget_values(row, "details", ()))
    done.counts["views"] += await forget_views(tx, words.names)
    _count(done, "approvals", words.forget_tree(row, "approvals"))
    for line in case.lines:
        _count(done, "lines", words.forget_row(line, (), ("reason",)))
        _count(done, "lines", words.forget_tree(line, "title"))
    for receipt in (await tx.exec(select(Receipt).where(col(Receipt.return_id) == row.id))).all():
        _count(done, "receipts", words.forget_row(receipt, ("reversed_reason",), ()))
    for item in (await tx.exec(select(UndeclaredItem).where(col(UndeclaredItem.return_id) == row.id))).all():
        _count(done, "undeclared", words.forget_row(item, ("note",), ()))
    for scan in (await tx.exec(select(DockScan).where(col(DockScan.return_id) == row.id))).all():
        _count(done, "scans", words.forget_row(scan, ("note",), ()))
    for refund in refunds:
        _forget_refund(words, refund, row, done)
    await tx.flush()
    await index_return(tx, row, case.lines)
    await _forget_events(tx, words, row, refunds, done)
    await _forget_answers(tx, words, [row.id, *parcels, *(refund.id for refund in refunds)], done)
    names = [case.payment.payment_intent, case.payment.charge, *(refund.stripe_refund for refund in refunds)]
    await _forget_inbox(tx, [name for name in (*names, *words.addresses) if name], row, done)
    if done.counts.total() > before:
        done.returns.append(row.id)
        await record_transition(case, "forget", row.state, None)
        await tx.flush()
    return addresses


async def _forget_parcels(tx: Tx, words: Words, row: ReturnAuthorization, awaited: bool, done: Forgotten) -> list[str]:
    """Redact the parcels that came without an authorization and are this return's or its order's; return their ids."""
    table, numbers = UnmatchedReceipt, row.tracking_numbers
    of_return = or_(col(table.order_id) == row.order_id, col(table.return_id) == row.id, of_tracking_numbers(numbers))
    parcels = (await tx.exec(select(table).where(of_return))).all()
    done.counts["photos"] += await forget_photos(tx, [parcel.id for parcel in parcels])
    for parcel in parcels:
        _count(done, "unmatched", words.forget_row(parcel, ("note",), ()))
        if awaited and parcel.receipt_id is None and parcel.tracking_number:
            _leave(done, PARCEL_HOLDS, row)
            continue
        _count(done, "tracking_numbers", words.clear(parcel, "tracking_number"))
        parcel.tracking_text = None
    return [parcel.id for parcel in parcels]


def _forget_refund(words: Words, refund: Refund, row: ReturnAuthorization, done: Forgotten) -> None:
    _count(done, "refunds", words.forget_row(refund, (), ("note",)))
    _count(done, "metadata", words.forget_values(refund, "details", METADATA_OF_OURS))
    _count(done, "breakdowns", words.forget_tree(refund, "breakdown"))
    _count(done, "refunds", words.forget_tree(refund, "failure"))
    _count(done, "parameters", words.forget_tree(refund, "past_parameters"))  # nothing is asked with them again
    if refund.status not in UNANSWERED:
        _count(done, "parameters", words.forget_tree(refund, "parameters"))
    elif words.tree(refund.parameters) != refund.parameters:
        _leave(done, NEW_METADATA_HOLDS, row)


async def _forget_events(
    tx: Tx, words: Words, row: ReturnAuthorization, refunds: Iterable[Refund], done: Forgotten
) -> None:
    """Redact the copies that the history holds: of the return, its refunds, and the payment as a whole."""
    mine = col(Event.return_id) == row.id
    of_refunds = col(Event.refund_id).in_([refund.id for refund in refunds])
    of_payment = (
        (col(Event.payment_id) == row.payment_id) & col(Event.return_id).is_(None) & col(Event.refund_id).is_(None)
    )
    for event in (await tx.exec(select(Event).where(or_(mine, of_refunds, of_payment)))).all():
        _count(done, "events", words.forget_tree(event, "data"))


async def _forget_answers(tx: Tx, words: Words, ids: list[str], done: Forgotten) -> None:
    """Redact answers that are kept to be replayed: they stay, or a repeated request would do its work again."""
    named = or_(*(col(IdempotencyKey.body).contains(name, autoescape=True) for name in ids))
    for stored in (await tx.exec(select(IdempotencyKey).where(named))).all():
        try:
            answer = json.loads(stored.body or "null")
        except ValueError:
            continue
        less = words.tree(answer)
        if less != answer:
            stored.body = json.dumps(less, ensure_ascii=False, separators=(",", ":"))
            _count(done, "answers", True)


async def _forget_inbox(tx: Tx, names: list[str], row: ReturnAuthorization, done: Forgotten) -> None:
    """Empty Stripe's events that name the payment or the person; one not folded yet is the only copy of its news."""
    low = func.lower(col(StripeEvent.payload))
    # JSON may write an Ü as \u00dc, and SQLite's `lower` leaves it as it is: the database only looks for a plain part.
    parts = {max(re.findall(r"[ -~]+", name), key=len, default="").lower() for name in names}
    likely = or_(*(low.contains(part, autoescape=True) for part in parts))
    meant = [normalise(name) for name in names]
    for event in (await tx.exec(select(StripeEvent).where(likely, col(StripeEvent.payload) != ""))).all():
        if not _names_one(event.payload, meant):
            continue
        if event.processed_at is None:
            _leave(done, UNFOLDED_HOLDS, row)
            continue
        event.payload = ""
        _count(done, "inbox", True)


def _names_one(payload: str, names: Iterable[str]) -> bool:
    """Return whether an event's JSON holds one of the names, as text is compared."""
    try:
        plain = json.dumps(json.loads(payload), ensure_ascii=False)
    except ValueError:
        plain = payload
    text = normalise(plain)
    return any(name in text for name in names)


def _leave(done: Forgotten, why: str, row: ReturnAuthorization) -> None:
    said = why.format(order=row.order_id)
    if said not in done.left:
        done.left.append(said)


def _count(done: Forgotten, kind: str, changed: bool) -> None:
    if changed:
        done.counts[kind] += 1


class Words:
    """Tells free words of people from what must stay."""

    def __init__(self, policy: Policy, names: Iterable[str | None], *, keep_parcels: bool = False) -> None:
        self.kept = {*policy.reasons, *STRIPE_REASONS, REDACTED}
        self.emptied: dict[str, Any] = {"customer_email": None, "customer_name": None}
        if not keep_parcels:
            self.emptied |= {"tracking_numbers": [], "tracking_number": None}
        known = [name for name in names if name]
        self.addresses = [name for name in known if "@" in name]
        # A single word ("May", "Open") would be found in texts that aren't about the person.
        self.names = [text for text in map(normalise, known) if "@" in text or " " in text]

    def word(self, text: Any) -> Any:
        """Return a reason or note: a word of the catalogue as it is, all else forgotten."""
        return text if text is None or text == "" or text in self.kept else REDACTED

    def plain(self, text: str) -> str:
        """Return any other text, forgotten where it holds one of the person's names."""
        low = normalise(text)
        return REDACTED if any(name in low for name in self.names) else text

    def forget_row(self, row: Any, free: tuple[str, ...], catalogued: tuple[str, ...]) -> bool:
        """Forget columns of free text, and reasons that are in no catalogue; return whether one changed."""
        changed = False
        for name in (*free, *catalogued):
            old = getattr(row, name)
            new = self.word(old) if name in catalogued else old and REDACTED
            if new != old:
                setattr(row, name, new)
                changed = True
        return changed

    def clear(self, row: Any, name: str) -> bool:
        """Empty a column; return whether it held something."""
        held = getattr(row, name) is not None
        setattr(row, name, None)
        return held

    def forget_values(self, row: Any, name: str, kept: tuple[str, ...]) -> bool:
        """Forget the values of metadata; its keys stay."""
        return self._put(row, name, self._values(getattr(row, name), kept))

    def forget_tree(self, row: Any, name: str) -> bool:
        """Forget what is personal anywhere in a JSON column."""
        return self._put(row, name, self.tree(getattr(row, name)))

    def tree(self, value: Any, under: str = "") -> Any:
        """Return JSON without what is personal in it, at any depth."""
        if isinstance(value, list):
            return [self.tree(one, under) for one in value]
        if isinstance(value, str):
            return self.plain(value)
        if not isinstance(value, dict):
            return value
        less: dict[str, Any] = {}
        for name, one in value.items():
            if name in self.emptied:
                less[name] = self.emptied[name]
            elif name == "metadata" and isinstance(one, dict):
                less[name] = self._values(one, METADATA_OF_OURS)
            elif isinstance(one, str) and _is_said_by_people(name, value, under):
                less[name] = self.word(one)
            else:
                less[name] = self.tree(one, "policy" if under == "policy" else name)
        return less

    def _values(self, metadata: Mapping[str, Any], kept: tuple[str, ...]) -> dict[str, Any]:
        return {name: value if name in kept or value == "" else REDACTED for name, value in metadata.items()}

    def _put(self, row: Any, name: str, new: Any) -> bool:
        if new == getattr(row, name):
            return False
        setattr(row, name, new)
        return True


def _is_said_by_people(name: str, of: Mapping[str, Any], under: str) -> bool:
    """Return whether a field of an object holds words that a person wrote."""
    if under in ("policy", "refund_barred", "barred_actions"):
        return False
    if name == "reason":
        return of.get("trigger") not in SAID_BY_US
    return name in FREE_TEXT or (name == "description" and bool(of.get("adjustment")))
