"""A backup, a day's work, the backup restored: what moved meanwhile is found again, and nothing is paid twice."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol

import pytest
from sqlalchemy import make_url

from returns_service.stripe_gateway import StripeSilent
from returns_service.worker import reconcile as reconciling
from returns_service.worker.reconcile import reconcile
from tests.harness.postgres import Postgres
from tests.harness.shop import Shop


class Keeper(Protocol):
    """Who takes backups of a database, and restores the last one to a new address."""

    url: str

    def back_up(self) -> None: ...
    def restore(self) -> str: ...


class SqliteKeeper:
    """SQLite's online backup: the service goes on meanwhile. https://www.sqlite.org/backup.html"""

    def __init__(self, url: str, folder: Path) -> None:
        self.url, self.copy = url, folder / "backup.db"

    def back_up(self) -> None:
        path = make_url(self.url).database or ""
        with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(self.copy)) as target:
            source.backup(target)

    def restore(self) -> str:
        return f"sqlite:///{self.copy}"


class PostgresqlKeeper:
    """pg_dump, and psql into a new database."""

    def __init__(self, pg: Postgres, url: str) -> None:
        self.pg, self.url, self.script = pg, url, ""
        self.restored = ""

    def back_up(self) -> None:
        name = make_url(self.url).database or ""
        self.script = self.pg._run("pg_dump", "-h", self.pg.data, "-U", "postgres", "--no-owner", name)

    def restore(self) -> str:
        self.restored = self.pg.create_database()
        script = self.pg.root / f"{self.restored}.sql"
        script.write_text(self.script, encoding="utf-8")
        connect = ("-h", self.pg.data, "-U", "postgres", "-d", self.restored)
        self.pg._run("psql", "-Xq", "-v", "ON_ERROR_STOP=1", *connect, "-f", script)
        return self.pg.url(self.restored)


@contextmanager
def kept(request: pytest.FixtureRequest, kind: str, folder: Path) -> Iterator[Keeper]:
    if kind == "sqlite":
        yield SqliteKeeper(request.getfixturevalue("sqlite_url"), folder)
        return
    pg: Postgres = request.getfixturevalue("pg")
    keeper = PostgresqlKeeper(pg, request.getfixturevalue("postgresql_url"))
    yield keeper
    if keeper.restored:
        pg.sql(f"DROP DATABASE IF EXISTS {keeper.restored} WITH (FORCE)")


@pytest.fixture(params=["sqlite", "postgresql"])
def keeper(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Keeper]:
    with kept(request, request.param, tmp_path) as found:
        yield found


async def restored(shop: Shop, keeper: Keeper) -> None:
    """Put yesterday's backup in the place of the database."""
    await shop.db.close()
    shop.open(await asyncio.to_thread(keeper.restore))


async def test_a_day_lost_costs_no_money_and_says_what_it_lost(keeper: Keeper) -> None:
    shop = Shop(keeper.url)
    try:
        half, late, whole = shop.pay(9000), shop.pay(10_000), shop.pay(3000)
        counted = await shop.authorize_return(half, order_id="order_half")
        await shop.count(counted, scan_id="monday")
        await shop.work()
        await shop.deliver()
        expected = await shop.authorize_return(late, units=3, amount=10_000, order_id="order_late")
        keeper.back_up()

        shop.advance(6 * 3600)
        await shop.count(counted, scan_id="tuesday")  # a second unit of a return that the backup knows
        await shop.count(expected, units=2, scan_id="tuesday")  # two units of one that nothing was paid of
        after = await shop.authorize_return(whole, units=1, amount=3000, order_id="order_after")  # in no backup at all
        await shop.count(after)
        await shop.work()
        await shop.deliver()
        shop.dashboard.refund(late, 500)
        shop.lose_webhooks()
        before = {row.id: (row.amount, row.status, row.return_id, row.breakdown) for row in await shop.refunds()}
        paid = {intent: shop.at_stripe(intent) for intent in (half, late, whole)}
        assert paid == {half: 6000, late: 6666 + 500, whole: 3000}

        await restored(shop, keeper)
        assert len(await shop.refunds()) == 1
        shop.advance(18 * 3600)
        report = await reconcile(shop.db, shop.gateway, shop.time - timedelta(days=30), fix=True)

        assert not report.differs
        rows = {row.id: row for row in await shop.refunds()}
        for refund_id, (amount, status, return_id, breakdown) in before.items():
            row = rows[refund_id]
            assert (row.amount, row.status) == (amount, status)
            if return_id == after:  # its return is lost: the refund stands alone
                assert (row.return_id, row.source) == (None, "standalone")
            else:
                assert (row.return_id, row.source) == (return_id, "return")
                assert [_plain(part) for part in row.breakdown] == [_plain(part) for part in breakdown]
        assert [row.amount for row in rows.values() if row.source == "external"] == [500]
        told = [(row.code, row.outcome) for row in await shop.differences(report)]
        assert told.count(("missing_here", "fixed")) == 4
        lost = {
            row.return_id or row.refund_id: row for row in await shop.differences(report) if row.code == "not_rebuilt"
        }
        assert len(lost) == 3
        assert "1 × SHIRT that no receipt here counts" in lost[counted].cause
        assert "2 × SHIRT that no receipt here counts" in lost[expected].cause
        assert all("Receipts, notes" in row.cause for row in lost.values())
        assert any("order_after" in row.cause and after in row.cause for row in lost.values())

        # The dock counts both parcels again, the worker looks for work: Stripe's side stays as it is.
        again = await shop.count(counted, scan_id="tuesday")
        await shop.count(expected, units=2, scan_id="tuesday")
        await shop.work()
        assert {intent: shop.at_stripe(intent) for intent in (half, late, whole)} == paid
        assert (again["amount_refunded"], again["amount_due"], again["state"]) == (6000, 0, "approved")

        # What is still to come is paid as ever, to the cent.
        assert (await shop.count(counted))["state"] == "refunding"
        await shop.work()
        done = await shop.show_return(counted)
        assert (done["state"], done["amount_refunded"], shop.at_stripe(half)) == ("refunded", 9000, 9000)
        assert not (await reconcile(shop.db, shop.gateway, shop.time - timedelta(days=30), fix=False)).differs
    finally:
        await shop.close()


async def test_an_intent_that_was_waiting_in_the_backup_is_not_sent_again(keeper: Keeper) -> None:
    """Two days later Stripe has pruned the key: sent again, it would pay again."""
    shop = Shop(keeper.url)
    try:
        intent = shop.pay(9000)
        return_id = await shop.authorize_return(intent)
        await shop.count(return_id)
        assert [row.status for row in await shop.refunds()] == ["queued"]
        keeper.back_up()
        await shop.work()
        await shop.deliver()
        assert shop.at_stripe(intent) == 3000

        shop.advance(2 * 86_400)
        await restored(shop, keeper)
        assert [row.status for row in await shop.refunds()] == ["queued"]
        report = await reconcile(shop.db, shop.gateway, shop.time - timedelta(days=30), fix=True)
        assert [(row.code, row.outcome) for row in await shop.differences(report)] == [("other_status", "fixed")]
        await shop.work()
        assert [row.status for row in await shop.refunds()] == ["succeeded"]
        assert shop.at_stripe(intent) == 3000
    finally:
        await shop.close()


async def test_a_worker_that_begins_before_anybody_compares_pays_nothing_twice(keeper: Keeper) -> None:
    """What has waited longer than Stripe keeps a key may have been sent after the backup: it is looked for first."""
    shop = Shop(keeper.url)
    try:
        intent = shop.pay(9000)
        return_id = await shop.authorize_return(intent)
        await shop.count(return_id)
        keeper.back_up()
        await shop.work()
        await shop.deliver()

        shop.advance(2 * 86_400)
        await restored(shop, keeper)
        shop.faults.arm("drop_before", count=1, path=f"/v1/payment_intents/{intent}")
        await shop.work()  # it could not look, so it sent nothing
        assert shop.at_stripe(intent) == 3000
        shop.advance(600)
        await shop.work()
        assert [row.status for row in await shop.refunds()] == ["succeeded"]
        assert shop.at_stripe(intent) == 3000
    finally:
        await shop.close()


async def test_a_parcel_counted_again_before_its_refund_is_found_is_paid_once(keeper: Keeper) -> None:
    """The dock counts before anybody compares: what waits to be sent gives way to what was paid."""
    shop = Shop(keeper.url)
    try:
        intent = shop.pay(9000)
        return_id = await shop.authorize_return(intent)
        keeper.back_up()
        await shop.count(return_id, scan_id="monday")
        await shop.work()
        await shop.deliver()
        assert shop.at_stripe(intent) == 3000

        shop.advance(600)
        await restored(shop, keeper)
        await shop.count(return_id, scan_id="monday")
        assert [row.status for row in await shop.refunds()] == ["queued"]
        await reconcile(shop.db, shop.gateway, shop.time - timedelta(days=30), fix=True)
        await shop.work()
        done = await shop.show_return(return_id)
        assert (done["state"], done["amount_refunded"], shop.at_stripe(intent)) == ("approved", 3000, 3000)
    finally:
        await shop.close()


async def test_what_waited_long_and_was_never_sent_is_sent_at_once(shop: Shop) -> None:
    intent = shop.pay(9000)
    return_id = await shop.authorize_return(intent)
    await shop.count(return_id)
    shop.advance(2 * 86_400)
    await shop.work()
    assert (await shop.show_return(return_id))["amount_refunded"] == 3000
    assert shop.at_stripe(intent) == 3000


def _plain(part: dict[str, Any]) -> dict[str, Any]:
    """Return a row of a breakdown without its words: they don't travel to Stripe."""
    return {name: value for name, value in part.items() if name != "description"}


@pytest.mark.parametrize("fix", [False, True])
async def test_a_backup_taken_in_the_midst_of_a_comparison_hides_no_refund_made_since(
    keeper: Keeper, monkeypatch: pytest.MonkeyPatch, fix: bool
) -> None:
    monkeypatch.setattr(reconciling, "PAGE", 2)
    shop = Shop(keeper.url)
    try:
        for _ in range(6):
            await shop.complete_refund()
            shop.advance(1)
        shop.advance(7200)
        intent = shop.pay(9000)
        return_id = await shop.authorize_return(intent)
        shop.wire.cut_after = len(shop.wire.requests) + 1
        monkeypatch.setattr("returns_service.stripe_gateway.client.PAGE", 3)
        with pytest.raises(StripeSilent):
            await reconcile(shop.db, shop.gateway, shop.time - timedelta(days=30), fix=fix)
        keeper.back_up()

        shop.wire.cut_after = None
        shop.advance(3600)
        await shop.count(return_id)
        await shop.work()
        await shop.deliver()
        shop.advance(3600)
        await restored(shop, keeper)
        report = await reconcile(shop.db, shop.gateway, shop.time - timedelta(days=30), fix=fix)

        told = [(row.code, row.outcome) for row in await shop.differences(report) if row.code == "missing_here"]
        assert told == [("missing_here", "fixed" if fix else "found")]
        assert report.differs is not fix
        assert report.run.counts["at_stripe"] == 6
        if fix:  # the dock counts the parcel again
            await shop.count(return_id)
            await shop.work()
            assert shop.at_stripe(intent) == 3000
    finally:
        await shop.close()
