"""The refunds as a journal for the books, as CSV: gross, net and tax of each, as people write amounts."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import and_, union_all
from sqlmodel import col, select

from returns_service.domain.money import decimal_amount
from returns_service.return_case.views import rfc3339
from returns_service.store.database import Tx
from returns_service.store.ids import AHEAD, first_id, last_id, read_first
from returns_service.store.tables import Refund, ReturnAuthorization

COLUMNS = ("date", "order", "return", "gross", "net", "tax", "currency", "status", "stripe_refund", "reason")
BEGINS_A_FORMULA = ("=", "+", "-", "@", "\t", "\r")  # a spreadsheet would work it out


class JournalEntry(NamedTuple):
    """A refund and the order of its return, where it has one."""

    refund: Refund
    order_id: str | None


async def journal_after(tx: Tx, *, begin: datetime, end: datetime | None, after: str, limit: int) -> list[JournalEntry]:
    """Return up to `limit` refunds decided from `begin` to before `end`, in the order of their ids after `after`.

    Ids tell when our rows were made. A refund of Stripe's Dashboard may be older than its row: Stripe's time finds it.
    """
    row_id, made_at, at_stripe = col(Refund.id), col(Refund.created_at), col(Refund.stripe_created_at)
    decided = and_(made_at >= begin, *([made_at < end] if end is not None else []))
    ours = row_id >= first_id("rfd", begin, earlier=AHEAD)  # Stripe's clock may be ahead of ours
    parts = [select(Refund.id).where(ours, decided, row_id > after)]
    if end is not None:
        last = last_id("rfd", end)
        parts[0] = parts[0].where(row_id < last)
        late = select(Refund.id).where(at_stripe >= begin, at_stripe < end, row_id >= last)
        parts.append(select(Refund.id).where(row_id.in_(read_first(late)), decided, row_id > after))
    pages = [part.order_by(row_id).limit(limit).subquery() for part in parts]
    chosen = (
        select(Refund, ReturnAuthorization.order_id)
        .outerjoin(ReturnAuthorization, col(ReturnAuthorization.id) == col(Refund.return_id))
        .where(row_id.in_(union_all(*(select(page.c.id) for page in pages))))
        .order_by(row_id)
        .limit(limit)
    )
    return [JournalEntry(refund, order_id) for refund, order_id in (await tx.exec(chosen)).all()]


def journal_lines(entries: Iterable[JournalEntry]) -> str:
    """Return entries as lines of CSV (RFC 4180): the date is Stripe's, or that of the decision where it has none."""
    text = io.StringIO()
    writer = csv.writer(text)
    for refund, order_id in entries:
        tax = sum(refund.taxes or ())
        amounts = (decimal_amount(n, refund.currency) for n in (refund.amount, refund.amount - tax, tax))
        words = (refund.currency, refund.status, refund.stripe_refund, refund.reason or refund.method)
        date = rfc3339(refund.stripe_created_at or refund.created_at)
        writer.writerow([date, cell(order_id), refund.return_id, *amounts, *map(cell, words)])
    return text.getvalue()


def journal_head() -> str:
    """Return the first line of the CSV: the columns' names."""
    return ",".join(COLUMNS) + "\r\n"


def cell(text: str | None) -> str | None:
    """Return a text that no spreadsheet takes for a formula."""
    return f"'{text}" if text is not None and text.startswith(BEGINS_A_FORMULA) else text
