"""Rows as tests need them; each function mirrors a table and takes what matters to the test."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from returns_service.store.database import Tx
from returns_service.store.tables import Payment, Refund, ReturnAuthorization, ReturnLine


async def a_payment(tx: Tx, **given: Any) -> Payment:
    """Add a captured payment of 100.00 USD."""
    number = tx.new_id("x")[2:]
    row = Payment(
        **{
            "id": tx.new_id("pay"),
            "payment_intent": f"pi_{number}",
            "charge": f"ch_{number}",
            "currency": "usd",
            "captured": 10_000,
            "status": "succeeded",
            "livemode": False,
            "created_at": tx.now,
            **given,
        }
    )
    tx.add(row)
    await tx.flush()
    return row


async def a_refund(tx: Tx, payment: Payment, *, due_in_seconds: float | None = 0, **given: Any) -> Refund:
    """Add a queued standalone refund of 1.00 USD, due now."""
    refund_id = tx.new_id("rfd")
    row = Refund(
        **{
            "id": refund_id,
            "payment_id": payment.id,
            "source": "standalone",
            "status": "queued",
            "amount": 100,
            "currency": payment.currency,
            "livemode": False,
            "created_by": "key_test",
            "created_at": tx.now,
            "updated_at": tx.now,
            "parameters": {
                "payment_intent": payment.payment_intent,
                "amount": 100,
                "metadata": {"refund_id": refund_id},
            },
            "next_attempt_at": None if due_in_seconds is None else tx.now + timedelta(seconds=due_in_seconds),
            **given,
        }
    )
    tx.add(row)
    await tx.flush()
    return row


async def a_return(tx: Tx, payment: Payment, **given: Any) -> tuple[ReturnAuthorization, ReturnLine]:
    """Add an approved return of three units worth 100.00 USD."""
    row = ReturnAuthorization(
        **{
            "id": tx.new_id("ret"),
            "order_id": "order_1",
            "payment_id": payment.id,
            "currency": payment.currency,
            "livemode": False,
            "state": "approved",
            "created_at": tx.now,
            "updated_at": tx.now,
            **given,
        }
    )
    line = ReturnLine(id=tx.new_id("rli"), return_id=row.id, position=0, sku="MUG", quantity=3, total_amount=10_000)
    tx.add(row)
    tx.add(line)
    await tx.flush()
    return row, line
