"""The factory of what Stripe charged."""

from __future__ import annotations

from typing import Any

from returns_service.domain.periods import quarter_of
from returns_service.store.database import Tx
from returns_service.store.tables import ChargeTotal
from tests.factories.insert import insert


async def create_charge_total(tx: Tx, **values: Any) -> ChargeTotal:
    """Insert one charge of 100.00 USD in the present quarter of an hour."""
    defaults = {"begins_at": quarter_of(tx.now), "currency": "usd", "number": 1, "amount": 10_000}
    return await insert(tx, ChargeTotal, defaults, values)
