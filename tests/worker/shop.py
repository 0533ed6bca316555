"""A shop with its returns service and its Stripe, in process: nothing waits for real time."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import httpx
from sqlmodel import col, select

from returns_service.commands import counting, receipts, returns, stripe_fold, stripe_inbox
from returns_service.domain.policy import DEFAULT, Policy
from returns_service.domain.stripe_objects import PaymentSnapshot
from returns_service.domain.vocabulary import DeskKind
from returns_service.queries import desk
from returns_service.queries.desk_items import show_page
from returns_service.return_case.events import Actor, to_json_object
from returns_service.return_case.loader import load_case
from returns_service.return_case.views import show_return
from returns_service.store.database import Database
from returns_service.store.tables import ReconciliationDifference, Refund
from returns_service.stripe_gateway import StripeGateway, read_webhook
from returns_service.stripe_simulator import Dashboard, Faults, Ledger, Request, answer_with_fault, signature_of
from returns_service.worker.reconcile import Report
from tests.paying import pay_due

KEY = "sk_test_" + "simulator"
SECRET = "whsec_" + "simulator"
BY = Actor("key_shop", "req_1")
SHOP_METADATA = {"customer": "c_17"}


class Wire(httpx.AsyncBaseTransport):
    """The line to the simulator; `asked` keeps what was asked over it."""

    def __init__(self, ledger: Ledger, faults: Faults) -> None:
        self.ledger, self.faults = ledger, faults
        self.asked: list[str] = []
        self.cut_after: int | None = None  # calls; then every line is cut

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        body = await request.aread()
        self.asked.append(f"{request.method} {request.url.path}")
        if self.cut_after is not None and len(self.asked) > self.cut_after:
            raise httpx.ConnectError("cut")
        asked = Request(request.method, request.url.path, request.url.query.decode(), dict(request.headers), body)
        answer = answer_with_fault(self.ledger, asked, self.faults.draw_fault(asked.method, asked.path))
        if answer is None:
            raise httpx.ReadError("cut")
        return httpx.Response(answer.status, headers=dict(answer.headers), content=answer.body)


class Shop:
    """What a test drives: payments, returns, parcels, the worker, Stripe's mail and the clock."""

    policy: Policy = DEFAULT  # in force

    def __init__(self, url: str) -> None:
        self.time = datetime(2026, 11, 24, 12, tzinfo=UTC)
        self.ledger = Ledger(self.seconds, random.Random(7), settle_seconds=0)
        self.ledger.add_endpoint("http://shop.test/webhooks/stripe", SECRET)
        self.dashboard = Dashboard(self.ledger)
        self.faults = Faults(random.Random(8))
        self.wire = Wire(self.ledger, self.faults)
        self.gateway = StripeGateway(KEY, api_base="http://127.0.0.1:1", transport=self.wire)
        self.open(url)

    def seconds(self) -> float:
        """Return the time, seconds since 1970 (UTC)."""
        return self.time.timestamp()

    def open(self, url: str) -> None:
        """Run the service on this database."""
        self.db = Database(url, now=lambda: self.time, source=random.Random(9))

    async def close(self) -> None:
        await self.gateway.close()
        await self.db.close()

    def advance(self, seconds: float) -> None:
        """Let time pass, and what it brings at Stripe happen."""
        self.time += timedelta(seconds=seconds)
        self.ledger.make_due_moves()

    # --- the shop ------------------------------------------------------------------------------------------------

    async def pay(self, amount: int = 9000, card: str = "pm_card_visa") -> str:
        """Return a PaymentIntent that succeeded."""
        return await self.gateway.take_test_payment(amount, "usd", card)

    async def a_return(
        self, intent: str, *, units: int = 3, amount: int = 9000, order_id: str = "order_1", **more: Any
    ) -> str:
        """Return the id of an approved return."""
        seen = await self.gateway.read_payment(payment_intent=intent)
        assert isinstance(seen, PaymentSnapshot)
        lines = [returns.NewLine("SHIRT", units, amount)]
        asked = returns.NewReturn(order_id, "usd", lines, **{"reason": "too_small", **more})

        async def work(tx: Any) -> str:
            locked = await stripe_fold.adopt_payment(tx, Actor("stripe"), self.policy, seen)
            case = await returns.create(locked, BY, self.policy, asked)
            await returns.approve(tx, BY, self.policy, case.row.id, note=None, override_reason=None)
            return case.row.id

        return await self.db.run(work)

    async def count(self, return_id: str, units: int = 1, scan_id: str | None = None) -> dict[str, Any]:
        """Count units at the dock; return the return as it is then."""
        counts = [counting.Count(units, "new", sku="SHIRT")]
        await self.db.run(lambda tx: receipts.receive(tx, BY, self.policy, return_id, counts, [], scan_id))
        return await self.seen(return_id)

    async def seen(self, return_id: str) -> dict[str, Any]:
        """Return a return as the API shows it."""
        async with self.db.reading() as tx:
            return to_json_object(show_return(await load_case(tx, self.policy, return_id)))

    async def work(self) -> None:
        """Let the worker send what is due."""
        while await pay_due(self.db, self.gateway):
            pass

    async def deliver(self) -> None:
        """Let all of Stripe's mail arrive."""
        for mail in list(self.ledger.due_webhooks()):
            body = self.ledger.body_of(mail)
            news = read_webhook(
                body, signature_of(body, SECRET, self.time.timestamp()), [SECRET], now=self.time.timestamp()
            )
            await self.db.run(
                partial(stripe_inbox.receive, by=Actor("stripe"), policy=self.policy, event=news, livemode=False)
            )
            self.ledger.mark_delivered(mail)

    def lose_mail(self) -> None:
        """Let all of Stripe's mail get lost."""
        for mail in list(self.ledger.due_webhooks()):
            self.ledger.lose(mail)

    async def refunded(self, *, units: int = 1, amount: int = 3000) -> Refund:
        """Return the refund of a whole return, made, answered and told."""
        intent = await self.pay(amount)
        return_id = await self.a_return(intent, units=units, amount=amount)
        await self.count(return_id, units)
        await self.work()
        await self.deliver()
        (row,) = [row for row in await self.refunds() if row.return_id == return_id]
        assert row.status == "succeeded"
        return row

    async def refunds(self) -> list[Refund]:
        """Return all refund rows."""
        async with self.db.reading() as tx:
            return list((await tx.exec(select(Refund).order_by(col(Refund.id)))).all())

    async def desk(self, kind: DeskKind | None = None) -> dict[str, Any]:
        """Return the desk as the API shows it."""
        async with self.db.reading() as tx:
            health = await desk.system_health(tx)
            found = await desk.entries(tx, health, limit=100, kind=kind)
            assert found is not None
            totals = await desk.totals(tx, health)
            return to_json_object(await show_page(tx, self.policy, found, health, totals, has_more=False))

    async def waiting(self) -> list[tuple[str, str, list[str]]]:
        """Return what is on the desk: kinds, codes and what can be done."""
        return [(item["kind"], item["code"], item["actions"]) for item in (await self.desk())["data"]]

    async def execute(self, statement: Any) -> None:
        """Do what no command would: the damage that a test is about."""
        async with self.db.transaction() as tx:
            await tx.execute(statement)

    def at_stripe(self, intent: str) -> int:
        """Return what is refunded of a payment at Stripe, minor units."""
        charges = self.ledger.charges_of[intent]
        rows = [self.ledger.refunds[name] for charge in charges for name in self.ledger.refunds_of.get(charge, [])]
        return sum(row["amount"] for row in rows if row["status"] not in ("failed", "canceled"))

    # --- reports -------------------------------------------------------------------------------------------------

    async def rows(self, report: Report) -> list[ReconciliationDifference]:
        """Return the rows of a report."""
        chosen = select(ReconciliationDifference).where(col(ReconciliationDifference.run_id) == report.run.id)
        async with self.db.reading() as tx:
            return list((await tx.exec(chosen.order_by(col(ReconciliationDifference.id)))).all())

    async def told(self, report: Report) -> list[tuple[str, str]]:
        """Return what a report says: codes and outcomes."""
        return [(row.code, row.outcome) for row in await self.rows(report)]
