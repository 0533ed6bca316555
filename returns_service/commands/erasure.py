"""Forget a person: their words and names go out of rows, history, inbox and stored answers; the money's history stays.

Amounts, statuses, ids, times, who decided and Stripe's references are kept: they prove that money moved once.
Deliveries hold nothing of a person: the worker makes their bodies from the event as it is then. Stripe's own data about
its customer stays with Stripe: https://docs.stripe.com/disputes/data-redaction
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import col, or_, select

from returns_service.commands.erasure_copies import (
    forget_answers,
    forget_events,
    forget_inbox,
    holds_name,
    text_holds,
)
from returns_service.commands.erasure_words import METADATA_OF_OURS, Words
from returns_service.commands.photos import forget_photos
from returns_service.commands.portal_erasure import delete_photos, forget_sessions
from returns_service.commands.saved_views import forget_views
from returns_service.commands.search_index import index_refunds, index_return
from returns_service.commands.unmatched_receipts import of_tracking_numbers
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.refund_status import UNANSWERED
from returns_service.domain.search_text import normalise
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.events import Actor
from returns_service.return_case.loader import lock_case
from returns_service.return_case.locked_payment import lock_payment
from returns_service.return_case.transition import record_transition
from returns_service.store.database import Tx
from returns_service.store.metadata_value import MetadataValue
from returns_service.store.tables import (
    DockScan,
    Event,
    Payment,
    Refund,
    ReturnAuthorization,
    UnmatchedReceipt,
)

# The rest is found again by its order or payment: the address is forgotten.
NEW_METADATA_HOLDS = "An unanswered refund keeps what Stripe has to be asked with; once it is settled: forget {again}"
PARCEL_HOLDS = "Tracking numbers stay until the parcel is counted or the return closed; then: forget {again}"
UNFOLDED_HOLDS = "An event of Stripe's could not be understood yet and is kept; once it is: forget {again}"
JOURNAL_HOLDS = "The database's -wal file is being read and may hold what was erased: do it once more in a minute."
ADDRESS_ELSEWHERE = "The same address is on returns of another order: forget --order {order}"
NOTHING_FOUND = "No return holds this {named}, nor does anything else here."


@dataclass(frozen=True, slots=True)
class Person:
    """How the person to be forgotten is named: by an order, an e-mail address or a payment, one of them."""

    order_id: str | None = None
    email: str | None = None
    payment: str | None = None

    def check(self) -> None:
        """Raise Problem invalid_request unless exactly one name is given."""
        if sum(name is not None for name in (self.order_id, self.email, self.payment)) != 1:
            raise Problem("invalid_request", "Name an order, an e-mail address or a payment: one of them.")

    @property
    def word(self) -> str:
        """What kind of name it is."""
        return "order" if self.order_id is not None else "address" if self.email is not None else "payment"


@dataclass
class Forgotten:
    """Counts of redacted things by kind, and the things that had to stay for now."""

    returns: list[str] = field(default_factory=list)  # ids of the returns in which something was redacted
    counts: Counter[str] = field(default_factory=Counter)
    left: list[str] = field(default_factory=list)

    def count(self, kind: str, changed: bool | int) -> None:
        """Count one redacted thing, or several."""
        if changed:
            self.counts[kind] += int(changed)

    def leave(self, why: str) -> None:
        """Say once why something had to stay."""
        if why not in self.left:
            self.left.append(why)

    def to_json(self) -> dict[str, Any]:
        """Return it as it is printed; without personal data."""
        return {
            "object": "forgotten",
            "returns": self.returns,
            "redacted": dict(sorted(self.counts.items())),
            "left": self.left,
        }


async def forget(
    tx: Tx,
    by: Actor,
    policy: Policy,
    *,
    order_id: str | None = None,
    email: str | None = None,
    payment: str | None = None,
) -> Forgotten:
    """Redact what is personal in all returns, refunds, parcels and links of an order, a customer or a payment.

    `payment`: Stripe's id of it, or ours. Safe to do twice; the second finds nothing. Raises Problem invalid_request
    unless exactly one is named.
    """
    person = Person(order_id.strip() if order_id is not None else None, email, payment)
    person.check()
    found = await _find(tx, person)
    done, addresses = Forgotten(), {person.email} if person.email else set[str]()
    for payment_id, return_ids in sorted(found.items()):
        for return_id in return_ids:
            addresses |= await _forget_return(tx, by, policy, return_id, done)
        if not return_ids:
            await _forget_standalone(tx, policy, payment_id, [person.email], done)
    returns = [return_id for return_ids in found.values() for return_id in return_ids]
    await _forget_beside(tx, policy, person, list(found), returns, done)
    await _name_other_orders(tx, addresses, done)
    if not returns and not done.counts and not done.left:
        done.left.append(NOTHING_FOUND.format(named=person.word))
    return done


async def _find(tx: Tx, person: Person) -> dict[str, list[str]]:
    """Return the payments that hold something of the person, each with the ids of the returns that are theirs."""
    row = ReturnAuthorization
    found: dict[str, list[str]] = {}
    if person.email is not None:
        address = normalise(person.email)
        past = select(row).where(col(row.past_email_texts).is_not(None))
        earlier = [one.id for one in (await tx.exec(past)).all() if address in (one.past_email_texts or ())]
        mine = or_(col(row.email_text) == address, col(row.id).in_(earlier))
    elif person.order_id is not None:
        mine = col(row.order_id) == person.order_id
    else:
        payments = await _payments_named(tx, person.payment or "")
        found = {payment_id: [] for payment_id in payments}
        mine = col(row.payment_id).in_(payments)
    chosen = select(row.id, row.payment_id).where(mine).order_by(col(row.payment_id), col(row.id))
    for return_id, payment_id in (await tx.exec(chosen)).all():
        found.setdefault(payment_id, []).append(return_id)
    for payment_id in await _payments_of_standalone(tx, person):
        found.setdefault(payment_id, [])
    return found


async def _payments_named(tx: Tx, name: str) -> list[str]:
    chosen = select(Payment.id).where(
        or_(col(Payment.id) == name, col(Payment.payment_intent) == name, col(Payment.charge) == name)
    )
    return list((await tx.exec(chosen)).all())


async def _payments_of_standalone(tx: Tx, person: Person) -> list[str]:
    """Return the payments of refunds of no return that name the person in their metadata or notes."""
    alone = select(Refund).where(col(Refund.return_id).is_(None))
    if person.order_id is not None:
        of_order = alone.where(MetadataValue(Refund.details, "order_id") == person.order_id)
        return sorted({refund.payment_id for refund in (await tx.exec(of_order)).all()})
    if person.email is None:
        return []
    columns = ("details", "note", "reference", "breakdown", "parameters")
    likely = alone.where(or_(*(holds_name(getattr(Refund, column), [person.email]) for column in columns)))
    return sorted(
        {
            refund.payment_id
            for refund in (await tx.exec(likely)).all()
            if text_holds(json.dumps([getattr(refund, column) for column in columns]), [person.email])
        }
    )


async def _forget_beside(
    tx: Tx, policy: Policy, person: Person, payment_ids: list[str], returns: list[str], done: Forgotten
) -> None:
    """Redact what is beside returns and refunds: links of the portal, photos, parcels of nobody, answers, the inbox."""
    address = normalise(person.email) if person.email else None
    words = Words(policy, [person.email], order_id=person.order_id or "")
    of_payments = payment_ids if person.payment is not None else []
    sessions, photos = await forget_sessions(
        tx, words, order_id=person.order_id, email_text=address, payment_ids=of_payments, return_ids=returns
    )
    done.count("portal_sessions", sum(sessions.values()))
    done.count("photos", photos + await delete_photos(tx, [], returns))
    if person.order_id is not None and not returns:
        parcels = select(UnmatchedReceipt).where(col(UnmatchedReceipt.order_id) == person.order_id)
        for parcel in (await tx.exec(parcels)).all():
            _forget_parcel(words, parcel, done)
    names = [name for name in (person.email,) if name]
    done.count("views", await forget_views(tx, words.names))
    likely = select(UnmatchedReceipt).where(holds_name(UnmatchedReceipt.note, names))
    for parcel in (await tx.exec(likely)).all():
        if text_holds(parcel.note or "", names):
            _forget_parcel(words, parcel, done, keep=True)  # nobody knows whose it is: the rest still tells it apart
    done.count("answers", await forget_answers(tx, words, [*names, *sessions]))
    emptied, left = await forget_inbox(tx, names)
    done.count("inbox", emptied)
    if left:
        done.leave("An event of Stripe's could not be understood yet and is kept; once it is, forget them again.")


async def _name_other_orders(tx: Tx, addresses: set[str], done: Forgotten) -> None:
    """Say which other orders hold the addresses that were forgotten."""
    await tx.flush()
    texts = {normalise(address) for address in addresses}
    chosen = select(ReturnAuthorization.order_id).where(col(ReturnAuthorization.email_text).in_(texts)).distinct()
    for order_id in sorted((await tx.exec(chosen)).all()):
        done.leave(ADDRESS_ELSEWHERE.format(order=order_id))


async def _forget_return(tx: Tx, by: Actor, policy: Policy, return_id: str, done: Forgotten) -> set[str]:
    """Redact one return; return the addresses it held, as addresses are compared."""
    case = await lock_case(tx, by, policy, return_id)
    row = case.row
    addresses = {address for address in (row.email_text, *(row.past_email_texts or ())) if address}
    awaited = case.units_expected and row.closed_at is None and row.state not in ("declined", "canceled")
    words = Words(
        case.policy,
        [row.customer_email, row.customer_name, *await _earlier_names(tx, row.id)],
        order_id=row.order_id,
        return_id=row.id,
        codes=[code for line in case.lines for code in (line.sku, *(line.barcodes or ()))],
        keep_parcels=awaited,
    )
    before, again = done.counts.total(), f"--order {row.order_id}"
    refunds = [r for r in case.payment_refunds if r.return_id in (None, row.id)]
    done.count("returns", words.forget_row(row, ("internal_note",), ("reason",)))
    done.count("emails", words.clear(row, "customer_email"))
    words.put(row, email_text=None, past_email_texts=None)
    done.count("names", words.clear(row, "customer_name"))
    parcels = await _forget_parcels(tx, words, row, awaited, done)
    if awaited and row.tracking_numbers:
        done.leave(PARCEL_HOLDS.format(again=again))  # the dock knows the parcel by them
    else:
        done.count("tracking_numbers", words.put(row, tracking_numbers=[]))
    done.count("metadata", words.forget_values(row, "details", ()))
    done.count("views", await forget_views(tx, words.names))
    done.count("approvals", words.forget_trees(row, "approvals"))
    await _forget_units(tx, words, case, done)
    for refund in refunds:
        _forget_refund(words, refund, again, done)
    await tx.flush()
    await index_return(tx, row, case.lines)
    await index_refunds(tx, refunds)
    ids = [refund.id for refund in refunds]
    done.count("events", await forget_events(tx, words, row.payment_id, row.id, ids))
    done.count("answers", await forget_answers(tx, words, [row.id, *parcels, *ids, *words.addresses]))
    await _forget_news(tx, words, case.payment, refunds, again, done)
    if done.counts.total() > before:
        done.returns.append(row.id)
        await record_transition(case, "forget", row.state, None)
        await tx.flush()
    return addresses


async def _earlier_names(tx: Tx, return_id: str) -> set[str]:
    """Return the names and addresses that a return held at any time, as its history tells."""
    changes = ("return.created", "return.updated")
    chosen = select(Event.data).where(col(Event.return_id) == return_id, col(Event.type).in_(changes))
    shown = [data.get("object") for data in (await tx.exec(chosen)).all()]
    told = [one.get(name) for one in shown if isinstance(one, dict) for name in ("customer_email", "customer_name")]
    return {name for name in told if isinstance(name, str)}


async def _forget_units(tx: Tx, words: Words, case: ReturnCase, done: Forgotten) -> None:
    """Redact what is said of units: the return's lines, what the dock counted, and what it put aside."""
    for line in case.lines:
        changed = words.forget_row(line, ("title",), ("reason",))
        changed |= words.put(line, order_line=words.order_line(line.order_line))
        done.count("lines", changed)
    for receipt in case.receipts:
        changed = words.forget_row(receipt, ("reversed_reason",))
        done.count("receipts", words.put(receipt, scan_id=words.scan_id(receipt.scan_id)) or changed)
    for counts in case.receipt_lines:
        done.count("receipts", words.clear(counts, "scanned"))
    for item in case.undeclared:
        changed = words.forget_row(item, ("note",))
        done.count("undeclared", words.put(item, sku=words.code(item.sku)) or changed)
    for scan in (await tx.exec(select(DockScan).where(col(DockScan.return_id) == case.row.id))).all():
        changed = words.forget_row(scan, ("note",))
        done.count("scans", words.put(scan, code=words.code(scan.code)) or changed)


async def _forget_standalone(
    tx: Tx, policy: Policy, payment_id: str, names: Sequence[str | None], done: Forgotten
) -> None:
    """Redact the refunds of no return on a payment that has no return of the person's."""
    locked = await lock_payment(tx, payment_id)
    words, again = Words(policy, names), f"--payment {locked.row.payment_intent or locked.row.charge}"
    refunds = [refund for refund in locked.refunds if refund.return_id is None]
    for refund in refunds:
        _forget_refund(words, refund, again, done)
    await tx.flush()
    await index_refunds(tx, refunds)
    ids = [refund.id for refund in refunds]
    done.count("events", await forget_events(tx, words, payment_id, None, ids))
    done.count("answers", await forget_answers(tx, words, [payment_id, *ids]))
    await _forget_news(tx, words, locked.row, refunds, again, done)


async def _forget_parcels(tx: Tx, words: Words, row: ReturnAuthorization, awaited: bool, done: Forgotten) -> list[str]:
    """Redact the parcels that came without an authorization and are this return's or its order's; return their ids."""
    table, numbers = UnmatchedReceipt, row.tracking_numbers
    of_return = or_(col(table.order_id) == row.order_id, col(table.return_id) == row.id, of_tracking_numbers(numbers))
    parcels = (await tx.exec(select(table).where(of_return))).all()
    done.count("photos", await forget_photos(tx, [parcel.id for parcel in parcels]))
    for parcel in parcels:
        waits = awaited and parcel.receipt_id is None  # to be attached: its units are still to be counted
        if waits and parcel.tracking_number:
            done.leave(PARCEL_HOLDS.format(again=f"--order {row.order_id}"))
        _forget_parcel(words, parcel, done, keep=waits)
    return [parcel.id for parcel in parcels]


def _forget_parcel(words: Words, parcel: UnmatchedReceipt, done: Forgotten, *, keep: bool = False) -> None:
    """Redact a parcel of nobody. `keep`: leave what it is recognised and counted by."""
    done.count("unmatched", words.forget_row(parcel, ("note",)))
    if keep:
        return
    done.count("tracking_numbers", words.clear(parcel, "tracking_number"))
    items = [{**item, "sku": words.code(item["sku"])} for item in parcel.items]
    done.count("unmatched", words.put(parcel, tracking_text=None, items=items))


def _forget_refund(words: Words, refund: Refund, again: str, done: Forgotten) -> None:
    changed = words.forget_row(refund, (), ("note",))
    changed |= words.put(refund, reference=words.reference(refund.reference, refund.method))
    changed |= words.forget_trees(refund, "failure", "arrival", "next_action", "waiting_detail", "waits_for")
    done.count("refunds", changed)
    done.count("metadata", words.forget_values(refund, "details", METADATA_OF_OURS))
    done.count("breakdowns", words.forget_trees(refund, "breakdown"))
    done.count("parameters", words.forget_trees(refund, "past_parameters"))  # nothing is asked with them again
    if refund.status not in UNANSWERED:
        done.count("parameters", words.forget_trees(refund, "parameters"))
    elif words.tree(refund.parameters) != refund.parameters:
        done.leave(NEW_METADATA_HOLDS.format(again=again))


async def _forget_news(
    tx: Tx, words: Words, payment: Payment, refunds: Sequence[Refund], again: str, done: Forgotten
) -> None:
    """Empty Stripe's events about a payment and its refunds, and those that hold the person's address."""
    names = [payment.payment_intent, payment.charge, *(refund.stripe_refund for refund in refunds), *words.addresses]
    emptied, left = await forget_inbox(tx, [name for name in names if name])
    done.count("inbox", emptied)
    if left:
        done.leave(UNFOLDED_HOLDS.format(again=again))
