"""What several tests of the worker do in passing."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import delete
from sqlmodel import col

from returns_service.store.tables import Event, Refund, RefundWord
from returns_service.worker.reconcile import Report, reconcile
from tests.harness.shop import Shop


async def due(shop: Shop, *, units: int = 1, card: str = "pm_card_visa") -> tuple[str, str]:
    """Return a payment and its return with a refund that is to be sent."""
    intent = shop.pay(9000, card)
    return_id = await shop.authorize_return(intent)
    await shop.count(return_id, units)
    return intent, return_id


async def later(shop: Shop, seconds: float, times: int = 1) -> None:
    """Let time pass in steps, with the worker at work after each."""
    for _ in range(times):
        shop.advance(seconds)
        await shop.work()


async def the_refund(shop: Shop) -> Refund:
    """Return the newest refund."""
    return (await shop.refunds())[-1]


async def compare(shop: Shop, *, fix: bool = False, days: int = 30) -> Report:
    """Compare the ledgers of the last days."""
    return await reconcile(shop.db, shop.gateway, shop.time - timedelta(days=days), fix=fix)


async def forget_row(shop: Shop, refund: Refund) -> None:
    """Lose a row as a restored backup does: with its history."""
    await shop.execute(delete(Event).where(col(Event.refund_id) == refund.id))
    await shop.execute(delete(RefundWord).where(col(RefundWord.refund_id) == refund.id))
    await shop.execute(delete(Refund).where(col(Refund.id) == refund.id))
