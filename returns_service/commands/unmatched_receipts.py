"""Parcels without any authorization: counted as they come, attached to a return once somebody knows whose they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import update
from sqlmodel import col, or_, select

from returns_service.commands.counting import Count
from returns_service.commands.receipts import receive_on
from returns_service.commands.search_index import free_slip_code
from returns_service.domain.policy import Policy
from returns_service.domain.problems import Problem
from returns_service.domain.search_text import join_words
from returns_service.domain.vocabulary import Condition
from returns_service.return_case.events import Actor
from returns_service.return_case.loader import lock_case
from returns_service.store.database import Tx, select_for_update
from returns_service.store.tables import Photo, UnmatchedReceipt


@dataclass(frozen=True, slots=True)
class UnmatchedItem:
    """Units of a parcel, as they were scanned."""

    sku: str
    quantity: int
    condition: Condition


@dataclass(frozen=True, slots=True)
class Parcel:
    """What the dock knows of a parcel that no return announced."""

    items: Sequence[UnmatchedItem]
    order_id: str | None = None
    tracking_number: str | None = None
    note: str | None = None


async def create_unmatched(tx: Tx, by: Actor, parcel: Parcel) -> UnmatchedReceipt:
    """Write down a parcel without an authorization, under a number of its own; it waits on the desk."""
    unmatched_id = tx.new_id("umr")
    row = UnmatchedReceipt(
        id=unmatched_id,
        number=await free_slip_code(tx, unmatched_id),
        order_id=parcel.order_id,
        tracking_number=parcel.tracking_number,
        tracking_text=join_words(parcel.tracking_number) if parcel.tracking_number else None,
        note=parcel.note,
        items=[{"sku": i.sku, "quantity": i.quantity, "condition": i.condition} for i in parcel.items],
        received_by=by.actor,
        created_at=tx.now,
    )
    tx.add(row)
    return row


async def attach(tx: Tx, by: Actor, policy: Policy, unmatched_id: str, return_id: str) -> UnmatchedReceipt:
    """Count a parcel on a return, once, and pay what is due for it. Raises Problem not_found or already_attached."""
    await get_unmatched(tx, unmatched_id)
    case = await lock_case(tx, by, policy, return_id)
    # The return's payment is locked first, as everywhere; two attachments to two returns meet at this row.
    chosen = select(UnmatchedReceipt).where(col(UnmatchedReceipt.id) == unmatched_id)
    (row,) = await select_for_update(tx, chosen, UnmatchedReceipt)
    if row.receipt_id is not None:
        raise Problem("already_attached", receipt=row.receipt_id, **{"return": row.return_id})
    counts = [Count(item["quantity"], item["condition"], sku=item["sku"]) for item in row.items]
    counted = await receive_on(case, counts, [])
    row.receipt_id, row.return_id = counted.receipt.id, return_id
    row.attached_by, row.attached_at = by.actor, tx.now
    await tx.execute(update(Photo).where(col(Photo.about_id) == row.id).values(return_id=return_id))
    return row


def of_tracking_numbers(numbers: Sequence[str]) -> Any:
    """Return the condition for the parcels that carry one of the tracking numbers, however a label groups it."""
    row, texts = UnmatchedReceipt, {join_words(number) for number in numbers} - {""}
    # A release before the text wrote the number alone.
    return or_(col(row.tracking_text).in_(texts), col(row.tracking_number).in_(numbers))


async def get_unmatched(tx: Tx, unmatched_id: str) -> UnmatchedReceipt:
    """Return a parcel without an authorization. Raises Problem not_found."""
    row = await tx.get(UnmatchedReceipt, unmatched_id)
    if row is None:
        raise Problem("not_found", f"There is no unmatched receipt {unmatched_id}.")
    return row
