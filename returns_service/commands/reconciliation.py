"""Stripe's ledger against ours: what differs on one payment, why, and what of it the fold may repair.

A comparison is of two moments, so nothing is believed at first sight: the stream only names suspects, and each of
them is read afresh before it is written down. Repairs go through the fold and nowhere else; a difference that needs a
person is left, and reported.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlmodel import col, select

from returns_service.commands.found_refunds import REFUND_ID
from returns_service.commands.stripe_fold import (
    NO_OBSERVATIONS,
    adopt_payment,
    apply_payment,
    apply_refund,
    find_owner,
    is_dealt_with,
)
from returns_service.domain.policy import Policy
from returns_service.domain.refund_mark import read_mark
from returns_service.domain.refund_status import FINAL, UNANSWERED
from returns_service.domain.stripe_objects import PaymentSnapshot, RefundSnapshot
from returns_service.domain.vocabulary import DifferenceCode, DifferenceOutcome
from returns_service.return_case.events import Actor
from returns_service.return_case.locked_payment import find_payment_id, lock_payment
from returns_service.store.database import Tx, insert_ignore
from returns_service.store.tables import ReconciliationDifference, Refund, ReturnAuthorization, ReturnLine

Named = tuple[str | None, str | None]  # a payment by Stripe's ids: PaymentIntent, charge
Stand = tuple[int, str, str | None]  # of a row: its count of news, its status, Stripe's refund


@dataclass(frozen=True, slots=True)
class StandAtRead:
    """Where a payment and its rows stand when a read of it begins. A row that moves later knows more than the read."""

    observations: int = NO_OBSERVATIONS  # the payment's count
    rows: Mapping[str, Stand] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that a comparison met. `differs`: the ledgers don't agree; otherwise it is for information."""

    code: DifferenceCode
    cause: str
    seen: RefundSnapshot | None = None
    row: Refund | None = None
    advice: str | None = None
    differs: bool = True
    safe: bool = True  # to be repaired by the fold

    @property
    def key(self) -> tuple[DifferenceCode, str]:
        """What tells it from all else of a run."""
        return self.code, self.seen.id if self.seen else self.row.id if self.row else ""


def agrees(row: Refund, seen: RefundSnapshot) -> bool:
    """Return whether our row and Stripe's refund say the same about the money."""
    return (row.amount, row.currency, row.status) == (seen.amount, seen.currency, seen.status)


def compare(
    refunds: list[Refund], at_stripe: Sequence[RefundSnapshot], elsewhere: Collection[str] = ()
) -> list[Finding]:
    """Return all that differs between our rows and Stripe's refunds of one payment, and what is worth knowing.

    `elsewhere`: ids that these name and that are rows of other payments.
    """
    found = []
    for seen in at_stripe:
        row = find_owner(refunds, seen)
        one = _compare_row(row, seen) if row else _explain_missing_row(refunds, seen, elsewhere)
        if one is not None:
            found.append(one)
    listed = {seen.id for seen in at_stripe}
    taken = {row.id for row in (find_owner(refunds, seen) for seen in at_stripe) if row}
    for row in refunds:
        if row.stripe_refund and row.stripe_refund not in listed:
            found.append(_missing_at_stripe(row))
        elif row.status == "unknown" and row.id not in taken:
            found.append(still_open(row))
    return found


def _compare_row(row: Refund, seen: RefundSnapshot) -> Finding | None:
    if (row.amount, row.currency) != (seen.amount, seen.currency):
        return Finding(
            "other_amount",
            f"{seen.id} moved {seen.amount} {seen.currency} at Stripe; here it is {row.amount} {row.currency}.",
            seen,
            row,
            "Amounts never change at Stripe: find out who changed the row, or whose ledger was restored here.",
            safe=False,
        )
    if row.stripe_refund is None:
        return Finding(
            "other_status",
            f"`{row.status}` here, but Stripe made {seen.id} for it and calls it {seen.status}: "
            "the answer and its webhook never arrived.",
            seen,
            row,
        )
    if row.status != seen.status:
        final = row.status in ("failed", "canceled")
        return Finding(
            "other_status",
            f"{seen.status} at Stripe, `{row.status}` here: "
            + ("here it had ended for good." if final else "the news of it never arrived."),
            seen,
            row,
            "Look at it in Stripe's Dashboard: a refund that has failed or was canceled moves no more."
            if final
            else None,
            safe=not final,
        )
    return external(row, seen) if row.source == "external" else None


def external(row: Refund, seen: RefundSnapshot) -> Finding:
    """Return what is known of a refund that was made outside, and of a second one for one intent."""
    if row.duplicate_of:
        advice = f"Both {row.id} and {row.duplicate_of} may have paid: see the desk."
        return Finding("two_for_one_intent", _two(row.duplicate_of), seen, row, advice, differs=False)
    return Finding("external", "Made outside this service; counted in the payment here.", seen, row, differs=False)


def _two(named: str) -> str:
    return f"Stripe holds a second refund for {named}, or one for an intent that was dealt with otherwise."


def _explain_missing_row(refunds: list[Refund], seen: RefundSnapshot, elsewhere: Collection[str]) -> Finding:
    """Return the finding about a refund of Stripe's that has no row."""
    word = seen.metadata.get("refund_id", "")
    named = next((row for row in refunds if row.id == word), None)
    if named is not None and named.stripe_refund is None and not is_dealt_with(refunds, named):
        cause = f"Stripe's refund names {named.id}, but moved {seen.amount}; here {named.amount} was decided."
        return Finding("other_amount", cause, seen, named, "It gets a row of its own; the intent itself stays open.")
    if named is not None:
        return Finding("two_for_one_intent", _two(named.id), seen, named, "It gets a row of its own: see the desk.")
    if word in elsewhere:
        cause = f"Stripe's refund names {word}, which is of another payment."
        return Finding("two_for_one_intent", cause, seen, None, "It gets a row of its own: see the desk.")
    if REFUND_ID.match(word):
        cause = f"Stripe made it for {word}, which is not here: the database was restored from before it was made."
        return Finding("missing_here", cause, seen)
    return Finding("missing_here", "Made outside this service, and the news of it never arrived.", seen)


def _missing_at_stripe(row: Refund) -> Finding:
    return Finding(
        "missing_at_stripe",
        f"`{row.status}` here as {row.stripe_refund}, which Stripe doesn't know.",
        None,
        row,
        "Was the account, the mode or the database changed? Nothing is changed here.",
        safe=False,
    )


def still_open(row: Refund) -> Finding:
    """Return an intent whose outcome nobody knows, with nothing at Stripe so far."""
    cause = "Nobody knows whether it was made; Stripe has nothing for it so far, and is asked again."
    return Finding("open", cause, None, row, differs=False)


def stand_of(row: Refund) -> Stand:
    """Return what tells whether a row has heard from Stripe meanwhile."""
    return row.observations, row.status, row.stripe_refund


def is_under_way(row: Refund, tx: Tx) -> bool:
    """Return whether a worker is speaking with Stripe about it right now."""
    return row.status in UNANSWERED and row.lease_until is not None and row.lease_until > tx.now


async def examine(
    tx: Tx,
    by: Actor,
    policy: Policy,
    run_id: str,
    name: Named,
    seen: PaymentSnapshot | None,
    stood: StandAtRead,
    *,
    fix: bool,
) -> None:
    """Compare one payment that was just read (None: Stripe has none), repair what is safe, and write it all down.

    `stood`: as things were when the read began. A row that has moved since is left to the next comparison.
    """
    payment_id = await find_payment_id(tx, payment_intent=name[0], charge=name[1])
    refunds = await _refunds_of(tx, payment_id)
    at_stripe = () if seen is None else seen.refunds
    if payment_id is None and not any(REFUND_ID.match(one.metadata.get("refund_id", "")) for one in at_stripe):
        return
    under_way = {row.id for row in refunds if is_under_way(row, tx) or stood.rows.get(row.id) != stand_of(row)}
    elsewhere = await _named_elsewhere(tx, refunds, at_stripe)
    before = [one for one in compare(refunds, at_stripe, elsewhere) if not (one.row and one.row.id in under_way)]
    described = {one.key: _describe(one) for one in before}  # rows change below: what they were is what differed
    after: dict[tuple[DifferenceCode, str], Finding] = {}
    if fix and seen is not None and any(one.differs and one.safe for one in before):
        refunds = await _repair(tx, by, policy, payment_id, seen, stood)
        after = {one.key: one for one in compare(refunds, at_stripe, elsewhere)}
    elif fix:
        after = {one.key: one for one in before}
    for one in before:
        if not one.differs:
            outcome: DifferenceOutcome = "information"
        elif not fix:
            outcome = "found"
        else:
            outcome = "left" if one.key in after and after[one.key].differs else "fixed"
        now_owned = find_owner(refunds, one.seen) if one.seen and outcome == "fixed" else None
        await _note(tx, run_id, name, one.code, outcome, described[one.key], now_owned)
    for one in before:
        if fix and one.code == "missing_here" and one.seen and (row := find_owner(refunds, one.seen)):
            await _note_what_is_lost(tx, run_id, name, one.seen, row, refunds)


async def _named_elsewhere(tx: Tx, refunds: list[Refund], at_stripe: Sequence[RefundSnapshot]) -> set[str]:
    """Return the ids that these refunds name and that are rows of other payments."""
    words = {word for seen in at_stripe if REFUND_ID.match(word := seen.metadata.get("refund_id", ""))}
    words -= {row.id for row in refunds}
    return set((await tx.exec(select(Refund.id).where(col(Refund.id).in_(words)))).all()) if words else set()


async def _refunds_of(tx: Tx, payment_id: str | None) -> list[Refund]:
    if payment_id is None:
        return []
    chosen = select(Refund).where(col(Refund.payment_id) == payment_id).order_by(col(Refund.id))
    return list((await tx.exec(chosen)).all())


async def _repair(
    tx: Tx, by: Actor, policy: Policy, payment_id: str | None, seen: PaymentSnapshot, stood: StandAtRead
) -> list[Refund]:
    """Fold what was read, under the payment's lock; return its rows as they are then."""
    if payment_id is None:
        return (await adopt_payment(tx, by, policy, seen)).refunds
    locked = await lock_payment(tx, payment_id)
    for one in seen.refunds:  # a read that no news has overtaken may also lower a status
        row = find_owner(locked.refunds, one)
        if row is not None and row.stripe_refund and row.status != one.status:
            since = stood.rows[row.id][0] if row.id in stood.rows else None
            await apply_refund(locked, by, policy, one, observations_at_start=since, of=row.id)
    await apply_payment(locked, by, policy, seen, observations_at_start=stood.observations)
    return locked.refunds


async def _note_what_is_lost(
    tx: Tx, run_id: str, name: Named, seen: RefundSnapshot, row: Refund, refunds: list[Refund]
) -> None:
    """Write down what could not be rebuilt with an adopted refund: its return, or the receipts behind its units."""
    mark = read_mark(seen.metadata)
    lost_return = mark.return_id if mark is not None else None
    if row.source == "external" or (row.return_id is None and not lost_return):
        return
    if row.return_id is None:
        cause = f"Its return {lost_return} of order {seen.metadata.get('order_id', '?')} is not in this database."
        advice: str | None = f"If the return is made again, its {row.amount} {row.currency} are paid already: close it."
    else:
        kept = await tx.get_one(ReturnAuthorization, row.return_id)
        units = await _units_without_receipt(tx, row, refunds)
        cause = f"{row.id} paid {units}." if units else f"{row.id} was found again under its return."
        advice = "Count the parcel again: what was paid is not paid twice." if units else None
        failed = [r.id for r in refunds if r.return_id == kept.id and r.status in FINAL and r.superseded_at is None]
        if failed:
            words = ", ".join(failed)
            advice = f"{row.id} may be the retry of {words}, which failed here: don't retry that before you know."
        if kept.state in ("declined", "canceled"):
            advice = f"Its return is {kept.state} here, from before the money moved: a person should look at it."
    cause += " Receipts, notes, approvals and the history since the backup are not at Stripe: they couldn't be rebuilt."
    found = Finding("not_rebuilt", cause, seen, row, advice, differs=False)
    await _note(tx, run_id, name, "not_rebuilt", "information", _describe(found), row)


async def _units_without_receipt(tx: Tx, row: Refund, refunds: list[Refund]) -> str:
    """Return, in words, the units that refunds of the return paid and no receipt here counts."""
    if any(part["kind"] == "unallocated" for part in row.breakdown):
        return "units that are not known"
    mine = {part["line"] for part in row.breakdown if part.get("line")}
    lines = (await tx.exec(select(ReturnLine).where(col(ReturnLine.return_id) == row.return_id))).all()
    words = []
    for line in sorted(lines, key=lambda line: line.position):
        paid = sum(
            part.get("units", 0)
            for refund in refunds
            if refund.return_id == row.return_id and refund.status not in ("failed", "canceled", "withdrawn")
            for part in refund.breakdown
            if part.get("line") == line.id and part["kind"] == "line"
        )
        more = paid - sum(line.accepted.values())
        if more > 0 and line.id in mine:
            words.append(f"{more} × {line.sku}")
    return f"{', '.join(words)} that no receipt here counts" if words else ""


def _describe(one: Finding) -> dict[str, Any]:
    """Return a difference as it is stored, as it was before any repair."""
    row, seen = one.row, one.seen
    return {
        "subject": one.key[1],
        "differs": one.differs,
        "cause": one.cause,
        "advice": one.advice,
        "stripe_refund": seen.id if seen else row.stripe_refund if row else None,
        "refund_id": row.id if row else seen.metadata.get("refund_id") if seen else None,
        "return_id": row.return_id if row else _named_return(seen) if seen else None,
        "currency": seen.currency if seen else row.currency if row else None,
        "amount_here": row.amount if row else None,
        "amount_at_stripe": seen.amount if seen else None,
        "status_here": row.status if row else None,
        "status_at_stripe": seen.status if seen else None,
    }


def _named_return(seen: RefundSnapshot) -> str | None:
    """Return the return that a refund of Stripe's names: by our mark, or made outside, by its metadata."""
    mark = read_mark(seen.metadata)
    if mark is not None:
        return mark.return_id
    return None if REFUND_ID.match(seen.metadata.get("refund_id", "")) else seen.metadata.get("return_id")


async def _note(
    tx: Tx,
    run_id: str,
    name: Named,
    code: DifferenceCode,
    outcome: DifferenceOutcome,
    difference: Mapping[str, Any],
    row: Refund | None = None,
) -> None:
    """Write one row of the report, once a run."""
    ids = {"refund_id": row.id, "return_id": row.return_id} if row else {}
    values = {
        **difference,
        **ids,
        "id": tx.new_id("dif"),
        "run_id": run_id,
        "code": code,
        "outcome": outcome,
        "payment_intent": name[0],
        "charge": name[1],
        "created_at": tx.now,
    }
    await insert_ignore(tx, ReconciliationDifference, values)


async def note_information(tx: Tx, run_id: str, found: Iterable[Finding]) -> None:
    """Write down what agrees but is worth knowing."""
    for one in found:
        if one.seen is not None:
            name = (one.seen.payment_intent, one.seen.charge)
            await _note(tx, run_id, name, one.code, "information", _describe(one))
