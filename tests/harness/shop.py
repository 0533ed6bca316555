"""A shop with its returns service and its Stripe, in process, on a clock that tests turn: no wait takes real time."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from sqlmodel import col, select

from returns_service.commands import counting, receipts, return_lines, returns, stripe_fold, stripe_inbox
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
from returns_service.stripe_gateway import Gateway, StripeGateway, read_webhook
from returns_service.stripe_simulator import Dashboard, Faults, Ledger, Request, answer, signature_of
from returns_service.worker.reconcile import Report
from returns_service.worker.refunds import RefundExecutor
from tests.harness.clock import Clock
from tests.harness.engines import TestDatabase
from tests.harness.wire import Wire

KEY = "sk_test_" + "simulator"
SECRET = "whsec_" + "simulator"
HOOK = "http://shop.test/webhooks/stripe"
BY = Actor("key_shop", "req_1")


class Shop:
    """What a test drives: payments, returns, parcels, the worker, Stripe's webhooks and the clock.

    It acts through commands; `ServedShop` acts through the API. Amounts are minor units.
    """

    policy: Policy = DEFAULT  # in force

    def __init__(self, url: str, *, settle_seconds: float = 0) -> None:
        self.clock = Clock()
        self.ledger = Ledger(self.clock.unix, random.Random(7), settle_seconds=settle_seconds)
        self.ledger.add_endpoint(HOOK, SECRET)
        self.dashboard = Dashboard(self.ledger)
        self.faults = Faults(random.Random(8))
        self.wire = Wire(self.ledger, self.faults)
        self.gateway = StripeGateway(KEY, api_base="http://stripe.test", transport=self.wire, jitter=lambda: 0.0)
        self.open(url)

    def open(self, url: str) -> None:
        """Run the service on this database."""
        self.db: Database = TestDatabase(url, now=self.clock, source=random.Random(9))

    async def close(self) -> None:
        """Close all connections."""
        await self.gateway.close()
        await self.db.close()

    @property
    def time(self) -> datetime:
        """The time, UTC."""
        return self.clock.time

    def advance(self, seconds: float) -> None:
        """Let time pass, and what it brings at Stripe happen."""
        self.clock.advance(seconds)
        self.ledger.make_due_moves()

    # --- Stripe ------------------------------------------------------------------------------------------------------

    def pay(self, amount: int = 10_000, card: str = "pm_card_visa", *, currency: str = "usd") -> str:
        """Return the id of a new PaymentIntent, confirmed with a card of Stripe's for tests."""
        form = {"amount": amount, "currency": currency, "payment_method": card, "confirm": "true"}
        made = self._ask("/v1/payment_intents", form)
        return str(made.get("id") or made["error"]["payment_intent"]["id"])  # a declined one is there too

    def start_payment(self, amount: int = 10_000) -> str:
        """Return the id of a new PaymentIntent that nobody has paid yet."""
        return str(self._ask("/v1/payment_intents", {"amount": amount, "currency": "usd"})["id"])

    def confirm_payment(self, intent: str, card: str = "pm_card_visa") -> None:
        """Let a customer pay."""
        self._ask(f"/v1/payment_intents/{intent}/confirm", {"payment_method": card})

    def _ask(self, path: str, form: dict[str, Any]) -> dict[str, Any]:
        """Return what Stripe answers to the shop's own checkout."""
        headers = {"authorization": f"Bearer {KEY}"}
        return answer(self.ledger, Request("POST", path, "", headers, urlencode(form).encode())).json()

    async def deliver(self, times: int = 1) -> int:
        """Let all due webhooks of Stripe's arrive, each so many times; return how many there were."""
        self.ledger.make_due_moves()
        count = 0
        while webhooks := self.ledger.due_webhooks():
            for webhook in webhooks:
                body = self.ledger.body_of(webhook)
                for _ in range(times):
                    await self.receive_webhook(body, signature_of(body, SECRET, self.clock.unix()))
                self.ledger.mark_delivered(webhook)
                count += 1
        return count

    async def receive_webhook(self, body: bytes, signature: str) -> None:
        """Take one webhook in."""
        event = read_webhook(body, signature, [SECRET], now=self.clock.unix())
        await self.db.run(
            lambda tx: stripe_inbox.store_and_fold(tx, Actor("stripe"), self.policy, event, livemode=False)
        )

    def lose_webhooks(self) -> None:
        """Let all due webhooks of Stripe's get lost."""
        for webhook in self.ledger.due_webhooks():
            self.ledger.lose(webhook)

    def at_stripe(self, intent: str) -> int:
        """Return what is refunded of a payment at Stripe."""
        charges = self.ledger.charges_of[intent]
        rows = [self.ledger.refunds[name] for charge in charges for name in self.ledger.refunds_of.get(charge, [])]
        return sum(row["amount"] for row in rows if row["status"] not in ("failed", "canceled"))

    # --- the shop ----------------------------------------------------------------------------------------------------

    async def authorize_return(
        self, intent: str, *, units: int = 3, amount: int = 9000, order_id: str = "order_1", **more: Any
    ) -> str:
        """Return the id of an approved return."""
        seen = await self.gateway.read_payment(payment_intent=intent)
        assert isinstance(seen, PaymentSnapshot)
        lines = more.pop("lines", None) or [return_lines.NewLine("SHIRT", units, amount)]
        new = returns.NewReturn(order_id, "usd", lines, **{"reason": "too_small", **more})

        async def work(tx: Any) -> str:
            locked = await stripe_fold.adopt_payment(tx, Actor("stripe"), self.policy, seen)
            case = await returns.create(locked, BY, self.policy, new)
            await returns.approve(tx, BY, self.policy, case.row.id, note=None, override_reason=None)
            return case.row.id

        return await self.db.run(work)

    async def count(self, return_id: str, units: int = 1, scan_id: str | None = None) -> dict[str, Any]:
        """Count units at the dock; return the return as it is then."""
        counts = [counting.Count(units, "new", sku="SHIRT")]
        await self.db.run(lambda tx: receipts.receive(tx, BY, self.policy, return_id, counts, [], scan_id))
        return await self.show_return(return_id)

    async def show_return(self, return_id: str) -> dict[str, Any]:
        """Return a return as the API shows it."""
        async with self.db.reading() as tx:
            return to_json_object(show_return(await load_case(tx, self.policy, return_id)))

    async def complete_refund(self, *, units: int = 1, amount: int = 3000) -> Refund:
        """Return the refund of a whole return: asked, answered, and its webhook received."""
        intent = self.pay(amount)
        return_id = await self.authorize_return(intent, units=units, amount=amount)
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
            entries = await desk.entries(tx, limit=100, kinds=[kind] if kind else None)
            assert entries is not None
            figures = await desk.read_figures(tx)
            return to_json_object(await show_page(tx, self.policy, entries, figures, has_more=False))

    async def desk_items(self) -> list[tuple[str, str, list[str]]]:
        """Return what is on the desk: kinds, codes and what can be done."""
        return [(item["kind"], item["code"], item["actions"]) for item in (await self.desk())["data"]]

    async def execute(self, statement: Any) -> None:
        """Do what no command would: the damage that a test is about."""
        async with self.db.transaction() as tx:
            await tx.execute(statement)

    # --- the worker --------------------------------------------------------------------------------------------------

    async def work(self) -> int:
        """Let the worker go on until nothing is due; return how many refunds Stripe was asked about."""
        total = 0
        while asked := await execute_due_refunds(self.db, self.gateway, self.policy):
            total += asked
        return total

    async def differences(self, report: Report) -> list[ReconciliationDifference]:
        """Return the rows of a report."""
        chosen = select(ReconciliationDifference).where(col(ReconciliationDifference.run_id) == report.run.id)
        async with self.db.reading() as tx:
            return list((await tx.exec(chosen.order_by(col(ReconciliationDifference.id)))).all())

    async def outcomes(self, report: Report) -> list[tuple[str, str]]:
        """Return what a report says: codes and outcomes."""
        return [(row.code, row.outcome) for row in await self.differences(report)]


async def execute_due_refunds(db: Database, gateway: Gateway, policy: Policy = DEFAULT, limit: int = 10) -> int:
    """Do the worker's turn for what is due now, without its loop; return how many refunds Stripe was asked about."""
    executor = RefundExecutor(db, gateway, policy=policy, budget=1000.0, warm=True)
    scheduled_calls = await executor.claim(limit)
    await asyncio.gather(*(executor.execute(scheduled) for scheduled in scheduled_calls))
    return len(scheduled_calls)
