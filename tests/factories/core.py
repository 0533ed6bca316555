"""Factories of returns, their money and their history."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from returns_service.domain.slip_code import slip_code
from returns_service.store.database import Tx
from returns_service.store.tables import (
    Event,
    IdempotencyKey,
    Payment,
    Receipt,
    ReceiptLine,
    Refund,
    RefundWord,
    ReturnAuthorization,
    ReturnLine,
    SearchWord,
    StripeEvent,
    StripePace,
    Sweep,
    UndeclaredItem,
    UnmatchedReceipt,
)
from tests.factories.insert import insert

KEY = "key_test"  # the actor


async def create_payment(tx: Tx, **values: Any) -> Payment:
    """Insert a captured payment of 100.00 USD."""
    number = tx.new_id("x")[2:]
    defaults = {
        "id": tx.new_id("pay"),
        "payment_intent": f"pi_{number}",
        "charge": f"ch_{number}",
        "currency": "usd",
        "captured": 10_000,
        "status": "succeeded",
        "livemode": False,
        "created_at": tx.now,
    }
    return await insert(tx, Payment, defaults, values)


async def create_refund(
    tx: Tx, payment: Payment | None = None, *, due_in_seconds: float | None = 0, **values: Any
) -> Refund:
    """Insert a queued standalone refund of 1.00, due now; `due_in_seconds` None: never due."""
    payment = payment or await create_payment(tx)
    refund_id = tx.new_id("rfd")
    parameters = {"payment_intent": payment.payment_intent, "amount": 100, "metadata": {"refund_id": refund_id}}
    defaults = {
        "id": refund_id,
        "payment_id": payment.id,
        "source": "standalone",
        "status": "queued",
        "amount": 100,
        "currency": payment.currency,
        "livemode": payment.livemode,
        "created_by": KEY,
        "created_at": tx.now,
        "updated_at": tx.now,
        "parameters": parameters,
        "next_attempt_at": None if due_in_seconds is None else tx.now + timedelta(seconds=due_in_seconds),
    }
    return await insert(tx, Refund, defaults, values)


async def create_return(tx: Tx, payment: Payment | None = None, **values: Any) -> ReturnAuthorization:
    """Insert an approved return, without its lines."""
    payment = payment or await create_payment(tx)
    return_id = tx.new_id("ret")
    defaults = {
        "id": return_id,
        "slip_code": slip_code(return_id),
        "order_id": "order_1",
        "payment_id": payment.id,
        "currency": payment.currency,
        "livemode": payment.livemode,
        "state": "approved",
        "created_at": tx.now,
        "updated_at": tx.now,
    }
    return await insert(tx, ReturnAuthorization, defaults, values)


async def create_return_line(tx: Tx, row: ReturnAuthorization | None = None, **values: Any) -> ReturnLine:
    """Insert a line of three mugs worth 100.00."""
    row = row or await create_return(tx)
    defaults = {
        "id": tx.new_id("rli"),
        "return_id": row.id,
        "position": 0,
        "sku": "MUG",
        "quantity": 3,
        "total_amount": 10_000,
    }
    return await insert(tx, ReturnLine, defaults, values)


async def create_search_word(tx: Tx, row: ReturnAuthorization | None = None, **values: Any) -> SearchWord:
    """Insert a word that a return is found by."""
    row = row or await create_return(tx)
    return await insert(tx, SearchWord, {"return_id": row.id, "word": "mug"}, values)


async def create_refund_word(tx: Tx, refund: Refund | None = None, **values: Any) -> RefundWord:
    """Insert a word that a refund is found by."""
    refund = refund or await create_refund(tx)
    return await insert(tx, RefundWord, {"refund_id": refund.id, "word": "mug"}, values)


async def create_receipt(tx: Tx, row: ReturnAuthorization | None = None, **values: Any) -> Receipt:
    """Insert a count at the dock, without its lines."""
    row = row or await create_return(tx)
    defaults = {
        "id": tx.new_id("rcp"),
        "return_id": row.id,
        "received_by": KEY,
        "fingerprint": "counts",
        "created_at": tx.now,
    }
    return await insert(tx, Receipt, defaults, values)


async def create_receipt_line(
    tx: Tx, receipt: Receipt | None = None, line: ReturnLine | None = None, **values: Any
) -> ReceiptLine:
    """Insert one new mug, accepted."""
    if line is None:
        row = await tx.get_one(ReturnAuthorization, receipt.return_id) if receipt else await create_return(tx)
        line = await create_return_line(tx, row)
    receipt = receipt or await create_receipt(tx, await tx.get_one(ReturnAuthorization, line.return_id))
    defaults = {
        "id": tx.new_id("rcl"),
        "receipt_id": receipt.id,
        "line_id": line.id,
        "sku": line.sku,
        "quantity": 1,
        "condition": "new",
        "disposition": "restock",
        "accepted": True,
    }
    return await insert(tx, ReceiptLine, defaults, values)


async def create_undeclared_item(tx: Tx, receipt: Receipt | None = None, **values: Any) -> UndeclaredItem:
    """Insert a plate that nobody announced."""
    receipt = receipt or await create_receipt(tx)
    defaults = {
        "id": tx.new_id("und"),
        "receipt_id": receipt.id,
        "return_id": receipt.return_id,
        "sku": "PLATE",
        "quantity": 1,
    }
    return await insert(tx, UndeclaredItem, defaults, values)


async def create_unmatched_receipt(tx: Tx, **values: Any) -> UnmatchedReceipt:
    """Insert a parcel that nobody can place yet."""
    defaults = {"id": tx.new_id("umr"), "received_by": KEY, "created_at": tx.now}
    return await insert(tx, UnmatchedReceipt, defaults, values)


async def create_event(tx: Tx, **values: Any) -> Event:
    """Insert an event of our history, of nothing in particular and not yet in the feed: the test of an endpoint."""
    data = {"endpoint": tx.new_id("whe")}
    defaults = {"id": tx.new_id("evt"), "type": "ping", "actor": KEY, "data": data, "created_at": tx.now}
    return await insert(tx, Event, defaults, values)


async def create_stripe_event(tx: Tx, **values: Any) -> StripeEvent:
    """Insert an event of Stripe's that was folded when it came."""
    received_at = values.get("received_at", tx.now)
    defaults = {
        "id": tx.new_id("evt"),
        "type": "refund.updated",
        "payload": "{}",
        "received_at": received_at,
        "processed_at": received_at,
        "outcome": "folded",
    }
    return await insert(tx, StripeEvent, defaults, values)


async def create_idempotency_key(tx: Tx, **values: Any) -> IdempotencyKey:
    """Insert a key whose request is not answered yet."""
    defaults = {"scope": KEY, "key": tx.new_id("idk"), "fingerprint": "request", "created_at": tx.now}
    return await insert(tx, IdempotencyKey, defaults, values)


async def create_stripe_pace(tx: Tx, **values: Any) -> StripePace:
    """Insert the one row of the pace: 80 writes a second, no breaker open."""
    return await insert(tx, StripePace, {"writes_a_second": 80.0, "next_slot_at": tx.now}, values)


async def create_sweep(tx: Tx, **values: Any) -> Sweep:
    """Insert a sweep that is due."""
    return await insert(tx, Sweep, {"name": "events", "next_at": tx.now}, values)
