"""What the dock looks at: the return that a code or some words mean, and the parcels received since a moment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import or_
from sqlmodel import col, select

from returns_service.domain.policy import Policy
from returns_service.domain.scan import return_named_in
from returns_service.domain.search_text import join_words, words_in
from returns_service.queries.returns import MOST_WORDS, finds_often, return_ids
from returns_service.return_case.case import ReturnCase
from returns_service.return_case.loader import load_cases
from returns_service.return_case.reversal import reversible
from returns_service.return_case.rows import counted_units
from returns_service.store.database import Tx
from returns_service.store.ids import first_id
from returns_service.store.tables import Receipt, ReturnAuthorization, SearchWord, UnmatchedReceipt

MOST_MATCHES = 20
MOST_PARCELS = 50


@dataclass(frozen=True, slots=True)
class ParcelMatch:
    """A return that a search found, with what its parcel should hold."""

    return_id: str
    order_id: str
    customer: str | None  # their name, else their address
    state: str
    units: int  # still expected
    what: str
    asked_at: datetime


@dataclass(frozen=True, slots=True)
class Parcel:
    """A receipt as the dock remembers it."""

    receipt_id: str
    return_id: str
    order_id: str
    units: int
    aside: int
    conditions: Sequence[str]  # other than new
    at: datetime
    by: str
    can_be_taken_back: bool


async def return_for_code(tx: Tx, code: str) -> str | None:
    """Return the id of the one return that a clean code names.

    By its id or an address of it, its slip's ten digits, its order, or a tracking number of its parcels.
    """
    row = ReturnAuthorization
    named = return_named_in(code)
    if named is not None:
        of = or_(col(row.id) == named, col(row.slip_code) == named)
        if (found := (await tx.exec(select(row.id).where(of))).first()) is not None:
            return found
    by_order = (await tx.exec(select(row.id).where(col(row.order_id) == code).limit(2))).all()
    if by_order:
        return by_order[0] if len(by_order) == 1 else None
    return await _return_for_tracking_number(tx, join_words(code))


async def _return_for_tracking_number(tx: Tx, number: str) -> str | None:
    row = ReturnAuthorization
    chosen = select(row.id, row.tracking_numbers).join(SearchWord, col(SearchWord.return_id) == col(row.id))
    found = (await tx.exec(chosen.where(col(SearchWord.word) == number).limit(MOST_MATCHES))).all()
    ids = {return_id for return_id, numbers in found if number in map(join_words, numbers)}
    return ids.pop() if len(ids) == 1 else None


async def parcel_for_number(tx: Tx, code: str) -> str | None:
    """Return the id of the parcel of nobody that has this number, with or without blanks."""
    chosen = select(UnmatchedReceipt.id).where(col(UnmatchedReceipt.number) == join_words(code))
    return (await tx.exec(chosen)).first()


async def find_parcels(tx: Tx, policy: Policy, words: str) -> list[ParcelMatch]:
    """Return the returns that people may mean by some words: those that wait for units first, then the newest."""
    words = " ".join(words_in(words)[:MOST_WORDS])
    chosen = return_ids(words=words, frequent=await finds_often(tx, words))
    newest = chosen.order_by(col(ReturnAuthorization.id).desc()).limit(MOST_MATCHES)
    matches = [_match(case) for case in await load_cases(tx, policy, (await tx.exec(newest)).all())]
    return sorted(matches, key=lambda match: not match.units)


def _match(case: ReturnCase) -> ParcelMatch:
    waits = case.row.closed_at is None and case.row.state not in ("declined", "canceled")
    open_lines = [line for line in case.lines if waits and counted_units(line) < line.quantity]
    names = [line.title or line.sku for line in open_lines]
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ParcelMatch(
        case.row.id, case.row.order_id, case.row.customer_name or case.row.customer_email, case.row.state,
        sum(line.quantity - counted_units(line) for line in open_lines), ", ".join(names[:3]) + more,
        case.row.created_at,
    )  # fmt: skip


async def parcels_since(tx: Tx, policy: Policy, since: datetime) -> list[Parcel]:
    """Return the standing receipts since a moment, newest first."""
    chosen = select(Receipt).where(col(Receipt.id) >= first_id("rcp", since), col(Receipt.created_at) >= since)
    chosen = chosen.where(col(Receipt.reversed_at).is_(None))
    receipts = (await tx.exec(chosen.order_by(col(Receipt.id).desc()).limit(MOST_PARCELS))).all()
    cases = {case.row.id: case for case in await load_cases(tx, policy, sorted({r.return_id for r in receipts}))}
    return [_parcel(cases[receipt.return_id], receipt) for receipt in receipts]


async def parcel_of(tx: Tx, policy: Policy, receipt_id: str) -> Parcel | None:
    """Return one standing receipt; None if there is none."""
    receipt = await tx.get(Receipt, receipt_id)
    if receipt is None or receipt.reversed_at is not None:
        return None
    return _parcel((await load_cases(tx, policy, [receipt.return_id]))[0], receipt)


def _parcel(case: ReturnCase, receipt: Receipt) -> Parcel:
    lines = [row for row in case.receipt_lines if row.receipt_id == receipt.id]
    aside = [item for item in case.undeclared if item.receipt_id == receipt.id]
    return Parcel(
        receipt.id, receipt.return_id, case.row.order_id, sum(row.quantity for row in lines),
        sum(item.quantity for item in aside), sorted({row.condition for row in lines} - {"new"}), receipt.created_at,
        receipt.received_by, any(one is receipt for one in reversible(case)),
    )  # fmt: skip


async def parcels_of_nobody(tx: Tx) -> Sequence[UnmatchedReceipt]:
    """Return the parcels that wait for their return, newest first."""
    chosen = select(UnmatchedReceipt).where(col(UnmatchedReceipt.receipt_id).is_(None))
    return (await tx.exec(chosen.order_by(col(UnmatchedReceipt.id).desc()).limit(MOST_PARCELS))).all()
