"""Factories of what the connection to Stripe has learnt."""

from __future__ import annotations

from typing import Any

from returns_service.store.database import Tx
from returns_service.store.tables import StripeAccount, StripeRefusal
from tests.factories.insert import insert


async def create_stripe_account(tx: Tx, **values: Any) -> StripeAccount:
    """Insert the account that the key belongs to."""
    return await insert(tx, StripeAccount, {"account": "acct_1", "learnt_at": tx.now}, values)


async def create_stripe_refusal(tx: Tx, **values: Any) -> StripeRefusal:
    """Insert that the key may not make refunds."""
    defaults = {"subject": "refunds", "code": "permission", "message": "No.", "since": tx.now}
    return await insert(tx, StripeRefusal, defaults, values)
