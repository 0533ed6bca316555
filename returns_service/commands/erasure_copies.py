"""Copies of what is forgotten: the history, answers that are kept to be replayed, and Stripe's events as they came."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterable
from typing import Any

from sqlalchemy import String, cast, false
from sqlmodel import col, func, or_, select

from returns_service.commands.erasure_words import Words
from returns_service.domain.search_text import normalise
from returns_service.store.database import Tx
from returns_service.store.tables import Event, IdempotencyKey, StripeEvent


def holds_name(column: Any, names: Iterable[str]) -> Any:
    """Return the condition for rows whose text, or JSON, may hold one of the names; `text_holds` then tells.

    JSON may write an Ü as \\u00dc, and SQLite's `lower` leaves it as it is: the database only looks for a plain part.
    """
    low = func.lower(cast(column, String))
    parts = {max(re.findall(r"[ -~]+", name), key=len, default="").lower() for name in names}
    return or_(false(), *(low.contains(part, autoescape=True) for part in sorted(parts)))


def text_holds(text: str, names: Iterable[str]) -> bool:
    """Return whether text, or JSON as text, holds one of the names as text is compared."""
    try:
        plain = json.dumps(json.loads(text), ensure_ascii=False)
    except ValueError:
        plain = text
    low = normalise(plain)
    return any(name in low for name in map(normalise, names))


async def forget_events(tx: Tx, words: Words, payment_id: str, return_id: str | None, refund_ids: list[str]) -> int:
    """Redact the history of a return (where there is one), of refunds, and of the payment; return how many events."""
    mine = col(Event.return_id) == return_id if return_id is not None else false()
    of_refunds = col(Event.refund_id).in_(refund_ids)
    of_payment = (col(Event.payment_id) == payment_id) & col(Event.return_id).is_(None) & col(Event.refund_id).is_(None)
    events = (await tx.exec(select(Event).where(or_(mine, of_refunds, of_payment)))).all()
    return sum(words.forget_trees(event, "data") for event in events)


async def forget_answers(tx: Tx, words: Words, names: Collection[str]) -> int:
    """Redact the kept answers that hold an id or a name of these; return how many.

    They stay, or a repeated request would do its work again.
    """
    changed = 0
    for stored in (await tx.exec(select(IdempotencyKey).where(holds_name(IdempotencyKey.body, names)))).all():
        try:
            answer = json.loads(stored.body or "null")
        except ValueError:
            continue
        less = words.tree(answer)
        if less != answer:
            stored.body = json.dumps(less, ensure_ascii=False, separators=(",", ":"))
            changed += 1
    return changed


async def forget_inbox(tx: Tx, names: Collection[str]) -> tuple[int, int]:
    """Empty Stripe's events that hold one of the names; return how many, and how many had to stay.

    An event that is not folded yet is the only copy of its news.
    """
    emptied = left = 0
    likely = select(StripeEvent).where(holds_name(StripeEvent.payload, names), col(StripeEvent.payload) != "")
    for event in (await tx.exec(likely)).all():
        if not text_holds(event.payload, names):
            continue
        if event.processed_at is None:
            left += 1
            continue
        event.payload, event.error = "", None
        emptied += 1
    return emptied, left
