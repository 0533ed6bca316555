"""The report of each comparison with Stripe can be read later."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import update
from sqlmodel import col

from returns_service.store.tables import Refund
from returns_service.worker.reconcile import Report, reconcile
from tests.harness.served_shop import ServedShop, expect


async def compared(shop: ServedShop) -> Report:
    context = shop.context
    since = context.database.now() - timedelta(days=1)
    return await reconcile(context.database, context.gateway, since, fix=False)


async def test_a_report_is_read_with_its_rows(shop: ServedShop) -> None:
    made = await shop.create_approved_return(6000, 2)
    await shop.receive_parcel(made["id"], 2)
    await shop.settle()
    first = await compared(shop)
    async with shop.db.transaction() as tx:
        await tx.execute(update(Refund).where(col(Refund.return_id) == made["id"]).values(status="pending"))
    second = await compared(shop)

    listed = expect(await shop.get("/v1/reconciliations"), 200)
    assert [row["id"] for row in listed["data"]] == [second.run.id, first.run.id]
    assert [row["differing"] for row in listed["data"]] == [1, 0]

    report = expect(await shop.get(f"/v1/reconciliations/{second.run.id}"), 200)
    assert (report["object"], report["status"], report["fix"]) == ("reconciliation", "finished", False)
    assert report["counts"] == {"at_stripe": 1, "other_status": 1}

    rows = expect(await shop.get(f"/v1/reconciliations/{second.run.id}/differences?code=other_status"), 200)
    (row,) = rows["data"]
    assert (row["status_here"], row["status_at_stripe"], row["outcome"]) == ("pending", "succeeded", "found")
    assert (row["return"], row["amount_here"], row["amount_at_stripe"]) == (made["id"], 6000, 6000)
    assert row["cause"]
    none = expect(await shop.get(f"/v1/reconciliations/{second.run.id}/differences?code=missing_here"), 200)
    assert none["data"] == []


async def test_what_is_not_there_or_not_meant_is_said_so(shop: ServedShop) -> None:
    expect(await shop.get("/v1/reconciliations/rec_nobody"), 404)
    expect(await shop.get("/v1/reconciliations/rec_nobody/differences"), 404)
    run = (await compared(shop)).run.id
    expect(await shop.get(f"/v1/reconciliations/{run}/differences?code=nonsense"), 422)
    expect(await shop.get("/v1/reconciliations?state=nonsense"), 422)
