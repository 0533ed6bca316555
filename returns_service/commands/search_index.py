"""What returns and refunds are found by: their words, kept in the transaction that changes them, and slip codes."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import bindparam, delete
from sqlmodel import col, insert, select

from returns_service.domain.policy import Policy
from returns_service.domain.search_text import metadata_word, normalise, searchable
from returns_service.domain.slip_code import slip_code
from returns_service.return_case.events import Actor
from returns_service.return_case.loader import lock_case
from returns_service.return_case.locked_payment import words_of as words_of_refund
from returns_service.return_case.transition import record_return
from returns_service.store.database import Tx
from returns_service.store.tables import (
    Refund,
    RefundWord,
    ReturnAuthorization,
    ReturnLine,
    SearchWord,
    UnmatchedReceipt,
)

# Built once: each new return runs it.
TAKEN = (
    select(ReturnAuthorization.id)
    .where(col(ReturnAuthorization.slip_code) == bindparam("code"))
    .union_all(select(UnmatchedReceipt.id).where(col(UnmatchedReceipt.number) == bindparam("code")))
    .limit(1)
)


def words_of(row: ReturnAuthorization, lines: Sequence[ReturnLine]) -> set[str]:
    """Return the words by whose prefixes a return is found, and those of its metadata."""
    codes = [row.id, row.order_id, row.slip_code, *row.tracking_numbers, *(line.sku for line in lines)]
    metadata = {metadata_word(key, value) for key, value in row.details.items()}
    return searchable([row.customer_email, row.customer_name], codes) | metadata


async def index_return(tx: Tx, row: ReturnAuthorization, lines: Sequence[ReturnLine], *, is_new: bool = False) -> None:
    """Bring the words of a return up to date with its row and lines."""
    wanted = words_of(row, lines)
    stored: set[str] = set()
    if not is_new:
        stored = set((await tx.exec(select(SearchWord.word).where(col(SearchWord.return_id) == row.id))).all())
    if gone := stored - wanted:
        chosen = delete(SearchWord).where(col(SearchWord.return_id) == row.id, col(SearchWord.word).in_(gone))
        await tx.execute(chosen)
    if fresh := sorted(wanted - stored):
        await tx.execute(insert(SearchWord), [{"return_id": row.id, "word": word} for word in fresh])


async def index_refunds(tx: Tx, refunds: Sequence[Refund]) -> None:
    """Bring the words of refunds up to date with their metadata."""
    await tx.execute(delete(RefundWord).where(col(RefundWord.refund_id).in_([refund.id for refund in refunds])))
    tx.add_all([word for refund in refunds for word in words_of_refund(refund)])


async def complete(tx: Tx, by: Actor, policy: Policy, return_id: str) -> None:
    """Give a return what the release before didn't write, while both ran: its slip code and its words."""
    case = await lock_case(tx, by, policy, return_id)
    if case.row.slip_code is not None:
        return
    case.row.slip_code = await free_slip_code(tx, return_id)
    case.row.email_text = normalise(case.row.customer_email) if case.row.customer_email else None
    await index_return(tx, case.row, case.lines)
    await record_return(case, "return.updated", {"changed": ["slip_code"]})


async def free_slip_code(tx: Tx, new_id: str) -> str:
    """Return the code of a new return, or of a parcel of nobody: the first of its id's that neither kind has yet.

    The dock scans both in one box.
    """
    draw = 0
    while await _is_taken(tx, code := slip_code(new_id, draw)):
        draw += 1
    return code


async def _is_taken(tx: Tx, code: str) -> bool:
    return (await tx.execute(TAKEN, {"code": code})).first() is not None
