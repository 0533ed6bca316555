"""Figures that wake somebody at night say what they mean: what a person holds is no outage, no short look hides one."""

from __future__ import annotations

import socket
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, text
from sqlmodel import col

from returns_service.domain.policy import DEFAULT
from returns_service.return_case.events import Actor
from returns_service.store.database import Database
from returns_service.store.tables import Event, Refund
from returns_service.web import health
from returns_service.web.metrics import LATE_SECONDS
from returns_service.worker.charges import count_charges
from returns_service.worker.reconcile import reconcile
from tests.factories import create_mail, create_staff_mail
from tests.harness.served_shop import ServedShop, expect

HOUR, DAY = 3600, 86_400
UNANSWERED = "returns_oldest_unanswered_refund_seconds"
DIFFERENCES = "returns_reconciliation_differences"


async def figures(shop: ServedShop) -> dict[str, float]:
    """Return what /metrics says, by name and labels."""
    lines = [line for line in (await shop.get("/metrics")).text.splitlines() if line and not line.startswith("#")]
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines}


async def test_a_refund_that_a_dispute_holds_is_not_one_without_an_answer(shop: ServedShop) -> None:
    expect(await shop.post("/v1/refunds", {"payment_intent": (payment := shop.pay()), "amount": 5}), 202)
    shop.advance(HOUR)
    assert (await figures(shop))[UNANSWERED] == HOUR
    shop.dashboard.open_dispute(payment)
    await shop.deliver()
    assert (await figures(shop))[UNANSWERED] == 0


async def test_a_refund_that_waits_for_a_second_person_is_not_one_without_an_answer(
    shop: ServedShop, with_policy: Any
) -> None:
    with_policy(second_person_above={"usd": 100})
    made = expect(await shop.post("/v1/refunds", {"payment_intent": shop.pay(), "amount": 5000}), 202)
    assert made["waiting_code"] == "second_person"
    shop.advance(HOUR)
    assert (await figures(shop))[UNANSWERED] == 0


async def test_a_refund_that_the_policy_puts_off_is_not_one_without_an_answer(
    shop: ServedShop, with_policy: Any
) -> None:
    with_policy(refund_delay=DAY)
    made = await shop.create_approved_return()
    await shop.receive_parcel(made["id"])
    shop.advance(DAY - 1)
    assert (await figures(shop))[UNANSWERED] == 0
    shop.advance(HOUR + 1)
    assert (await figures(shop))[UNANSWERED] == HOUR, "since it is due"


async def test_a_short_comparison_takes_no_difference_off(shop: ServedShop) -> None:
    expect(await shop.post("/v1/refunds", {"payment_intent": shop.pay(), "amount": 5}), 202)
    await shop.settle()
    (lost,) = await shop.refunds()
    await shop.execute(delete(Event).where(col(Event.refund_id) == lost.id))
    await shop.execute(delete(Refund).where(col(Refund.id) == lost.id))
    shop.advance(2 * DAY)

    async def compare(days: int) -> dict[str, float]:
        await reconcile(shop.db, shop.gateway, shop.time - timedelta(days=days), fix=False)
        return await figures(shop)

    assert (await compare(30))[DIFFERENCES] == 1
    shop.advance(HOUR)
    after = await compare(1)
    assert after[DIFFERENCES] == 1
    assert after['returns_sweep_age_seconds{sweep="reconciliation"}'] == HOUR, "nor is it the daily one"


async def test_a_comparison_that_never_got_through_has_an_age(shop: ServedShop) -> None:
    shop.wire.down = True
    with pytest.raises(Exception, match="Stripe"):
        await reconcile(shop.db, shop.gateway, shop.time - timedelta(days=30), fix=False)
    shop.advance(HOUR)
    assert (await figures(shop))['returns_sweep_age_seconds{sweep="reconciliation"}'] == HOUR


async def test_charges_that_stripe_does_not_list_have_an_age(shop: ServedShop) -> None:
    age = 'returns_sweep_age_seconds{sweep="charges"}'
    for down, expected in ((True, HOUR), (False, 0)):
        shop.wire.down = down
        await count_charges(shop.db, shop.gateway, Actor("worker"), DEFAULT)
        shop.advance(HOUR if down else 0)
        assert (await figures(shop))[age] == expected


async def test_mail_that_nobody_sends_is_overdue(shop: ServedShop) -> None:
    async with shop.db.transaction() as tx:
        await create_mail(tx)
        await create_staff_mail(tx)
    assert (await figures(shop))['returns_chores_overdue{chore="send_mail"}'] == 0
    shop.advance(LATE_SECONDS)
    shown = await figures(shop)
    assert [shown[f'returns_chores_overdue{{chore="{chore}"}}'] for chore in ("send_mail", "send_staff_mail")] == [1, 1]


async def test_a_stranger_who_signs_nothing_says_nothing_of_our_secret(shop: ServedShop) -> None:
    await shop.client.post("/webhooks/stripe", content=b"{}")
    shown = await figures(shop)
    assert shown['returns_stripe_webhooks_total{outcome="unsigned"}'] == 1
    assert shown['returns_stripe_webhooks_total{outcome="invalid_signature"}'] == 0, "from which it can rise"
    await shop.client.post("/webhooks/stripe", content=b"{}", headers={"Stripe-Signature": "t=1,v1=0"})
    assert (await figures(shop))['returns_stripe_webhooks_total{outcome="invalid_signature"}'] == 1


async def test_without_the_database_no_old_figure_is_shown(shop: ServedShop, tmp_path: Path) -> None:
    assert {"returns_database_up", UNANSWERED, DIFFERENCES} <= (await figures(shop)).keys()
    nowhere = f"postgresql://nobody@/gone?host={tmp_path}" if shop.db.postgresql else f"sqlite:///{tmp_path}"
    kept, shop.context.database = shop.context.database, Database(nowhere, now=shop.clock)
    shown = await figures(shop)
    await shop.context.database.close()
    shop.context.database = kept
    assert shown["returns_database_up"] == 0
    assert not {UNANSWERED, DIFFERENCES} & shown.keys()
    assert any(name.startswith("returns_http_requests_total") for name in shown), "its own are"
    assert {"returns_database_up", UNANSWERED, DIFFERENCES} <= (await figures(shop)).keys()


async def test_readiness_says_it_while_the_whole_server_hangs(
    shop: ServedShop, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(health, "PATIENCE_SECONDS", 0.1)
    takes_all_and_says_nothing = socket.create_server(("127.0.0.1", 0))
    with takes_all_and_says_nothing as server:
        port = server.getsockname()[1]
        kept, shop.context.database = shop.db, Database(f"postgresql://nobody@127.0.0.1:{port}/hangs")
        try:
            (missing,) = expect(await shop.get("/readyz"), 503)["missing"]
            assert (missing["what"], missing["do"]) == ("database", health.AWAY)
            assert "returns_database_up 0.0" in (await shop.get("/metrics")).text
            assert (await shop.get("/healthz")).status_code == 200
        finally:
            await shop.context.database.close()
            shop.context.database = kept


async def test_a_database_that_takes_no_writes_is_not_ready(shop: ServedShop) -> None:
    if not shop.db.postgresql:
        return  # a file that can't be written is refused at the start
    async with shop.db.writer.begin() as connection:
        name = (await connection.execute(text("SELECT current_database()"))).scalar_one()
        await connection.execute(text(f'ALTER DATABASE "{name}" SET default_transaction_read_only = on'))
    await shop.db.writer.dispose()  # the setting is of new connections
    (missing,) = expect(await shop.get("/readyz"), 503)["missing"]
    assert (missing["what"], "takes no writes" in missing["do"]) == ("database", True)
    assert (await figures(shop))["returns_database_up"] == 0
    expect(await shop.post("/v1/refunds", {"payment_intent": shop.pay(), "amount": 5}), 503, "database_unavailable")
    async with shop.db.writer.connect() as connection:
        switch = await connection.execution_options(isolation_level="AUTOCOMMIT")
        await switch.execute(text("SET default_transaction_read_only = off"))
        await switch.execute(text(f'ALTER DATABASE "{name}" RESET default_transaction_read_only'))
    assert expect(await shop.get("/readyz"), 200)["status"] == "ready", "by itself"
    expect(await shop.post("/v1/refunds", {"payment_intent": shop.pay(), "amount": 5}), 202)
